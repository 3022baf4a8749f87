"""What a training worker is told: plain values that travel to any process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from anneal_api.published import PredictorConfig
from anneal_api.spec.training import Training


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """One training.

    Attributes:
        base: Folder of the base model.
        prepared: Folder of the tokenized splits and the tokenizer.
        predictor: Task, labels and codec; the loop's batches are made by the codec that later serves.
        training: The manifest's part.
        selection_metric: Metric that picks the best epoch.
        threads: CPU threads of one worker.
    """

    base: Path
    prepared: Path
    predictor: PredictorConfig
    training: Training
    selection_metric: str
    threads: int
