from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_model import onnx_config, publish, write_tiny_model

from anneal_api.published import PredictorConfig
from anneal_serving.predictor import Predictor


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PredictorConfig]:
    """A folder with a tiny model in torch, ONNX and int8, and how its torch form answers."""
    folder = tmp_path_factory.mktemp("tiny")
    return folder, write_tiny_model(folder)


@pytest.fixture
def version_folder(tiny: tuple[Path, PredictorConfig], tmp_path: Path) -> Path:
    """A published version, for a test to tamper with."""
    folder = tmp_path / "job" / "v1"
    shutil.copytree(tiny[0], folder)
    publish(folder, onnx_config(tiny[1]))
    return folder


@pytest.fixture(scope="session")
def predictor(tiny: tuple[Path, PredictorConfig]) -> Iterator[Predictor]:
    folder, config = tiny
    with Predictor.load(folder, onnx_config(config), threads=2) as loaded:
        yield loaded
