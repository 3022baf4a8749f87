"""Whose log is shown, for every state that a job can be in."""

from __future__ import annotations

from typing import Any

import pytest
from seen_jobs import gate_not_passed, job_body, pod, ready, run_of, training, version_of

from anneal_cli.job_pods import Source, choose
from anneal_cli.log_part import LogPart
from anneal_cli.seen_job import SeenJob

PODS = [
    pod("prepare", "prepare", phase="Succeeded"),
    pod("submit-1", "train", phase="Failed"),
    pod("head-2", "train", attempt=2, node="head"),
    pod("worker-2", "train", attempt=2, node="worker"),
    pod("submit-2", "train", attempt=2),
    pod("finish", "finish", attempt=2, phase="Succeeded"),
    pod("serve-head", "serve", attempt=None, node="head"),
    pod("serve-b", "serve", attempt=None, node="worker"),
    pod("serve-a", "serve", attempt=None, node="worker"),
    pod("parity", "parity", attempt=None, phase="Succeeded"),
]


def chosen(
    body: dict[str, Any],
    pods: list[dict[str, Any]] = PODS,
    part: LogPart | None = None,
    attempt: int | None = None,
) -> tuple[str, str | None] | None:
    found = choose(SeenJob.of(body), pods, part, attempt)
    return None if found is None else (found.words, found.source.name if found.source else None)


def test_training_shows_the_driver_of_the_attempt_that_runs() -> None:
    assert chosen(training()) == ("train, attempt 2", "submit-2")


def test_an_attempt_that_failed_can_be_asked_for() -> None:
    failure = {
        "generation": 1,
        "attempt": 1,
        "part": "train",
        "reason": "Collective",
        "message": "x",
        "at": "y",
    }
    body = training()
    body["status"]["failures"] = [failure]
    assert chosen(body, attempt=1) == ("train, attempt 1", "submit-1")
    assert chosen(body, attempt=2) == ("train, attempt 2", "submit-2")
    assert chosen(body, attempt=1, part=LogPart.PREPARE) == ("prepare, attempt 1", "prepare")
    assert chosen(body, attempt=9) == ("train, attempt 9", None)


def test_a_part_comes_from_the_newest_attempt_that_has_it() -> None:
    assert chosen(training(), part=LogPart.PREPARE) == ("prepare, attempt 1", "prepare")
    newer = pod("prepare-g2", "prepare", generation=2)
    assert chosen(training(), [*PODS, newer], part=LogPart.PREPARE) == ("prepare, attempt 1", "prepare-g2")
    assert chosen(training(), part=LogPart.FINISH) == ("finish, attempt 2", "finish")


def test_a_failed_job_shows_where_it_failed() -> None:
    assert chosen(gate_not_passed()) == ("finish, attempt 1", None)
    failed = job_body(phase="Failed", reason="OutOfMemory", run=run_of("train", 2))
    assert chosen(failed) == ("train, attempt 2", "submit-2")


def test_a_served_job_shows_the_newest_pod_that_answers() -> None:
    assert chosen(ready()) == ("serve", "serve-b")
    newer = pod("serve-c", "serve", attempt=None, node="worker", created="2026-03-02T15:00:00Z")
    found = choose(SeenJob.of(ready()), [newer, *PODS], None, None)
    assert found is not None
    assert found.source is not None
    assert (found.source.name, found.pods) == ("serve-c", 3)
    without = [each for each in PODS if not each["metadata"]["name"].startswith("serve-")]
    assert chosen(ready(), without) == ("serve", None)


def test_while_a_version_is_deployed_the_probe_comes_first() -> None:
    body = job_body(phase="Deploying", run=run_of("finish"), versions=[version_of(1, "Candidate")])
    assert chosen(body) == ("serve", "serve-b")
    probing = [*PODS, pod("parity-2", "parity", attempt=None, created="2026-03-02T15:00:00Z")]
    assert chosen(body, probing) == ("parity", "parity-2")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("ParityFailed", ("parity", "parity")), ("OutOfMemory", ("serve", "serve-b"))],
)
def test_a_version_that_was_refused_shows_what_refused_it(reason: str, expected: tuple[str, str]) -> None:
    refused = {"generation": 1, "reason": reason, "message": "x"}
    versions = [version_of(1), version_of(2, "Candidate", refused=refused)]
    assert (
        chosen(job_body(phase="Failed", reason=reason, run=run_of("finish"), versions=versions)) == expected
    )


def test_nothing_has_run_yet() -> None:
    assert chosen(job_body(), []) is None
    assert chosen(job_body(phase="Pending"), [], attempt=1) is None


def test_without_a_driver_it_is_said_that_the_head_is_shown() -> None:
    found = choose(SeenJob.of(training()), PODS[2:4], None, None)
    assert found is not None
    assert found.source is not None
    assert found.source.name == "head-2"
    assert "not been created yet, or is gone" in found.remark


def test_our_container_is_found_among_others() -> None:
    injected = pod("finish", "finish", containers=("istio-proxy", "finish"))
    found = choose(SeenJob.of(gate_not_passed()), [injected], None, None)
    assert found is not None
    assert found.source is not None
    assert found.source.container == "finish"
    unknown = pod("finish", "finish", containers=("renamed", "more"))
    found = choose(SeenJob.of(gate_not_passed()), [unknown], None, None)
    assert found is not None
    assert found.source is not None
    assert found.source.container == "renamed"


def source(**options: Any) -> Source:
    return Source(pod("a", "finish", **options), "finish")


def test_a_container_that_has_not_started_says_why() -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    assert source(phase="Pending", state=waiting).why_silent == "ImagePullBackOff: no such image"
    unscheduled = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes",
    }
    nowhere = source(phase="Pending", state={}, conditions=[unscheduled])
    assert nowhere.why_silent == "Unschedulable: 0/1 nodes"
    assert source(phase="Pending", state={}).why_silent == "Pending"
    assert source().why_silent == ""
    again = source(state={"waiting": {"reason": "CrashLoopBackOff"}})
    again.pod["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"exitCode": 1}}
    assert again.why_silent == ""  # the log of the last try is there


def test_how_a_container_is_doing() -> None:
    assert source().standing == "running"
    killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    assert source(state=killed, phase="Failed").standing == "ended with exit code 137 (OOMKilled)"
    assert (
        source(state={"terminated": {"exitCode": 0, "reason": "Completed"}}).standing
        == "ended with exit code 0"
    )
    assert source(state={}, phase="Pending").standing == "pending"
    assert source().running
    assert not source(state=killed).running
