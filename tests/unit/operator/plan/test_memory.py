"""What the operator does when its own records are lost, old or unreadable, and when names are taken."""

from __future__ import annotations

import copy

import pytest
from model_cluster import SPEC, ModelCluster, at_work


@pytest.mark.parametrize("phase", ["Preparing", "Training", "Finishing"])
def test_an_attempt_is_taken_over_when_the_status_is_lost(phase):
    cluster = at_work(phase)
    created = list(cluster.created)
    active = cluster.active_parts()
    before = cluster.status
    cluster.strip_status()
    cluster.settle()
    assert cluster.active_parts() == active
    assert cluster.created == created
    assert cluster.status["phase"] == phase
    kept = ("generation", "attempt", "part", "image", "shaping")
    assert [cluster.status["run"][k] for k in kept] == [before["run"][k] for k in kept]
    cluster.go(until="Ready")
    assert cluster.status["attempt"] == 1


def test_a_later_attempt_is_taken_over():
    cluster = at_work("Training")
    cluster.fail("Collective")
    cluster.settle()
    cluster.tick(10)
    cluster.go(2)
    assert cluster.active_parts() == ["reviews-g1-a2"]
    cluster.strip_status()
    cluster.settle()
    assert cluster.active_parts() == ["reviews-g1-a2"]
    assert cluster.status["attempt"] == 2


def test_what_is_served_is_known_again():
    cluster = ModelCluster()
    cluster.go(until="Ready")
    cluster.edit(training={"epochs": 5})
    cluster.go(until="Ready")
    before, created = cluster.status, list(cluster.created)
    cluster.strip_status()
    cluster.settle()
    assert cluster.status["phase"] == "Ready"
    assert cluster.status["traffic"] == "v2 100%"
    assert cluster.status["gate"] == before["gate"]
    assert cluster.created == created


def test_a_failure_is_known_again_and_not_tried_again():
    cluster = at_work("Preparing")
    cluster.fail("DataInvalid")
    cluster.settle()
    cluster.strip_status()
    cluster.settle()
    assert (cluster.status["phase"], cluster.status["reason"]) == ("Failed", "DataInvalid")
    assert len([kind for kind, _ in cluster.created if kind == "Job"]) == 1


def test_an_attempt_that_an_older_status_does_not_know_is_taken_over():
    """The cache may hold a job from before our own last write."""
    cluster = at_work("Training")
    old = cluster.status
    cluster.fail("Collective")
    cluster.settle()
    cluster.tick(10)
    cluster.settle()
    assert cluster.active_parts() == ["reviews-g1-a2"]
    cluster.job["status"] = old
    cluster.settle()
    assert cluster.active_parts() == ["reviews-g1-a2"]
    assert cluster.status["attempt"] == 2


def test_a_part_of_no_attempt_of_now_is_stopped():
    cluster = at_work("Training")
    stray = copy.deepcopy(cluster.objects["RayJob", "reviews-g1-a1"])
    stray["metadata"] |= {"name": "reviews-g0-a1", "uid": "stray"}
    stray["metadata"]["labels"]["anneal.dev/generation"] = "0"
    cluster.objects["RayJob", "reviews-g0-a1"] = stray
    cluster.settle()
    cluster.work()
    assert cluster.names("RayJob") == ["reviews-g1-a1"]


@pytest.mark.parametrize(
    "harm",
    [
        {"phase": "Nonsense"},
        {"conditions": "none"},
        {"versions": [{"version": "x"}]},
        {"run": {"generation": "one"}},
        {"somethingNewer": 1},
        {"failures": 3, "gate": 4, "stages": 5},
    ],
    ids=lambda harm: next(iter(harm)),
)
def test_what_cannot_be_read_is_left_out(harm):
    cluster = at_work("Training")
    cluster.job["status"] = {**cluster.status, **harm}
    # A condition that cannot be read has no time to keep.
    if "conditions" in harm:
        cluster.job["status"].pop("conditions")
    cluster.settle()
    assert cluster.active_parts() == ["reviews-g1-a1"]
    cluster.go(until="Ready")
    assert cluster.status["attempt"] == 1


class TestConflict:
    @pytest.mark.parametrize("taken", ["ConfigMap/reviews-g1", "Job/reviews-g1-a1-prepare"])
    def test_nothing_is_made_while_a_name_is_another_s(self, taken):
        cluster = ModelCluster()
        cluster.foreign.add(taken)
        found = cluster.settle()
        assert cluster.created == []
        assert (cluster.status["phase"], cluster.status["reason"]) == ("Pending", "NameConflict")
        assert taken.partition("/")[2] in cluster.status["message"]
        assert "run" not in cluster.status
        assert found.requeue_after == pytest.approx(30)
        cluster.foreign.clear()
        cluster.go(until="Ready")
        assert cluster.status["phase"] == "Ready"

    def test_the_service_s_name(self):
        cluster = ModelCluster()
        cluster.foreign.add("RayService/reviews")
        cluster.go(20)
        assert (cluster.status["phase"], cluster.status["reason"]) == ("Deploying", "NameConflict")
        assert cluster.condition("Published") == ("True", "Completed")
        assert cluster.condition("Ready") == ("False", "NameConflict")
        assert len(cluster.status["versions"]) == 1
        cluster.foreign.clear()
        cluster.go(until="Ready")
        assert cluster.status["phase"] == "Ready"


class TestLeftovers:
    def test_the_last_generation_s_objects_stay_for_their_logs(self):
        cluster = ModelCluster()
        cluster.go(until="Ready")
        assert cluster.names("Job") == ["reviews-g1-a1-finish", "reviews-g1-a1-prepare", "reviews-v1-parity"]
        cluster.edit(training={"epochs": 5})
        cluster.go(until="Ready")
        cluster.work()
        assert cluster.names("RayJob") == ["reviews-g2-a1"]
        assert "reviews-g1-a1-prepare" not in cluster.names("Job")
        assert cluster.names("Role", "ServiceAccount", "RoleBinding") == ["reviews-reporter"] * 3
        # v1 is still told of, so its records stay.
        assert "reviews-g1-a1" in cluster.names("ConfigMap")

    def test_records_go_with_their_version(self):
        cluster = ModelCluster({**SPEC, "retention": {"versions": 1}})
        cluster.go(until="Ready")
        for epochs in (4, 5, 6):
            cluster.edit(training={"epochs": epochs})
            cluster.go(until="Ready")
        assert [v["version"] for v in cluster.status["versions"]] == [4]
        assert cluster.names("ConfigMap") == ["reviews-g4", "reviews-g4-a1"]

    def test_the_objects_of_a_finished_job_go_after_their_time(self):
        cluster = ModelCluster({**SPEC, "retention": {"ttlAfterFinished": "1h"}})
        cluster.go(until="Ready")
        found = cluster.settle()
        assert found.requeue_after == pytest.approx(3600, abs=1)
        status = cluster.status
        cluster.tick(3600)
        cluster.settle()
        cluster.work()
        assert cluster.names("Job", "RayJob", "Role", "RoleBinding", "ServiceAccount") == []
        assert cluster.names("ConfigMap") == ["reviews-g1", "reviews-g1-a1"]
        assert cluster.names("RayService") == ["reviews"]
        assert cluster.status == status
        assert cluster.look().requeue_after is None

    def test_a_failed_job_s_too(self):
        cluster = at_work("Preparing", {**SPEC, "retention": {"ttlAfterFinished": "1m"}})
        cluster.fail("DataInvalid")
        cluster.settle()
        assert cluster.names("Job")
        cluster.tick(60)
        cluster.settle()
        assert not cluster.names("Job")
        assert cluster.status["reason"] == "DataInvalid"
        cluster.strip_status()
        cluster.settle()
        assert cluster.status["reason"] == "DataInvalid"
        assert not cluster.active_parts()
