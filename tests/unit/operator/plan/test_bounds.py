"""Nothing that a job takes or leaves grows or waits without an end."""

from __future__ import annotations

import json

import pytest
from model_cluster import SPEC, ModelCluster, at_work

HOUR = 3600.0


def waiting() -> ModelCluster:
    cluster = ModelCluster()
    cluster.go(until="Training")
    cluster.work()
    cluster.settle()
    return cluster


class TestStart:
    def test_a_part_that_does_not_start_lets_go_of_what_it_holds(self):
        cluster = waiting()
        for passed, failures in ((HOUR - 1, 0), (1, 1)):
            cluster.tick(passed)
            cluster.settle()
            assert len(cluster.status["failures"]) == failures
        assert "did not start within 3600 s" in cluster.status["failures"][0]["message"]
        assert "deletionTimestamp" in cluster.objects["RayJob", "reviews-g1-a1"]["metadata"]

    def test_it_fails_for_the_reason_that_it_waited_for(self):
        cluster = waiting()
        cluster.pods[-1]["status"]["conditions"] = [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
        ]
        cluster.settle()
        cluster.tick(HOUR)
        cluster.settle()
        (failure,) = cluster.status["failures"]
        assert failure["reason"] == "Unschedulable"
        assert "0/3 nodes" in failure["message"]

    def test_a_wait_is_tried_again_whatever_it_waited_for(self):
        cluster = waiting()
        refused = "pods is forbidden: a webhook denied the request"
        cluster.warnings = [
            {
                "involvedObject": {"kind": "RayJob", "name": "reviews-g1-a1"},
                "reason": "FailedToCreatePod",
                "message": refused,
            }
        ]
        cluster.pods.clear()
        cluster.settle()
        assert cluster.status["reason"] == "Rejected"
        cluster.tick(HOUR)
        cluster.settle()
        assert cluster.status["failures"][0]["reason"] == "Rejected"
        assert cluster.status["run"]["retryAt"]

    def test_the_time_in_a_queue_does_not_count(self):
        cluster = ModelCluster()
        cluster.go(until="Training")
        body = cluster.objects["RayJob", "reviews-g1-a1"]
        body["spec"]["suspend"] = True
        for _ in range(48):
            cluster.tick(HOUR)
            cluster.settle()
        assert cluster.status["phase"] == "Queued"
        body["spec"]["suspend"] = False
        cluster.settle()
        for passed, failures in ((HOUR - 1, 0), (1, 1)):
            cluster.tick(passed)
            cluster.settle()
            assert len(cluster.status["failures"]) == failures

    def test_a_job_whose_parts_never_start_fails_in_the_end(self):
        cluster = waiting()
        for _ in range(40):
            cluster.settle()
            for place, body in list(cluster.objects.items()):
                if "deletionTimestamp" in body["metadata"]:
                    del cluster.objects[place]
                    cluster.pods.clear()
            cluster.settle()
            cluster.tick(HOUR)
        assert cluster.status["phase"] == "Failed"
        assert cluster.status["attempt"] == 4


class TestRestarts:
    @pytest.mark.parametrize(
        ("ended", "reason"),
        [
            ({"reason": "OOMKilled", "exitCode": 137}, "OutOfMemory"),
            ({"reason": "Error", "exitCode": 1}, "Internal"),
            ({"reason": "Error", "exitCode": 4}, "DataInvalid"),
        ],
        ids=["memory", "error", "ours"],
    )
    @pytest.mark.parametrize("phase", ["Pending", "Running"])
    def test_a_container_that_ends_again_and_again_is_a_failed_attempt(self, ended, reason, phase):
        cluster = waiting() if phase == "Pending" else at_work("Training")
        container = cluster.pods[-1]["status"]["containerStatuses"][0]
        container["lastState"] = {"terminated": ended}
        container["restartCount"] = 4
        container["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
        cluster.settle()
        assert cluster.status["failures"] == []
        container["restartCount"] = 5
        cluster.settle()
        (failure,) = cluster.status["failures"]
        assert failure["reason"] == reason

    @pytest.mark.parametrize("name", ["ray-worker", "istio-proxy"])
    def test_one_that_runs_or_is_not_ours_costs_no_attempt(self, name):
        cluster = at_work("Training")
        container = cluster.pods[-1]["status"]["containerStatuses"][0]
        container |= {"name": name, "restartCount": 9, "lastState": {"terminated": {"exitCode": 0}}}
        if name == "istio-proxy":
            container["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
        cluster.settle()
        assert cluster.status["failures"] == []


class TestLeft:
    def test_edits_that_never_come_to_an_end_leave_the_last_three(self):
        cluster = ModelCluster()
        for epochs in range(1, 41):
            cluster.edit(training={"epochs": epochs, "batchSize": 32})
            cluster.go(until="Preparing")
            cluster.work()
            cluster.work()
            cluster.settle()
        generations = {
            body["metadata"]["labels"].get("anneal.dev/generation") for body in cluster.objects.values()
        }
        assert len(generations - {None}) <= 3
        assert len(cluster.objects) < 24
        assert cluster.go(until="Ready")["phase"] == "Ready"

    def test_the_records_of_what_serves_stay(self):
        cluster = ModelCluster()
        cluster.go(until="Ready")
        for epochs in range(10, 20):
            cluster.edit(training={"epochs": epochs})
            cluster.go(until="Preparing")
            cluster.work()
            cluster.settle()
        assert ("ConfigMap", "reviews-g1") in cluster.objects
        assert cluster.status["servedVersion"] == "v1"

    def test_a_week_after_its_end_only_records_and_the_service_are_left(self):
        cluster = ModelCluster()
        cluster.go(until="Ready")
        cluster.tick(7 * 24 * HOUR - 60)
        cluster.settle()
        assert cluster.names("RayJob")
        cluster.tick(60)
        cluster.go(3)
        assert {kind for kind, _ in cluster.objects} == {"ConfigMap", "RayService", "PodDisruptionBudget"}
        assert cluster.status["phase"] == "Ready"


class TestProgress:
    def test_it_is_written_when_the_percent_moves_or_a_minute_has_passed(self):
        cluster = at_work("Training", {**SPEC, "training": {"epochs": 3}})
        (body,) = cluster.active_parts_bodies()
        writes = cluster.writes
        for step in range(240):
            cluster.tick(5)
            progress = {"step": step, "totalSteps": 100_000, "loss": 1.0 / (step + 1), "tokensPerSecond": 1.0}
            cluster.report(
                body, "Running", stage="train", progress={**progress, "epoch": 0.1, "etaSeconds": 9}
            )
            cluster.settle()
        assert cluster.writes - writes <= 21, "once a minute"
        shown = cluster.status["progress"]["step"]
        assert 239 - 12 <= shown <= 239
        told = json.loads(cluster.objects["ConfigMap", "reviews-g1-a1"]["data"]["train.json"])
        assert told["progress"]["step"] == 239
        for step in (20_000, 40_000):
            progress = {"step": step, "totalSteps": 100_000, "loss": 0.1, "tokensPerSecond": 1.0}
            cluster.report(
                body, "Running", stage="train", progress={**progress, "epoch": 1.0, "etaSeconds": 9}
            )
            cluster.settle()
            assert cluster.status["progress"]["step"] == step
