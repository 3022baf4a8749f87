"""The seam between a run and whoever watches it: the terminal, or the operator through the report."""

from __future__ import annotations

from typing import Protocol

from anneal_api.report import DataSummary
from anneal_trainer.engine.progress import Progress
from anneal_trainer.stages import StageResult


class Observer(Protocol):
    """Whoever watches a run."""

    def started(self, stage: str) -> None:
        """A stage is about to run, or to be found done."""

    def found(self, summary: DataSummary) -> None:
        """Preflight is done, now or in an earlier run, and this is what it saw. Nothing has cost anything yet."""

    def progressed(self, progress: Progress) -> None:
        """Training went on. Called from a thread of its own."""

    def finished(self, result: StageResult) -> None:
        """A stage is done."""
