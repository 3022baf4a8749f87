"""A status that another release wrote is read element by element: nothing starts anew and nothing is forgotten."""

from __future__ import annotations

import pytest
from model_cluster import SPEC, ModelCluster, at_work


def ready_and_training_again() -> ModelCluster:
    cluster = ModelCluster()
    cluster.go(until="Ready")
    cluster.edit(training={"epochs": 4})
    cluster.go(until="Training")
    return cluster


@pytest.mark.parametrize(
    "harm",
    [
        lambda status: status["failures"][-1].update(reason="SomethingNewer"),
        lambda status: status["failures"][-1].update(part="tune"),
        lambda status: status["failures"][-1].update(somethingNewer=1),
        lambda status: status["failures"][-1].update(message=3),
        lambda status: status["failures"].pop(),
        lambda status: status.update(failures=3),
        lambda status: status.update(failures=[{"of": "another shape"}]),
    ],
    ids=["reason", "part", "field", "type", "gone", "no list", "shape"],
)
def test_a_job_that_failed_for_good_stays_failed(harm):
    cluster = at_work("Training")
    for _ in range(2):
        cluster.fail("UserCode")
        cluster.settle()
        cluster.work()
        cluster.tick(60)
        cluster.go(4)
    assert cluster.status["phase"] == "Failed"
    created = len(cluster.created)
    harm(cluster.job["status"])
    for _ in range(20):
        cluster.settle()
        cluster.work()
        cluster.tick(60)
    assert cluster.status["phase"] == "Failed"
    assert len(cluster.created) == created, "something was begun anew"


def test_words_of_a_newer_release_are_written_back():
    cluster = at_work("Training")
    cluster.fail("UserCode")
    cluster.settle()
    status = cluster.job["status"]
    status["failures"][0]["reason"] = "SomethingNewer"
    status["conditions"].append(
        {
            "type": "SomethingElse",
            "status": "True",
            "reason": "AsWell",
            "message": "",
            "lastTransitionTime": "2026-01-01T12:00:00Z",
            "observedGeneration": 1,
        }
    )
    status["run"]["somethingPinned"] = {"uri": "pvc://models/anneal"}
    cluster.settle()
    assert cluster.status["failures"][0]["reason"] == "SomethingNewer"
    assert cluster.status["run"]["somethingPinned"] == {"uri": "pvc://models/anneal"}
    assert cluster.condition("SomethingElse") == ("True", "AsWell")


@pytest.mark.parametrize("state", ["Canary", "Stable"])
def test_what_serves_is_not_forgotten_for_a_word(state):
    cluster = ready_and_training_again()
    cluster.job["status"]["versions"][0]["state"] = state
    service = cluster.objects["RayService", "reviews"]
    cluster.settle()
    assert cluster.status["servedVersion"] == "v1"
    assert cluster.status["traffic"] == "v1 100%"
    assert cluster.status["url"]
    assert cluster.objects["RayService", "reviews"] == service
    cluster.go(until="Ready")
    assert cluster.status["servedVersion"] == "v2"
    assert cluster.status["attempt"] == 1


@pytest.mark.parametrize(
    "harm",
    [
        lambda status: status["versions"][0].pop("path"),
        lambda status: status.update(versions="none"),
        lambda status: status["versions"][0].update(refused={"reason": 3}),
        lambda status: status["versions"][0].update(publishedAt=None),
    ],
    ids=["path", "no list", "refused", "null"],
)
def test_a_version_that_cannot_be_read_is_found_again(harm):
    cluster = ready_and_training_again()
    harm(cluster.job["status"])
    cluster.settle()
    assert cluster.status["servedVersion"] == "v1"
    cluster.go(until="Ready")
    assert [version["version"] for version in cluster.status["versions"]] == [1, 2]
    assert cluster.status["attempt"] == 1


def test_a_part_of_a_newer_release_is_left_alone():
    cluster = ready_and_training_again()
    cluster.job["status"]["run"]["part"] = "tune"
    for _ in range(10):
        cluster.settle()
        cluster.work()
        cluster.tick(60)
    assert cluster.status["run"]["part"] == "tune"
    assert "newer release" in cluster.status["message"]
    assert cluster.status["servedVersion"] == "v1"
    assert ("RayJob", "reviews-g2-a1") in cluster.objects
    cluster.job["status"]["run"]["part"] = "train"  # the newer release is back
    assert cluster.go(until="Ready")["attempt"] == 1


def test_a_spec_of_a_newer_release_stops_nothing():
    cluster = ready_and_training_again()
    created = len(cluster.created)
    cluster.job["spec"] = {**SPEC, "task": "somethingNewer"}
    cluster.settle()
    assert cluster.status["reason"] == "ManifestInvalid"
    assert cluster.status["servedVersion"] == "v1"
    assert cluster.active_parts() == ["reviews-g2-a1"]
    cluster.job["spec"] = {**SPEC, "training": {"epochs": 4}}
    assert cluster.go(until="Ready")["attempt"] == 1
    assert len(cluster.created) > created
