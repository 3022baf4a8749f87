"""A tiny API server with the ConfigMap of an attempt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from config_map_server import NAME, NAMESPACE, ConfigMapServer, config_map_server
from report_contract import OWNER

from anneal_api.attempt import Part
from anneal_trainer.cluster.environment import Assignment


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ConfigMapServer]:
    with config_map_server(tmp_path / "credentials", OWNER) as running:
        yield running


@pytest.fixture
def assignment() -> Assignment:
    return Assignment(Part.TRAIN, NAMESPACE, OWNER, generation=2, attempt=1, configmap=NAME)
