"""What the operator hears from a part, and when: over real HTTP, with a server that fails as told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from config_map_server import ConfigMapServer
from report_contract import OWNER, STRANGER

from anneal_api.attempt import PartFailure, PartProgress, PartReport, PartState
from anneal_api.errors import Reason
from anneal_api.report import DataSummary, StageRecord
from anneal_trainer.cluster.configmap import ApiAccess, ConfigMapKey
from anneal_trainer.cluster.environment import Assignment
from anneal_trainer.cluster.observer import ReportingObserver
from anneal_trainer.cluster.report import Patience, Reporter

FAST = Patience(between=0.05, first_retry=0.02, longest_retry=0.1, last=20.0, hopeless=0.3)
FAILURE = PartFailure(reason=Reason.DATA_INVALID, message="row 7 is empty")


@pytest.fixture
def write(server: ConfigMapServer, assignment: Assignment) -> Callable[[str], None]:
    return ConfigMapKey(
        ApiAccess.of_pod(server.environment()),
        namespace=assignment.namespace,
        name=assignment.configmap,
        key="train.json",
        owner_uid=assignment.uid,
    ).write


def progress(step: int) -> PartProgress:
    return PartProgress.model_validate({"step": step, "totalSteps": 100, "epoch": step / 50, "loss": 0.5})


def last(server: ConfigMapServer) -> PartReport:
    return PartReport.model_validate(server.reports[-1])


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def test_rows_that_preflight_left_out_are_reported_and_its_warnings_logged(server, assignment, write, caplog):
    dropped = [
        {"split": "test", "reason": "no label", "rows": 2, "of": 99, "where": "t.csv, rows 3, 4, column y"}
    ]
    finding = {"level": "warning", "what": "2 rows are left out.", "where": "t.csv, row 3", "remedy": "Look."}
    summary = {"digest": "d", "labels": ["a"], "splits": {}, "findings": [finding], "dropped": dropped}
    with Reporter(assignment, write, patience=FAST) as reporter:
        ReportingObserver(reporter).found(DataSummary.model_validate(summary))
        reporter.succeeded()
    assert server.reports[-1]["dropped"] == dropped
    assert "t.csv, row 3: 2 rows are left out. Look." in caplog.text


def test_every_report_says_whose_it_is(server, assignment, write):
    with Reporter(assignment, write, patience=FAST) as reporter:
        wait_for(lambda: len(server.reports) >= 2)
        reporter.succeeded()
    for report in server.reports:
        assert (report["jobUid"], report["generation"], report["attempt"], report["part"]) == (
            OWNER, 2, 1, "train",
        )  # fmt: skip
    assert [report["state"] for report in server.reports[:1]] == ["Running"]
    assert last(server).state is PartState.SUCCEEDED


def test_the_heart_beats_while_nothing_happens(server, assignment, write):
    with Reporter(assignment, write, patience=FAST) as reporter:
        reporter.stage_started("compress")
        wait_for(lambda: len(server.reports) >= 5)
        reporter.succeeded()
    beat = datetime.fromisoformat(server.reports[-1]["heartbeat"])
    assert abs((datetime.now(UTC) - beat).total_seconds()) < 5
    assert server.reports[3]["stage"] == "compress"


def test_however_often_training_reports_the_operator_hears_it_now_and_then(server, assignment, write):
    slow = Patience(between=0.5, last=5.0)
    started = time.monotonic()
    with Reporter(assignment, write, patience=slow) as reporter:
        for step in range(400):
            reporter.progressed(progress(step))
            time.sleep(0.002)
        took = time.monotonic() - started
        assert len(server.reports) <= 2 + took / 0.5
        reporter.succeeded()
    assert last(server).progress == progress(399)


def test_stages_pile_up_and_the_last_report_holds_them_all(server, assignment, write):
    record = StageRecord(name="preflight", key="0", reused=False, seconds=1.5)
    with Reporter(assignment, write, patience=FAST) as reporter:
        reporter.stage_started("preflight")
        reporter.stage_finished(record)
        reporter.stage_started("train")
        reporter.progressed(progress(10), resumed_from=5)
        wait_for(lambda: bool(server.reports) and server.reports[-1].get("stage") == "train")
        reporter.stage_finished(record.model_copy(update={"name": "train"}))
        reporter.succeeded()
    report = last(server)
    assert [stage.name for stage in report.stages] == ["preflight", "train"]
    assert report.stage == ""
    assert report.resumed_from == 5


def test_a_failure_names_the_stage_that_it_happened_in(server, assignment, write):
    with Reporter(assignment, write, patience=FAST) as reporter:
        reporter.stage_started("preflight")
        reporter.failed(FAILURE)
    report = last(server)
    assert report.state is PartState.FAILED
    assert report.failure == FAILURE
    assert report.stage == "preflight"


def test_the_first_end_counts(server, assignment, write):
    with Reporter(assignment, write, patience=FAST) as reporter:
        reporter.interrupted(FAILURE)
        reporter.succeeded()
    assert last(server).state is PartState.FAILED


def test_an_api_server_that_is_away_for_a_while_misses_nothing_that_counts(server, assignment, write):
    with Reporter(assignment, write, patience=FAST) as reporter:
        wait_for(lambda: len(server.reports) == 1)
        server.failures = [500, 503, 429, 403]
        reporter.stage_started("train")
        wait_for(lambda: not server.failures)
        reporter.progressed(progress(50))
        server.failures = [500, 503, 504, 500, 409]
        reporter.succeeded()
    report = last(server)
    assert report.state is PartState.SUCCEEDED
    assert report.progress == progress(50)


def test_the_work_never_waits_for_a_server_that_does_not_answer(assignment):
    answered = threading.Event()

    def silent(_report: str) -> None:
        answered.wait()

    with Reporter(assignment, silent, patience=FAST) as reporter:
        started = time.monotonic()
        for step in range(1000):
            reporter.progressed(progress(step))
        assert time.monotonic() - started < 1
        answered.set()
        reporter.succeeded()


def test_a_server_that_stays_away_fails_nothing(server, assignment, write, caplog):
    server.failures = [500] * 10_000
    started = time.monotonic()
    brief = Patience(between=0.05, first_retry=0.02, longest_retry=0.1, last=0.5)
    with Reporter(assignment, write, patience=brief) as reporter:
        reporter.succeeded()
    assert 0.3 < time.monotonic() - started < 10
    assert server.reports == []
    assert "The last report could not be delivered" in caplog.text


def test_the_config_map_of_a_newer_job_is_not_waited_for(server, assignment, write):
    server.recreate(STRANGER)
    started = time.monotonic()
    with Reporter(assignment, write, patience=FAST) as reporter:
        reporter.succeeded()
    assert time.monotonic() - started < 10, "it took the patience for a server that is away"
    assert server.data == {}


def test_a_pod_that_is_told_to_stop_does_not_try_for_minutes(server, assignment, write):
    server.failures = [500] * 10_000
    started = time.monotonic()
    with Reporter(assignment, write, patience=FAST) as reporter:
        reporter.interrupted(FAILURE)
    assert time.monotonic() - started < 10


def test_a_mistake_in_writing_does_not_stop_the_heart(assignment):
    calls: list[str] = []

    def faulty(report: str) -> None:
        calls.append(report)
        if len(calls) == 1:
            raise RuntimeError("a bug")

    with Reporter(assignment, faulty, patience=FAST) as reporter:
        wait_for(lambda: len(calls) >= 2)
        reporter.succeeded()
    assert PartReport.model_validate_json(calls[-1]).state is PartState.SUCCEEDED


def test_without_an_end_nothing_is_said_about_one(server, assignment, write):
    with Reporter(assignment, write, patience=FAST):
        wait_for(lambda: bool(server.reports))
    assert last(server).state is PartState.RUNNING
