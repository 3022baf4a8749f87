"""Helm, and what it makes of the chart."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cluster.progress import ClusterError
from helm_chart import find_helm, objects, render

Rendered = Callable[..., list[dict[str, Any]]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lets the first test that needs helm wait for it to be built, which CI does once."""
    for item in items:
        if "helm_program" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def helm_program() -> Path:
    """Helm. CI builds it where it is missing; a person is told how to have it."""
    ci = os.environ.get("CI") == "true"
    try:
        program = find_helm(build=ci)
    except ClusterError as error:
        pytest.fail(f"CI needs helm. {error}")
    if program is None:
        pytest.skip(
            "NOT TESTED, THE CHART: install helm, or build it with `python -m tests.cluster.binaries helm`"
        )
    return program


@pytest.fixture(scope="session")
def rendered(helm_program: Path) -> Rendered:
    """Returns the objects that the chart comes to with some values."""

    found: dict[str, list[dict[str, Any]]] = {}

    def rendered_(values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        key = json.dumps(values)
        if key not in found:
            found[key] = objects(render(helm_program, values))
        return copy.deepcopy(found[key])

    return rendered_
