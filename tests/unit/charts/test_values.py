"""The chart's values: every one explained, every wrong one refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helm_chart import CASES, CHART, HelmError, render
from ruamel.yaml import YAML

VALUES = YAML().load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
# Their keys are Kubernetes' or the user's own.
FREE = (
    "runtime.headResources",
    "runtime.stepResources",
    "runtime.servingResources",
    "runtime.podOverrides",
    "resources",
    "affinity",
    "strategy",
    "nodeSelector",
    "podAnnotations",
    "podLabels",
    "serviceAccount.annotations",
    "metrics.service.annotations",
    "metrics.serviceMonitor.labels",
)


def sections(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields each mapping of the values that has keys of ours, by its path."""
    if isinstance(values, dict) and path not in FREE:
        yield path, values
        for key, value in values.items():
            yield from sections(value, f"{path}.{key}".lstrip("."))


def schema_of(path: str) -> dict[str, Any]:
    """Returns the part of the schema that is about a section."""
    schema = SCHEMA
    for key in filter(None, path.split(".")):
        schema = schema["properties"][key]
    return schema


@pytest.mark.parametrize("path", [path for path, _ in sections(VALUES)])
def test_schema_has_the_same_keys(path: str) -> None:
    schema = schema_of(path)
    section = dict(sections(VALUES))[path]
    assert set(schema["properties"]) - {"global"} == set(section)
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("path", [path for path, _ in sections(VALUES)])
def test_schema_describes_each_key(path: str) -> None:
    undescribed = [key for key, part in schema_of(path)["properties"].items() if not part.get("description")]
    assert undescribed == []


def test_every_value_has_a_comment() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    inside_of: list[tuple[int, str]] = []
    bare = []
    for number, line in enumerate(lines):
        key, colon, _ = line.strip().partition(":")
        if not line.strip() or line.strip().startswith(("#", "-")) or not colon:
            continue
        depth = len(line) - len(line.lstrip())
        inside_of = [(d, k) for d, k in inside_of if d < depth] + [(depth, key)]
        path = ".".join(k for _, k in inside_of)
        ours = any(
            path == f"{section}.{key}".lstrip(".") for section, values in sections(VALUES) for key in values
        )
        if ours and not lines[number - 1].strip().startswith("#"):
            bare.append(path)
    # What these hold says it all.
    assert bare == ["metrics.service"]


def test_everything_sets_everything() -> None:
    """So that the golden file shows what each value does."""
    unset = []
    for path, section in sections(VALUES):
        given: Any = CASES["everything"]
        for key in filter(None, path.split(".")):
            given = given.get(key, {}) if isinstance(given, dict) else {}
        unset += [f"{path}.{key}".lstrip(".") for key in section if key not in given]
    assert sorted(unset) == [
        "crds",
        "crds.enabled",
        "crds.keep",
        "metrics.service.enabled",
        "nameOverride",
        "networkPolicies.dns",
        "networkPolicies.kuberay",
        "networkPolicies.namespaces",
        "rbac",
        "rbac.create",
        "rbac.userRoles",
        "resources",
        "runtime.image.pullPolicy",
        "runtime.image.tag",
        "runtime.rayVersion",
        "serviceAccount.create",
        "serviceAccount.name",
    ]


@pytest.mark.parametrize("path", [path for path, _ in sections(VALUES)])
def test_unknown_keys_are_refused(helm_program: Path, path: str) -> None:
    values: dict[str, Any] = {"surely-a-typo": 1}
    for key in reversed([key for key in path.split(".") if key]):
        values = {key: values}
    with pytest.raises(HelmError, match="surely-a-typo"):
        render(helm_program, values)


@pytest.mark.parametrize(
    "values",
    [
        {"image": {"digest": "sha256:short"}},
        {"image": {"pullPolicy": "Sometimes"}},
        {"image": {"repository": "anneal/operator:0.1.0"}},
        {"image": {"repository": ""}},
        {"watchNamespaces": ["Team A"]},
        {"watchNamespaces": ["a", "a"]},
        {"watchNamespaces": "team-a"},
        {"store": "/models"},
        {"store": "pvc://"},
        {"store": "gs://models/anneal"},
        {"store": "s3://Models/anneal"},
        {"storeSecret": "models-s3"},
        {"store": "pvc://models/anneal", "storeSecret": "models-s3"},
        {"store": "s3://models/anneal", "storeSecret": "Models"},
        {"retries": {"maxAttempts": 0}},
        {"retries": {"maxAttempts": 1.5}},
        {"retries": {"backoffSeconds": -1}},
        {"timeouts": {"heartbeatSeconds": 1}},
        {"logLevel": "verbose"},
        {"workers": 0},
        {"runtime": {"rayVersion": 2.6}},
        {"runtime": {"headResources": {"limit": {}}}},
        {"runtime": {"imagePullSecrets": ["a,b"]}},
        {"metrics": {"serviceMonitor": {"interval": "often"}}},
        {"networkPolicies": {"clients": [{}]}},
        {"networkPolicies": {"kuberay": []}},
        {"networkPolicies": {"apiServer": {"cidrs": ["10.0.0.1"]}}},
        {"networkPolicies": {"apiServer": {"ports": [0]}}},
        {"podLabels": {"a": 1}},
        {"extraEnv": [{"value": "nameless"}]},
    ],
    ids=str,
)
def test_wrong_values_are_refused(helm_program: Path, values: dict[str, Any]) -> None:
    with pytest.raises(HelmError, match="don't meet the specifications of the schema"):
        render(helm_program, values)


def test_a_chart_that_depends_on_this_one_may_have_globals(helm_program: Path) -> None:
    render(helm_program, {"global": {"imageRegistry": "registry.example.com"}})
