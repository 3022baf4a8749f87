"""Watches the pipeline in a pod: into the report, and as lines of the log."""

from __future__ import annotations

import logging
import math
import time

from anneal_api.attempt import PROGRESS_SECONDS, PartProgress
from anneal_api.report import DataSummary, StageRecord
from anneal_trainer.cluster.report import Reporter
from anneal_trainer.engine.progress import Progress
from anneal_trainer.stages import StageResult

_logger = logging.getLogger(__name__)


class ReportingObserver:
    """The pipeline's observer in a pod.

    Args:
        reporter: Gets what happens.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._logged_at = -math.inf

    def started(self, stage: str) -> None:
        """A stage is about to run, or to be found done."""
        _logger.info("%s: started", stage)
        self._reporter.stage_started(stage)

    def found(self, summary: DataSummary) -> None:
        """Preflight is done, and this is what it saw."""
        for finding in summary.findings:
            if finding.level == "warning":
                _logger.warning("preflight: %s: %s %s", finding.where, finding.what, finding.remedy)
        if summary.dropped:
            self._reporter.rows_dropped(summary.dropped)

    def progressed(self, progress: Progress) -> None:
        """Training went on."""
        self._reporter.progressed(part_progress(progress), resumed_from=progress.resumed_from)
        if time.monotonic() - self._logged_at < PROGRESS_SECONDS:
            return
        self._logged_at = time.monotonic()
        _logger.info(
            "train: step %d of %d, epoch %.2f, loss %s, %.0f tokens/s, %.0f s left",
            progress.step,
            progress.total_steps,
            progress.epoch,
            "unknown" if progress.loss is None else f"{progress.loss:.4f}",
            progress.tokens_per_second,
            progress.eta_seconds,
        )

    def finished(self, result: StageResult) -> None:
        """A stage is done."""
        how = "an earlier result holds" if result.reused else f"done in {result.seconds:.1f} s"
        _logger.info("%s: %s", result.name, how)
        self._reporter.stage_finished(stage_record(result))


def part_progress(progress: Progress) -> PartProgress:
    """Returns what the report says about where training stands."""
    return PartProgress.model_validate(
        {
            "step": progress.step,
            "total_steps": progress.total_steps,
            "epoch": round(progress.epoch, 4),
            "loss": progress.loss,
            "tokens_per_second": round(progress.tokens_per_second, 1),
            "eta_seconds": round(progress.eta_seconds, 1),
        },
        by_name=True,
    )


def stage_record(result: StageResult) -> StageRecord:
    """Returns what the report says about a stage that is done."""
    return StageRecord.model_validate(
        {
            "name": result.name,
            "key": result.key,
            "reused": result.reused,
            "seconds": round(result.seconds, 3),
        },
        by_name=True,
    )
