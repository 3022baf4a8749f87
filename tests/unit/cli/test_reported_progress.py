"""A person who looks on sees what the pods report, and what the status says where there is no report to read."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console
from seen_jobs import NOW, UID, job_body, ready, training

from anneal_cli.reported_progress import ReportedProgress
from anneal_cli.seen_job import SeenJob
from anneal_cli.status_follower import LineFollower, LiveFollower
from anneal_operator.cluster.errors import ApiError, Forbidden, NotFound, Unavailable
from anneal_operator.cluster.kinds import CONFIG_MAP, Kind


def report(step: int, **changes: Any) -> dict[str, Any]:
    """Returns the ConfigMap of the second attempt, in which the training reports a step of 800."""
    progress = {
        "step": step,
        "totalSteps": 800,
        "epoch": 1.5,
        "loss": 0.25,
        "tokensPerSecond": 6000,
        "etaSeconds": 90,
    }
    told = {
        "jobUid": UID,
        "generation": 1,
        "attempt": 2,
        "part": "train",
        "state": "Running",
        "heartbeat": NOW,
        "stage": "train",
        "progress": progress,
        **changes,
    }
    return {"metadata": {"name": "reviews-g1-a2"}, "data": {"train.json": json.dumps(told)}}


class Reader:
    """Gives one ConfigMap, or an error."""

    def __init__(self, found: dict[str, Any] | ApiError) -> None:
        self.found = found
        self.asked: list[tuple[str, str]] = []

    def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        assert kind is CONFIG_MAP
        self.asked.append((namespace, name))
        if isinstance(self.found, ApiError):
            raise self.found
        return self.found


def reported(found: dict[str, Any] | ApiError) -> tuple[ReportedProgress, Reader]:
    reader = Reader(found)
    return ReportedProgress(reader), reader  # type: ignore[arg-type]


def test_the_report_of_the_running_attempt_counts() -> None:
    progress, reader = reported(report(600))
    job = SeenJob.of(training())
    assert progress.seconds(job) == 5
    shown = progress.newest(job).status.progress
    assert reader.asked == [("team-a", "reviews-g1-a2")]
    assert shown is not None
    assert (shown.step, shown.loss, shown.tokens_per_second, shown.eta_seconds) == (600, 0.25, 6000, 90)
    assert shown.percent == 62
    assert progress.newest(job).as_record() == job.as_record()  # programs get the status as it was written


@pytest.mark.parametrize(
    "found",
    [
        NotFound("gone", code=404),
        Unavailable("refused"),
        report(600, attempt=1),
        report(600, jobUid="another"),
        {"data": {"train.json": "{"}},
        {},
    ],
)
def test_without_a_report_that_counts_the_status_does(found: dict[str, Any] | ApiError) -> None:
    progress, _ = reported(found)
    job = SeenJob.of(training())
    assert progress.newest(job) is job
    assert progress.seconds(job) == 5


def test_who_may_not_read_reports_asks_once() -> None:
    progress, reader = reported(Forbidden("no right", code=403))
    job = SeenJob.of(training())
    assert [progress.newest(job), progress.newest(job)] == [job, job]
    assert len(reader.asked) == 1
    assert progress.seconds(job) is None


def test_nothing_is_asked_where_nothing_runs() -> None:
    progress, reader = reported(report(600))
    edited = training()
    edited["metadata"]["generation"] = 2
    for body in (job_body(), job_body(phase="Pending"), ready(), edited):
        job = SeenJob.of(body)
        assert progress.newest(job) is job
        assert progress.seconds(job) is None
    assert reader.asked == []


def test_followers_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("anneal_cli.status_follower.time.monotonic", lambda: now[0])
    progress, reader = reported(report(600))
    output = io.StringIO()
    lines = LineFollower(Console(file=output))
    live = LiveFollower(Console(file=io.StringIO()))
    job = SeenJob.of(training())
    for _ in range(3):  # the same report, read again: the time that is left goes on
        lines.saw(progress.newest(job))
        live.saw(progress.newest(job))
        now[0] += 5.0
    assert output.getvalue().count("step 600 of 800, loss 0.2500, 6,000 tokens/s") == 1
    console = Console(file=io.StringIO(), width=200)
    console.print(live._view())
    assert "step 600 of 800, loss 0.2500, 6,000 tokens/s, 1 min 15 s left" in console.file.getvalue()  # type: ignore[attr-defined]
    reader.found = report(700)
    lines.saw(progress.newest(job))
    assert "step 700 of 800" in output.getvalue()
