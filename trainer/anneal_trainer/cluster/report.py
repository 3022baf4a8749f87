"""Tells the operator how a part is doing: from a thread of its own, so that the work never waits for the API server.

The thread alone knows the state, and everybody else sends it changes. Reports are whole and overwrite each other, so a
progress report that cannot be delivered is simply left out; the last one is tried for minutes, and if it is lost too,
the part has done its work all the same: its results lie in the work folder, where the next attempt finds them.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Self

from anneal_api.attempt import (
    MAX_PROGRESS_BYTES,
    MAX_REPORT_BYTES,
    PROGRESS_SECONDS,
    PartFailure,
    PartProgress,
    PartReport,
    PartState,
    PublishedResult,
)
from anneal_api.report import DroppedRows, StageRecord
from anneal_trainer.cluster.environment import Assignment
from anneal_trainer.cluster.report_size import fitted

_logger = logging.getLogger(__name__)

Change = Callable[[PartReport], PartReport]


class ReportNotWrittenError(Exception):
    """A report did not get through.

    Args:
        message: Why.
        hopeless: Whether trying again is unlikely to help.
    """

    def __init__(self, message: str, *, hopeless: bool = False) -> None:
        super().__init__(message)
        self.hopeless = hopeless


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long a reporter tries.

    Attributes:
        between: Seconds between two reports.
        first_retry: Longest wait after a report that did not get through, in seconds; doubled each time.
        longest_retry: Longest wait of all.
        last: How long the last report is tried.
        hopeless: The same where trying is unlikely to help, or the pod is about to be killed.
    """

    between: float = PROGRESS_SECONDS
    first_retry: float = 1.0
    longest_retry: float = 15.0
    last: float = 300.0
    hopeless: float = 20.0

    def retry(self, failures: int) -> float:
        """Returns the seconds to wait after so many failures in a row, spread by chance."""
        whole = min(self.longest_retry, self.first_retry * 2.0 ** min(failures - 1, 32))
        return whole * random.uniform(0.5, 1.0)  # noqa: S311


class Reporter:
    """Reports one part of one attempt, at least every `between` seconds, from `with` to the end.

    The first end that it is told counts; what comes after it is left out.

    Args:
        assignment: Which part of which attempt it is.
        write: Delivers a report as JSON, or raises `ReportNotWrittenError`.
        patience: How often and how long it tries.
    """

    def __init__(
        self, assignment: Assignment, write: Callable[[str], None], *, patience: Patience | None = None
    ) -> None:
        self._write = write
        self._patience = patience or Patience()
        # Its `put` may be called from a signal handler, whatever the interrupted code was at.
        self._changes: SimpleQueue[Change | None] = SimpleQueue()
        self._report = PartReport.model_validate(
            {
                "job_uid": assignment.uid,
                "generation": assignment.generation,
                "attempt": assignment.attempt,
                "part": assignment.part,
                "state": PartState.RUNNING,
                "heartbeat": _now(),
            },
            by_name=True,
        )
        self._failures = 0
        self._thread = Thread(target=self._run, name="report", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._changes.put(None)
        self._thread.join()

    def stage_started(self, name: str) -> None:
        """A stage is at work."""
        self._change(stage=name)

    def stage_finished(self, record: StageRecord) -> None:
        """A stage is done."""
        self._changes.put(
            lambda report: report.model_copy(update={"stage": "", "stages": [*report.stages, record]})
        )

    def rows_dropped(self, dropped: Sequence[DroppedRows]) -> None:
        """Preflight left rows out."""
        self._change(dropped=list(dropped))

    def progressed(self, progress: PartProgress, *, resumed_from: int | None = None) -> None:
        """Training went on."""
        self._change(progress=progress, resumed_from=resumed_from)

    def succeeded(self, published: PublishedResult | None = None) -> None:
        """The part is done."""
        self._change(state=PartState.SUCCEEDED, stage="", published=published)

    def failed(self, failure: PartFailure) -> None:
        """The part failed. The stage that it was at stays in the report."""
        self._change(state=PartState.FAILED, failure=failure)

    def interrupted(self, failure: PartFailure) -> None:
        """The part is being stopped; what is left to say must be said soon. May be called from a signal handler."""
        self._patience = Patience(last=self._patience.hopeless, hopeless=self._patience.hopeless)
        self.failed(failure)

    def _change(self, **update: object) -> None:
        self._changes.put(lambda report: report.model_copy(update=update))

    def _run(self) -> None:
        due = time.monotonic()
        while self._report.state is PartState.RUNNING:
            try:
                change = self._changes.get(timeout=max(0.0, due - time.monotonic()))
            except Empty:
                self._deliver(MAX_PROGRESS_BYTES)
                due = time.monotonic() + self._until_next()
                continue
            if change is None:
                return
            self._report = change(self._report)
        self._deliver_last()

    def _until_next(self) -> float:
        if not self._failures:
            return self._patience.between
        return min(self._patience.between, self._patience.retry(self._failures))

    def _deliver_last(self) -> None:
        started = time.monotonic()
        self._failures = 0
        while not (result := self._deliver(MAX_REPORT_BYTES)).done:
            limit = self._patience.hopeless if result.hopeless else self._patience.last
            wait = self._patience.retry(self._failures)
            if time.monotonic() + wait - started > limit:
                _logger.error("The last report could not be delivered; the log has to do.")
                return
            time.sleep(wait)

    def _deliver(self, limit: int) -> _Delivery:
        report = self._report.model_copy(update={"heartbeat": _now()})
        try:
            self._write(report_text(report, limit))
        except ReportNotWrittenError as error:
            self._failures += 1
            # One line a streak and one when it ends: an API server may be away for hours.
            level = logging.WARNING if self._failures == 1 else logging.DEBUG
            _logger.log(level, "The report could not be delivered, trying again: %s", error)
            return _Delivery(done=False, hopeless=error.hopeless)
        except Exception:
            self._failures += 1
            _logger.exception("The report could not be delivered")
            return _Delivery(done=False, hopeless=True)
        if self._failures:
            _logger.info("Reports get through again.")
        self._failures = 0
        return _Delivery(done=True)


@dataclass(frozen=True, slots=True)
class _Delivery:
    done: bool
    hopeless: bool = False


def report_text(report: PartReport, limit: int) -> str:
    """Returns a report as JSON of at most so many bytes; what equals its default is left out.

    Args:
        report: The report.
        limit: Bytes in UTF-8.
    """
    # Through JSON, which alone turns a NaN into null.
    return fitted(json.loads(report.model_dump_json(exclude_defaults=True)), limit)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
