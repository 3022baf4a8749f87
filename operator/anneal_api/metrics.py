"""The metrics that a manifest may name, and which way each one is better.

A gate, a best checkpoint and a comparison with the incumbent all need the direction, so it is said once, here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from anneal_api.tasks import Task


class Direction(StrEnum):
    """Which way a metric gets better."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its name in manifests and reports, its direction and what it says."""

    name: str
    direction: Direction
    description: str

    def gain(self, candidate: float, reference: float) -> float:
        """Returns how much better the candidate is than the reference; negative when it is worse."""
        difference = candidate - reference
        return difference if self.direction is Direction.HIGHER else -difference


def _catalogue(*metrics: Metric) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


CLASSIFICATION_METRICS = _catalogue(
    Metric("accuracy", Direction.HIGHER, "share of rows whose label is right"),
    Metric("f1", Direction.HIGHER, "F1, the mean over the classes (macro)"),
    Metric("precision", Direction.HIGHER, "precision, the mean over the classes (macro)"),
    Metric("recall", Direction.HIGHER, "recall, the mean over the classes (macro)"),
    Metric("f1_micro", Direction.HIGHER, "F1 over all rows together (micro)"),
    Metric("precision_micro", Direction.HIGHER, "precision over all rows together (micro)"),
    Metric("recall_micro", Direction.HIGHER, "recall over all rows together (micro)"),
    Metric("f1_weighted", Direction.HIGHER, "F1, the mean over the classes weighted by their rows"),
    Metric("log_loss", Direction.LOWER, "mean negative log-likelihood of the right label, in nats"),
    Metric("ece", Direction.LOWER, "expected calibration error over 15 bins of confidence"),
)

METRICS: dict[Task, dict[str, Metric]] = {Task.TEXT_CLASSIFICATION: CLASSIFICATION_METRICS}
"""Per task, the metrics that it is scored with."""

PRIMARY_METRIC: dict[Task, str] = {Task.TEXT_CLASSIFICATION: "f1"}
"""Per task, the metric that picks the best checkpoint and variant where the manifest names none."""
