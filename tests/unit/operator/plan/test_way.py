"""The way of a job where nothing goes wrong, and what its status says at every step."""

from __future__ import annotations

import pytest
from model_cluster import SPEC, ModelCluster

from anneal_api.status import ConditionType

TRAIN_ONLY = {name: value for name, value in SPEC.items() if name != "serving"}

WAY = [
    # phase, and which conditions are True when it begins
    ("Preparing", "Valid"),
    ("Training", "Valid Prepared"),
    ("Finishing", "Valid Prepared Trained"),
    ("Deploying", "Valid Prepared Trained GatePassed Published"),
    ("Ready", "Valid Prepared Trained GatePassed Published Available Ready"),
]


def _true(cluster: ModelCluster) -> list[str]:
    return [c["type"] for c in cluster.status["conditions"] if c["status"] == "True"]


def test_each_step_is_told():
    cluster = ModelCluster()
    for phase, conditions in WAY:
        cluster.go(until=phase)
        assert cluster.status["phase"] == phase
        going = ["Progressing"] if phase != "Ready" else []
        assert _true(cluster) == [*conditions.split(), *going]
    assert cluster.status["progress"]["percent"] == 100
    assert cluster.status["servedVersion"] == "v1"
    assert cluster.status["traffic"] == "v1 100%"
    assert cluster.status["url"] == "http://reviews.default.svc"
    assert cluster.status["score"] == "f1 0.9000"
    assert cluster.status["attempt"] == 1


def test_all_conditions_are_there_from_first_sight():
    cluster = ModelCluster()
    cluster.look()
    assert [c["type"] for c in cluster.status["conditions"]] == list(ConditionType)
    assert cluster.condition("Published") == ("Unknown", "Pending")
    assert cluster.condition("Prepared") == ("False", "Running")


def test_everything_is_made_once_and_in_order():
    cluster = ModelCluster()
    cluster.go(until="Ready")
    assert cluster.created == [
        ("ConfigMap", "reviews-g1"),
        ("ConfigMap", "reviews-g1-a1"),
        ("ServiceAccount", "reviews-reporter"),
        ("Role", "reviews-reporter"),
        ("RoleBinding", "reviews-reporter"),
        ("Job", "reviews-g1-a1-prepare"),
        ("RayJob", "reviews-g1-a1"),
        ("Job", "reviews-g1-a1-finish"),
        ("RayService", "reviews"),
        ("PodDisruptionBudget", "reviews"),
        ("Job", "reviews-v1-parity"),
    ]


def test_a_train_only_job_ends_succeeded():
    cluster = ModelCluster(TRAIN_ONLY)
    cluster.go(until="Succeeded")
    assert cluster.status["phase"] == "Succeeded"
    assert cluster.condition("Succeeded") == ("True", "Completed")
    assert cluster.condition("Ready") == ("False", "NotRequested")
    assert cluster.status["versions"][0]["state"] == "Candidate"
    assert "url" not in cluster.status or not cluster.status["url"]
    assert not cluster.names("RayService", "PodDisruptionBudget")


def test_each_transition_is_announced_once():
    cluster = ModelCluster()
    cluster.go(until="Ready")
    told = [announcement for plan in cluster.plans for announcement in plan.events]
    assert [(a.reason, a.message) for a in told] == [
        ("Running", "Preparing begins: generation 1, attempt 1."),
        ("Running", "Training begins: generation 1, attempt 1."),
        ("Running", "Finishing begins: generation 1, attempt 1."),
        ("Completed", "Published v1 with f1 0.9000."),
        ("Serving", "v1 serves all requests."),
    ]
    assert not any(announcement.warning for announcement in told)


def test_training_is_followed_while_it_runs():
    cluster = ModelCluster()
    cluster.go(until="Training")
    cluster.work()
    cluster.work()
    (body,) = cluster.active_parts_bodies()
    progress = {
        "step": 50,
        "totalSteps": 100,
        "epoch": 1.5,
        "loss": 0.25,
        "tokensPerSecond": 1000.0,
        "etaSeconds": 61.7,
    }
    stages = [{"name": "train", "key": "k", "reused": False, "seconds": 1.5}]
    cluster.report(body, "Running", stage="train", stages=stages, progress=progress, resumedFrom=20)
    cluster.settle()
    assert cluster.status["progress"] == {
        "percent": 45,
        "stage": "train",
        "step": 50,
        "totalSteps": 100,
        "loss": 0.25,
        "tokensPerSecond": 1000.0,
        "etaSeconds": 62,
    }
    assert cluster.status["resumedFrom"] == 20
    assert cluster.status["stages"] == [{"name": "train", "reused": False, "seconds": 1.5}]


def test_rows_that_preflight_left_out_are_told_until_other_rows_are_read():
    cluster = ModelCluster()
    cluster.go(until="Preparing")
    cluster.work()
    (body,) = cluster.active_parts_bodies()
    where = "train.csv, row 3, column text"
    left_out = {"split": "train", "reason": "empty text", "rows": 2, "of": 100, "where": where}
    stages = [{"name": "preflight", "key": "k", "reused": False, "seconds": 1.5}]
    cluster.report(body, "Running", stage="prepare", stages=stages, dropped=[left_out] * 30)
    cluster.settle()
    told = {"split": "train", "reason": "empty text", "rows": 2, "where": where}
    assert cluster.status["droppedRows"] == [told] * 20
    cluster.go(until="Training")
    assert cluster.status["droppedRows"][0] == told


def test_a_loss_that_is_no_number_breaks_no_status():
    cluster = ModelCluster()
    cluster.go(until="Training")
    cluster.work()
    cluster.work()
    (body,) = cluster.active_parts_bodies()
    progress = {"step": 1, "totalSteps": 0, "epoch": 0.0, "loss": None}
    cluster.report(body, "Running", stage="train", progress=progress)
    cluster.settle()
    assert "loss" not in cluster.status["progress"]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("RayJob", {"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED"}),
        ("RayJob", {"jobDeploymentStatus": "Complete", "jobStatus": "FAILED"}),
        ("RayJob", {"jobDeploymentStatus": "Failed", "jobStatus": "SUCCEEDED"}),
    ],
)
def test_a_reported_success_is_one_however_kuberay_judges_the_rayjob(kind, status):
    cluster = ModelCluster()
    cluster.go(until="Training")
    cluster.work()
    cluster.work()
    (body,) = cluster.active_parts_bodies()
    assert body["kind"] == kind
    cluster.report(body, "Succeeded")
    cluster.settle()
    assert cluster.status["phase"] == "Training"
    body["status"] |= status
    cluster.settle()
    assert cluster.status["phase"] == "Finishing"
    assert cluster.status["failures"] == []
    assert cluster.status["attempt"] == 1


def test_success_of_the_object_alone_waits_for_the_report_then_is_a_failure():
    cluster = ModelCluster()
    cluster.go(until="Training")
    cluster.work()
    cluster.work()
    (body,) = cluster.active_parts_bodies()
    cluster.end(body, good=True)
    found = cluster.settle()
    assert cluster.status["failures"] == []
    assert found.requeue_after == pytest.approx(10)
    cluster.tick(11)
    cluster.settle()
    assert cluster.status["failures"][0]["reason"] == "Internal"


@pytest.mark.parametrize(
    "other",
    [{"jobUid": "another"}, {"generation": 2}, {"attempt": 2}, {"part": "finish"}, {"state": "Odd"}],
    ids=["uid", "generation", "attempt", "part", "unreadable"],
)
def test_a_report_of_somebody_else_does_not_count(other):
    cluster = ModelCluster()
    cluster.go(until="Training")
    cluster.work()
    cluster.work()
    (body,) = cluster.active_parts_bodies()
    cluster.report(body, "Succeeded", **other)
    cluster.end(body, good=True)
    cluster.settle()
    assert cluster.status["phase"] == "Training"


def test_the_hours_of_training_are_counted():
    cluster = ModelCluster({**SPEC, "resources": {"workers": 2, "gpusPerWorker": 4}})
    cluster.go(until="Training")
    cluster.work()
    cluster.work()
    (body,) = cluster.active_parts_bodies()
    cluster.tick(200)
    cluster.report(body, "Succeeded")
    cluster.end(body, good=True)
    cluster.settle()
    assert cluster.status["workerSeconds"] == pytest.approx(400)
    assert cluster.status["gpuHours"] == pytest.approx(1600 / 3600)
