"""What only holds a job up: it is told within a minute, ends by itself, and loses no attempt."""

from __future__ import annotations

from typing import Any

import pytest
from model_cluster import SPEC, ModelCluster, at_work

from anneal_operator.settings import Settings


def held_up(**status: Any) -> ModelCluster:
    cluster = ModelCluster()
    cluster.settle()
    (body,) = cluster.active_parts_bodies()
    cluster.start(body)["status"] |= status
    cluster.settle()
    return cluster


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (
            {
                "containerStatuses": [
                    {"name": "main", "image": "x", "state": {"waiting": {"reason": "ErrImagePull"}}}
                ]
            },
            "ImagePull",
        ),
        (
            {
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "no",
                    }
                ]
            },
            "Unschedulable",
        ),
    ],
)
def test_it_is_told_and_ends_by_itself(status, reason):
    cluster = held_up(**status)
    assert cluster.status["phase"] == "Preparing"
    assert cluster.status["reason"] == reason
    assert cluster.status["hint"]
    assert cluster.condition("Prepared") == ("False", reason)
    assert cluster.condition("Progressing") == ("True", reason)
    told = [a for plan in cluster.plans for a in plan.events if a.warning]
    assert [a.reason for a in told] == [reason]
    cluster.tick(3_000)
    cluster.settle()
    assert cluster.status["failures"] == []
    (body,) = cluster.active_parts_bodies()
    cluster.run(body)
    cluster.settle()
    assert "reason" not in cluster.status
    cluster.go(until="Ready")
    assert cluster.status["attempt"] == 1


def test_an_image_that_the_operator_has_since_replaced_is_replaced():
    pulls = {"waiting": {"reason": "ImagePullBackOff"}}
    cluster = held_up(containerStatuses=[{"name": "main", "image": "x", "state": pulls}])
    cluster.settings = Settings(image="anneal/runtime:2")
    cluster.settle()
    cluster.work()
    cluster.settle()
    body = cluster.objects["Job", "reviews-g1-a1-prepare"]
    assert body["spec"]["template"]["spec"]["containers"][0]["image"] == "anneal/runtime:2"
    cluster.go(until="Ready")
    assert cluster.status["attempt"] == 1


def test_a_running_attempt_keeps_its_image():
    cluster = at_work("Training")
    cluster.settings = Settings(image="anneal/runtime:2")
    cluster.go(until="Ready")
    assert cluster.status["attempt"] == 1
    assert cluster.status["versions"][0]["image"] == "anneal/runtime:1"


def test_quota():
    cluster = ModelCluster()
    cluster.settle()
    subject = {"kind": "Job", "name": "reviews-g1-a1-prepare"}
    what = "pods is forbidden: exceeded quota: small"
    cluster.warnings.append({"reason": "FailedCreate", "message": what, "involvedObject": subject})
    cluster.settle()
    assert cluster.status["reason"] == "QuotaExceeded"
    cluster.work()
    cluster.tick(1)
    cluster.warnings[0]["lastTimestamp"] = "2026-01-01T11:00:00Z"
    cluster.settle()
    assert "reason" not in cluster.status


def test_kueue_holds_it():
    cluster = ModelCluster({**SPEC, "resources": {"workers": 2, "queue": "team-a"}})
    cluster.go(until="Training")
    body = cluster.objects["RayJob", "reviews-g1-a1"]
    assert "suspend" not in body["spec"]
    body["spec"]["suspend"] = True
    body["status"] = {"jobDeploymentStatus": "Suspended"}
    cluster.tick(3_000)
    cluster.settle()
    assert (cluster.status["phase"], cluster.status["reason"]) == ("Queued", "Queued")
    assert cluster.condition("Trained") == ("False", "Queued")
    assert cluster.status["message"] == "Waits until the queue team-a admits it."
    assert "describe workloads" in cluster.status["hint"]
    assert body["spec"]["suspend"] is True
    body["spec"]["suspend"] = False
    del body["status"]
    cluster.go(until="Ready")
    assert cluster.status["attempt"] == 1


def test_held_after_its_work_was_done_it_goes_on():
    cluster = at_work("Training", {**SPEC, "resources": {"workers": 2, "queue": "team-a"}})
    (body,) = cluster.active_parts_bodies()
    cluster.report(body, "Succeeded")
    body["spec"]["suspend"] = True
    body["status"] = {"jobDeploymentStatus": "Suspending"}
    cluster.go(until="Ready")
    assert cluster.status["phase"] == "Ready"
    assert cluster.status["attempt"] == 1


def test_a_submitter_that_cannot_start_is_told_and_costs_no_attempt():
    cluster = ModelCluster()
    cluster.go(until="Training")
    body = cluster.objects["RayJob", "reviews-g1-a1"]
    cluster.start(body)
    cluster.run(body)
    cluster.objects["ConfigMap", "reviews-g1-a1"]["data"].pop("train.json")
    started = body["status"]["startTime"]
    body["status"] = {"jobDeploymentStatus": "Running", "startTime": started}  # no driver was seen
    what = 'pods "reviews-g1-a1-x" is forbidden: exceeded quota: small'
    subject = {"kind": "Job", "name": "reviews-g1-a1"}
    cluster.warnings.append({"reason": "FailedCreate", "message": what, "involvedObject": subject})
    cluster.tick(3_000)
    cluster.settle()
    assert cluster.status["reason"] == "QuotaExceeded"
    assert cluster.status["failures"] == []
    cluster.warnings.clear()
    cluster.go(until="Ready")
    assert cluster.status["attempt"] == 1


def test_somebody_holds_it():
    cluster = ModelCluster()
    cluster.go(until="Training")
    body = cluster.objects["RayJob", "reviews-g1-a1"]
    body["spec"]["suspend"] = True
    cluster.settle()
    assert cluster.status["message"] == "Somebody suspended its RayJob reviews-g1-a1."
    assert "kubectl patch rayjob reviews-g1-a1" in cluster.status["hint"]
    assert body["spec"]["suspend"] is True


def test_kuberay_is_missing():
    cluster = ModelCluster()
    cluster.kuberay = False
    found = cluster.settle()
    assert cluster.created == []
    assert (cluster.status["phase"], cluster.status["reason"]) == ("Pending", "KubeRayMissing")
    assert "Install" in cluster.status["hint"]
    assert found.requeue_after == pytest.approx(30)
    cluster.kuberay = True
    cluster.go(until="Ready")
    assert cluster.status["phase"] == "Ready"


def test_kuberay_goes_away_and_comes_back():
    cluster = at_work("Training")
    cluster.kuberay = False
    cluster.settle()
    assert cluster.status["reason"] == "KubeRayMissing"
    cluster.kuberay = True
    cluster.go(until="Ready")
    assert cluster.status["attempt"] == 1


def test_kuberay_does_not_look():
    cluster = ModelCluster()
    cluster.go(until="Training")
    assert "reason" not in cluster.status
    cluster.tick(60)
    cluster.settle()
    assert cluster.status["reason"] == "KubeRayMissing"
    assert "has not looked" in cluster.status["message"]
