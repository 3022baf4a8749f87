"""A candidate for publication, as it lies on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anneal_api.published import PredictorConfig
from anneal_serving.predictor import Predictor

FP32 = "fp32"
"""Name of the uncompressed variant."""

MODEL_FILE = "model.onnx"
CONFIG_FILE = "predictor.json"
LOGITS_FILE = "validation-logits.npy"
MEASURES_FILE = "measures.json"


@dataclass(frozen=True, slots=True)
class Measures:
    """What was measured of a variant.

    Attributes:
        steps: What was done to it.
        bytes: Size of its weights on disk.
        latency_ms_p50: Median time for one validation row, alone, on one core, tokenizing included.
        latency_ms_p95: 95th percentile of the same.
        max_logit_difference: Largest difference of a logit to the trained model in torch, on the validation rows.
        agreement: Share of the validation rows with the same label as the trained model.
    """

    steps: list[str]
    bytes: int
    latency_ms_p50: float
    latency_ms_p95: float
    max_logit_difference: float
    agreement: float


@dataclass(frozen=True, slots=True)
class Variant:
    """A candidate for publication, on disk.

    Attributes:
        name: Name of the variant.
        folder: Its model, tokenizer and settings.
    """

    name: str
    folder: Path

    @property
    def config(self) -> PredictorConfig:
        """How it answers."""
        return PredictorConfig.model_validate_json((self.folder / CONFIG_FILE).read_text(encoding="utf-8"))

    @property
    def measures(self) -> Measures:
        """What was measured of it."""
        return Measures(**json.loads((self.folder / MEASURES_FILE).read_text(encoding="utf-8")))

    @property
    def validation_logits(self) -> NDArray[np.float32]:
        """Its outputs for the validation rows, [rows, labels]."""
        logits: NDArray[np.float32] = np.load(self.folder / LOGITS_FILE)
        return logits

    def predictor(self, *, threads: int = 1) -> Predictor:
        """Returns the Predictor that would serve it."""
        return Predictor.load(self.folder, self.config, threads=threads)


def open_variants(folder: Path) -> list[Variant]:
    """Returns the variants that `make_variants` wrote, the uncompressed one first."""
    found = [Variant(path.name, path) for path in sorted(folder.iterdir()) if (path / CONFIG_FILE).is_file()]
    return sorted(found, key=lambda variant: variant.name != FP32)
