"""Deleting a job: at every phase, with and without a store to empty."""

from __future__ import annotations

import pytest
from model_cluster import SPEC, ModelCluster

from anneal_operator.resources.names import FINALIZER

CLEAN = {**SPEC, "retention": {"onDelete": "Delete"}}
PHASES = ["Preparing", "Training", "Finishing", "Deploying", "Ready"]


def test_without_a_store_to_empty_nothing_holds_the_job():
    cluster = ModelCluster()
    cluster.go(until="Training")
    assert not cluster.job["metadata"].get("finalizers")
    cluster.job["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    found = cluster.look()
    assert (found.status, found.actions, found.requeue_after) == (None, (), None)


def test_the_finalizer_is_there_before_anything_is_written_to_the_store():
    cluster = ModelCluster(CLEAN)
    cluster.look(crash_after=2)
    assert cluster.job["metadata"]["finalizers"] == [FINALIZER]
    assert cluster.created == []


def test_the_finalizer_follows_the_manifest():
    cluster = ModelCluster(CLEAN)
    cluster.go(until="Ready")
    cluster.edit(retention={"onDelete": "Keep"})
    cluster.settle()
    assert cluster.job["metadata"]["finalizers"] == []


@pytest.mark.parametrize("phase", PHASES)
def test_what_works_is_stopped_before_the_store_is_emptied(phase):
    cluster = ModelCluster(CLEAN)
    cluster.go(until=phase)
    cluster.work()
    cluster.settle()
    cluster.delete_job()
    for _ in range(10):
        cluster.look()
        if cluster.job is None:
            break
        assert cluster.status["phase"] == "Deleting"
        assert cluster.condition("Ready") == ("False", "Deleting")
        if "reviews-cleanup" in cluster.names("Job"):
            assert not cluster.active_parts()
            assert not cluster.names("RayService")
        cluster.work()
        cluster.tick(5)
    assert cluster.job is None
    assert cluster.created.count(("Job", "reviews-cleanup")) == 1


def test_a_job_that_never_started_needs_no_clean_up():
    cluster = ModelCluster({**CLEAN, "suspend": True})
    cluster.settle()
    assert cluster.job["metadata"]["finalizers"] == [FINALIZER]
    cluster.delete_job()
    cluster.look()
    assert cluster.job is None
    assert cluster.created == []


def _failed_cleanup() -> ModelCluster:
    cluster = ModelCluster(CLEAN)
    cluster.go(until="Ready")
    cluster.delete_job()
    cluster.go(1)
    cluster.settle()
    cluster.end(cluster.objects["Job", "reviews-cleanup"], good=False)
    cluster.settle()
    return cluster


def test_a_clean_up_that_fails_is_told_and_tried_again():
    cluster = _failed_cleanup()
    assert cluster.status["reason"] == "Internal"
    assert "could not be emptied" in cluster.status["message"]
    assert "onDelete to Keep" in cluster.status["hint"]
    first = cluster.objects["Job", "reviews-cleanup"]["metadata"]["uid"]
    cluster.tick(60)
    cluster.settle()
    assert cluster.objects["Job", "reviews-cleanup"]["metadata"]["uid"] != first
    for _ in range(3):
        cluster.work()
    cluster.look()
    assert cluster.job is None


def test_a_clean_up_that_misses_the_stores_secret_says_so_and_how_to_let_the_job_go():
    store = {"uri": "s3://models/anneal", "secretRef": {"name": "store-s3"}}
    cluster = ModelCluster({**CLEAN, "store": store})
    cluster.go(until="Ready")
    cluster.delete_job()
    cluster.go(1)
    cluster.settle()
    state = {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "store-s3" not found'}}
    cluster.pods.append(
        {
            "metadata": {"name": "cleanup", "labels": {"anneal.dev/part": "cleanup"}},
            "status": {
                "phase": "Pending",
                "containerStatuses": [{"name": "cleanup", "image": "x", "state": state}],
            },
        }
    )
    cluster.settle()
    assert (cluster.status["phase"], cluster.status["reason"]) == ("Deleting", "SecretNotFound")
    assert "store-s3" in cluster.status["message"]
    assert "Create the Secret" in cluster.status["hint"]
    assert "onDelete to Keep" in cluster.status["hint"]


def test_a_person_can_let_the_job_go():
    cluster = _failed_cleanup()
    cluster.edit(retention={"onDelete": "Keep"})
    cluster.look()
    assert cluster.job is None


def test_a_manifest_that_has_become_invalid_is_cleaned_up_as_it_was():
    cluster = ModelCluster(CLEAN)
    cluster.go(until="Ready")
    cluster.edit(task="nonsense")
    cluster.settle()
    cluster.delete_job()
    for _ in range(6):
        cluster.look()
        cluster.work()
    assert cluster.job is None
    assert ("Job", "reviews-cleanup") in cluster.created


def test_a_name_that_somebody_else_has_is_told():
    cluster = ModelCluster(CLEAN)
    cluster.go(until="Ready")
    cluster.foreign.add("Job/reviews-cleanup")
    cluster.delete_job()
    cluster.go(3)
    assert cluster.status["reason"] == "NameConflict"


def test_nothing_is_made_while_a_job_is_going():
    cluster = ModelCluster(CLEAN)
    cluster.go(until="Training")
    cluster.delete_job()
    created = len(cluster.created)
    cluster.go(1)
    cluster.settle()
    assert [name for _, name in cluster.created[created:]] in ([], ["reviews-cleanup"])
