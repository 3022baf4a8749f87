"""What the operator has cached may be minutes old: nothing is given up on it without a live look."""

from __future__ import annotations

import pytest
from model_cluster import SPEC, ModelCluster, at_work

from anneal_operator.plan.plan import plan

REPORT = ("ConfigMap", "reviews-g1-a1")
TRAINING = ("RayJob", "reviews-g1-a1")


def deploying() -> ModelCluster:
    """A second version that never gets ready, with the first one to fall back on."""
    cluster = ModelCluster()
    cluster.go(until="Ready")
    cluster.unready_versions.add(2)
    cluster.edit(training={"epochs": 4})
    cluster.go(until="Deploying")
    return cluster


def test_a_report_that_comes_later_than_the_end_of_its_job_is_looked_for():
    cluster = at_work("Training")
    cluster.freeze("ConfigMap")
    cluster.work()
    cluster.settle()
    cluster.tick(11)
    cluster.settle()
    assert cluster.status["failures"] == []
    assert cluster.status["phase"] == "Finishing"
    cluster.thaw()
    assert cluster.go(until="Ready")["attempt"] == 1
    assert cluster.names("RayJob") == ["reviews-g1-a1"]


def test_a_silent_watch_is_no_silent_part():
    cluster = at_work("Training")
    (body,) = cluster.active_parts_bodies()
    cluster.freeze("ConfigMap")
    for step in range(100):
        cluster.tick(10)
        cluster.report(body, "Running", stage=f"train {step}")
        cluster.settle()
    assert cluster.status["failures"] == []
    assert cluster.active_parts() == ["reviews-g1-a1"]


@pytest.mark.parametrize("kind", ["ConfigMap", "RayJob", "Pod"])
def test_a_job_reaches_its_end_with_any_watch_silent_for_good(kind):
    cluster = at_work("Training")
    for _ in range(60):
        cluster.freeze(kind)
        cluster.tick(30)
        cluster.settle()
        cluster.work()
        if cluster.status["phase"] == "Ready":
            break
        # The audit reads everything anew every few minutes.
        if cluster.monotonic % 300 < 30:
            cluster.thaw()
    assert cluster.status["phase"] == "Ready"
    assert cluster.status["attempt"] == 1


def test_a_workload_that_the_cache_lost_is_looked_for():
    cluster = at_work("Training")
    cluster.stale[TRAINING] = None
    cluster.settle()
    assert cluster.status["failures"] == []
    assert cluster.names("RayJob") == ["reviews-g1-a1"]


def test_the_deadline_is_not_held_against_what_is_published_already():
    cluster = at_work("Finishing", {**SPEC, "deadline": "10m"})
    cluster.freeze("ConfigMap", "Job")
    cluster.work()
    cluster.tick(601)
    cluster.settle()
    assert cluster.status["failures"] == []
    assert [version["version"] for version in cluster.status["versions"]] == [1]


def test_a_version_is_not_refused_on_an_old_view_of_its_service():
    cluster = deploying()
    cluster.settle()
    cluster.freeze("RayService", "Job")
    cluster.unready_versions.clear()
    cluster.work()
    cluster.tick(901)
    cluster.settle()
    assert "refused" not in cluster.status["versions"][-1]


def test_a_service_that_kuberay_has_not_given_up_stays():
    cluster = ModelCluster()
    cluster.go(until="Ready")
    (name,) = cluster.names("RayService")
    service = cluster.objects["RayService", name]
    service["status"]["conditions"] = [
        {"type": "Ready", "status": "False", "reason": "InitializingTimeout"},
    ]
    cluster.freeze("RayService")
    cluster.work()
    cluster.settle()
    assert "deletionTimestamp" not in cluster.objects["RayService", name]["metadata"]


def test_pods_that_have_started_are_not_taken_for_such_that_cannot():
    cluster = ModelCluster()
    cluster.go(until="Training")
    cluster.work()
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    cluster.pods[-1]["status"]["containerStatuses"][0]["state"] = waiting
    cluster.settle()
    assert cluster.status["reason"] == "ImagePull"
    cluster.freeze("Pod", "RayJob")
    cluster.work()
    cluster.settings = type(cluster.settings)(image="anneal/runtime:2")
    cluster.settle()
    assert cluster.active_parts() == ["reviews-g1-a1"]


def test_what_is_missing_even_live_is_lost():
    cluster = at_work("Training")
    (pod,) = cluster.pods_of(cluster.objects[TRAINING])
    del cluster.objects[TRAINING]
    cluster.pods.remove(pod)
    assert plan(cluster.observed()).confirm == (REPORT, TRAINING)
    cluster.settle()
    assert [failure["reason"] for failure in cluster.status["failures"]] == ["Internal"]
