"""Attempts: what is tried again, when, how often, and what only waits."""

from __future__ import annotations

import pytest
from model_cluster import SPEC, ModelCluster, at_work
from model_results import failure, published

from anneal_api.status import StatusReason
from anneal_operator.plan.retries import attempts_for, backoff
from anneal_operator.settings import Settings

SETTINGS = Settings(image="anneal/runtime:1")


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 10), (2, 20), (3, 40), (6, 300), (1_000_000, 300)])
def test_the_wait_doubles_up_to_a_limit(attempt, seconds):
    assert backoff(attempt, SETTINGS) == seconds


@pytest.mark.parametrize(
    ("reason", "attempts"),
    [
        ("DataInvalid", 1),
        ("ModelNotFound", 1),
        ("GateNotPassed", 1),
        ("ManifestInvalid", 1),
        ("ArtifactInvalid", 1),
        ("Deadline", 1),
        ("Rejected", 1),
        ("OutOfMemory", 2),
        ("UserCode", 2),
        ("Preempted", 8),
        ("Collective", 4),
        ("DiskFull", 4),
        ("NoHeartbeat", 4),
        ("Internal", 4),
    ],
)
def test_how_often_a_reason_is_tried(reason, attempts):
    assert attempts_for(StatusReason(reason), SETTINGS) == attempts


def test_an_attempt_after_a_failure_goes_on_with_the_part_that_failed():
    cluster = at_work("Training")
    cluster.kill("OOMKilled")
    cluster.settle()
    assert cluster.status["phase"] == "Training"
    assert cluster.status["reason"] == "OutOfMemory"
    assert "limit of 4Gi" in cluster.status["message"]
    assert "spec.resources.memory" in cluster.status["hint"]
    assert cluster.condition("Progressing") == ("True", "Retrying")
    assert cluster.condition("Failed") == ("False", "Running")
    assert cluster.condition("Prepared") == ("True", "Completed")
    found = cluster.look()
    assert found.requeue_after == pytest.approx(10)
    cluster.tick(9)
    cluster.settle()
    assert not cluster.active_parts()
    cluster.tick(1)
    cluster.settle()
    assert cluster.active_parts() == ["reviews-g1-a2"]
    assert cluster.status["attempt"] == 2
    assert "reason" not in cluster.status
    assert [f["reason"] for f in cluster.status["failures"]] == ["OutOfMemory"]
    cluster.go(until="Ready")
    assert cluster.status["phase"] == "Ready"


def test_a_lost_attempt_is_announced_with_the_time_of_the_next():
    cluster = at_work("Training")
    cluster.plans.clear()
    cluster.fail("Collective")
    cluster.settle()
    (told,) = [a for plan in cluster.plans for a in plan.events]
    assert told.warning
    assert told.reason == "Collective"
    assert cluster.status["run"]["retryAt"] in told.message


@pytest.mark.parametrize(("reason", "attempts"), [("Collective", 4), ("OutOfMemory", 2), ("DataInvalid", 1)])
def test_attempts_end(reason, attempts):
    cluster = ModelCluster()
    for _ in range(60):
        cluster.settle()
        if cluster.status["phase"] == "Failed":
            break
        cluster.fail(reason)
        cluster.tick(30)
    assert cluster.status["phase"] == "Failed"
    assert cluster.status["reason"] == reason
    assert len(cluster.status["failures"]) == cluster.status["attempt"] == attempts
    assert cluster.condition("Failed") == ("True", reason)
    assert cluster.condition("Progressing") == ("False", reason)
    assert cluster.condition("Prepared") == ("False", reason)
    assert cluster.condition("Succeeded") == ("False", reason)
    assert cluster.condition("Ready") == ("False", reason)
    assert cluster.status["finishedAt"]


def test_a_lost_node_takes_no_attempt_from_what_a_crash_may():
    cluster = ModelCluster()
    lost = ["Interrupted"] * 4
    for reason in (*lost, "OutOfMemory"):
        cluster.go(until="Training")
        cluster.fail(reason)
        cluster.settle()
        cluster.tick(300)
    cluster.go(until="Ready")
    assert cluster.status["phase"] == "Ready"
    assert [f["reason"] for f in cluster.status["failures"]] == ["Preempted"] * len(lost) + ["OutOfMemory"]


def test_nodes_that_are_lost_for_ever_end_it_with_a_hint_that_helps():
    cluster = ModelCluster()
    for _ in range(60):
        cluster.settle()
        if cluster.status["phase"] == "Failed":
            break
        cluster.fail("Interrupted")
        cluster.tick(300)
    assert len(cluster.status["failures"]) == 8
    assert "Edit the manifest" in cluster.status["failures"][-1]["hint"]
    assert "Edit the manifest" in cluster.status["hint"]


@pytest.mark.parametrize("phase", ["Preparing", "Training", "Finishing"])
def test_a_part_that_somebody_deleted_is_tried_again(phase):
    cluster = at_work(phase)
    (body,) = cluster.active_parts_bodies()
    cluster.remove(body["kind"], body["metadata"]["name"])
    cluster.settle()
    cluster.work()
    cluster.settle()
    assert cluster.status["failures"][0]["reason"] == "Internal"
    assert "deleted" in cluster.status["failures"][0]["message"]
    cluster.go(until="Ready")
    assert cluster.status["phase"] == "Ready"


def test_a_part_that_was_never_seen_at_work_is_made_again_and_nothing_is_lost():
    cluster = ModelCluster()
    cluster.settle()
    cluster.remove("Job", "reviews-g1-a1-prepare")
    cluster.settle()
    assert cluster.active_parts() == ["reviews-g1-a1-prepare"]
    assert cluster.status["failures"] == []


def test_a_part_that_was_at_work_is_lost_though_it_never_reported():
    cluster = ModelCluster()
    cluster.settle()
    (body,) = cluster.active_parts_bodies()
    cluster.start(body)
    cluster.settle()
    cluster.remove("Job", "reviews-g1-a1-prepare")
    cluster.settle()
    assert cluster.status["failures"][0]["reason"] == "Internal"


def test_a_report_of_success_counts_though_the_object_is_gone():
    cluster = at_work("Finishing")
    (body,) = cluster.active_parts_bodies()
    cluster.report(body, "Succeeded", published=published(1))
    cluster.remove("Job", "reviews-g1-a1-finish")
    cluster.settle()
    assert cluster.status["phase"] == "Deploying"


class TestHeartbeat:
    def test_a_silent_part_is_stopped_and_tried_again(self):
        cluster = at_work("Training")
        cluster.tick(299)
        cluster.settle()
        assert cluster.status["failures"] == []
        cluster.tick(1)
        cluster.settle()
        assert cluster.status["failures"][0]["reason"] == "NoHeartbeat"
        assert "deletionTimestamp" in cluster.objects["RayJob", "reviews-g1-a1"]["metadata"]
        cluster.work()
        cluster.settle()
        cluster.tick(60)
        cluster.settle()
        assert cluster.active_parts() == ["reviews-g1-a2"]

    def test_each_report_gives_more_time(self):
        cluster = at_work("Training")
        (body,) = cluster.active_parts_bodies()
        for _ in range(10):
            cluster.tick(200)
            cluster.report(body, "Running")
            assert cluster.settle().requeue_after == pytest.approx(300)
        assert cluster.status["failures"] == []

    def test_waiting_for_a_node_is_not_silence(self):
        cluster = ModelCluster()
        cluster.go(until="Training")
        cluster.work()
        cluster.tick(3_000)
        cluster.settle()
        assert cluster.status["failures"] == []
        cluster.work()
        cluster.settle()
        assert cluster.status["failures"] == []

    def test_success_whose_object_hangs_is_success(self):
        cluster = at_work("Training")
        (body,) = cluster.active_parts_bodies()
        cluster.report(body, "Succeeded")
        cluster.tick(301)
        cluster.settle()
        cluster.work()
        cluster.settle()
        assert cluster.status["failures"] == []
        assert cluster.status["phase"] == "Finishing"

    def test_failure_whose_object_hangs_is_that_failure(self):
        cluster = at_work("Training")
        (body,) = cluster.active_parts_bodies()
        cluster.report(body, "Failed", failure=failure("DataInvalid"))
        cluster.settle()
        assert cluster.status["failures"] == []
        cluster.tick(301)
        cluster.settle()
        assert cluster.status["reason"] == "DataInvalid"
        assert "deletionTimestamp" in cluster.objects["RayJob", "reviews-g1-a1"]["metadata"]


class TestDeadline:
    def test_it_counts_from_the_first_attempt(self):
        cluster = at_work("Training", {**SPEC, "deadline": "10m"})
        cluster.fail("Collective")
        cluster.tick(30)
        cluster.go(3)
        assert cluster.status["attempt"] == 2
        cluster.now = cluster.now.replace(hour=12, minute=9, second=59)
        for body in cluster.active_parts_bodies():
            cluster.report(body, "Running")
        cluster.settle()
        assert cluster.status["phase"] == "Training"
        assert cluster.look().requeue_after == pytest.approx(1)
        cluster.tick(1)
        cluster.settle()
        assert (cluster.status["phase"], cluster.status["reason"]) == ("Failed", "Deadline")
        cluster.work()
        cluster.settle()
        assert not cluster.active_parts()

    def test_it_ends_a_wait_between_two_attempts(self):
        settings = Settings(image="anneal/runtime:1", backoff_seconds=100)
        cluster = at_work("Preparing", {**SPEC, "deadline": "1m"}, settings)
        cluster.fail("Collective")
        cluster.settle()
        cluster.tick(60)
        cluster.settle()
        assert (cluster.status["phase"], cluster.status["reason"]) == ("Failed", "Deadline")
        assert "retryAt" not in cluster.status["run"]

    def test_a_longer_one_starts_anew(self):
        cluster = at_work("Preparing", {**SPEC, "deadline": "1m"})
        cluster.tick(60)
        cluster.settle()
        assert cluster.status["phase"] == "Failed"
        cluster.edit(deadline="1h")
        cluster.go(until="Ready")
        assert cluster.status["phase"] == "Ready"

    @pytest.mark.parametrize("phase", ["Preparing", "Training"])
    def test_one_that_is_raised_meanwhile_outlives_that_of_the_object(self, phase):
        cluster = at_work(phase, {**SPEC, "deadline": "10m"})
        cluster.edit(deadline="12h")
        cluster.settle()
        (body,) = cluster.active_parts_bodies()
        cluster.end(body, good=False)
        if body["kind"] == "RayJob":
            body["status"]["reason"] = "DeadlineExceeded"
        else:
            body["status"]["conditions"][0]["reason"] = "DeadlineExceeded"
        cluster.tick(60)
        cluster.go(until="Ready")
        assert cluster.status["phase"] == "Ready"
        assert cluster.status["failures"] == []


class TestResults:
    def test_a_gate_that_is_not_passed_is_the_end_and_shows_its_table(self):
        cluster = at_work("Finishing")
        (body,) = cluster.active_parts_bodies()
        result = published(None, score=0.7)
        cluster.report(body, "Failed", failure=failure("GateNotPassed"), published=result)
        cluster.end(body, good=False)
        cluster.settle()
        assert (cluster.status["phase"], cluster.status["reason"]) == ("Failed", "GateNotPassed")
        assert "f1: 0.7 against 0.8." in cluster.status["message"]
        assert cluster.condition("GatePassed") == ("False", "GateNotPassed")
        assert cluster.condition("Trained") == ("True", "Completed")
        assert cluster.status["gate"][0]["verdict"] == "failed"
        assert cluster.status["score"] == "f1 0.7000"
        assert cluster.status["versions"] == []
        cluster.go(10)
        assert cluster.status["attempt"] == 1

    def test_success_without_a_version_is_a_gate_that_is_not_passed(self):
        cluster = at_work("Finishing")
        (body,) = cluster.active_parts_bodies()
        cluster.report(body, "Succeeded", published=published(None))
        cluster.end(body, good=True)
        cluster.settle()
        assert cluster.status["reason"] == "GateNotPassed"

    def test_a_path_that_leads_out_of_the_store_is_refused(self):
        cluster = at_work("Finishing")
        (body,) = cluster.active_parts_bodies()
        cluster.report(body, "Succeeded", published=published(1, path="../../etc"))
        cluster.end(body, good=True)
        cluster.settle()
        assert cluster.status["reason"] == "ArtifactInvalid"
        assert cluster.status["versions"] == []

    def test_a_score_that_is_no_number(self):
        cluster = at_work("Finishing")
        (body,) = cluster.active_parts_bodies()
        result = published(1)
        result["metrics"] = {"f1": None}
        result["gate"]["rows"][0]["candidate"] = None
        cluster.report(body, "Succeeded", published=result)
        cluster.end(body, good=True)
        cluster.go(until="Ready")
        assert cluster.status["score"] == ""
        cluster.settle()
