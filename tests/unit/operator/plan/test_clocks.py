"""Clocks of other machines may be minutes off: none of what the plan judges by its age rests on them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from model_cluster import SPEC, ModelCluster

SKEWS = [(0, 0), (600, 0), (-600, 0), (0, 600), (0, -600), (600, -600), (-600, 600)]

pytestmark = pytest.mark.parametrize(("operator", "nodes"), SKEWS)


@pytest.fixture
def skewed(operator: int, nodes: int) -> Callable[..., ModelCluster]:
    """Makes clusters whose operator, and whose nodes, are so many seconds ahead of the API server."""

    def make(phase: str = "", **spec: object) -> ModelCluster:
        cluster = ModelCluster({**SPEC, **spec})
        cluster.operator_ahead, cluster.nodes_ahead = operator, nodes
        if phase:
            cluster.go(until=phase)
        return cluster

    return make


def running(cluster: ModelCluster) -> ModelCluster:
    cluster.work()
    cluster.work()
    cluster.settle()
    return cluster


def test_a_part_that_reports_lives(skewed):
    cluster = running(skewed("Training"))
    (body,) = cluster.active_parts_bodies()
    for step in range(200):
        cluster.tick(10)
        cluster.report(body, "Running", stage=f"train {step}")
        cluster.settle()
    assert cluster.status["failures"] == []


def test_a_part_that_has_just_begun_has_its_whole_time(skewed):
    cluster = running(skewed("Training"))
    for passed, failures in ((299, 0), (1, 1)):
        cluster.tick(passed)
        cluster.settle()
        assert len(cluster.status["failures"]) == failures


def test_a_newly_started_operator_waits_once_more(skewed):
    cluster = running(skewed("Training"))
    cluster.tick(299)
    cluster.restart_operator()
    for passed, failures in ((0, 0), (299, 0), (1, 1)):
        cluster.tick(passed)
        cluster.settle()
        assert len(cluster.status["failures"]) == failures


def test_a_last_report_has_its_time_to_arrive(skewed):
    cluster = running(skewed("Training"))
    (body,) = cluster.active_parts_bodies()
    cluster.end(body, good=True)
    cluster.settle()
    cluster.tick(9)
    cluster.settle()
    assert cluster.status["failures"] == []
    cluster.tick(1)
    cluster.settle()
    assert [failure["reason"] for failure in cluster.status["failures"]] == ["Internal"]


def test_kuberay_has_its_time_to_take_up_a_rayjob(skewed):
    cluster = skewed("Training")
    cluster.settle()
    for passed, reason in ((59, None), (1, "KubeRayMissing")):
        cluster.tick(passed)
        cluster.settle()
        assert cluster.status.get("reason") == reason


def test_pods_that_were_told_to_go_have_their_time(skewed):
    cluster = running(skewed("Preparing"))
    cluster.edit(training={"epochs": 9})
    cluster.settle()
    for passed, parts in ((29, []), (1, ["reviews-g2-a1-prepare"])):
        cluster.tick(passed)
        cluster.settle()
        assert cluster.active_parts() == parts


def test_what_hangs_in_its_deletion_is_told_after_two_minutes(skewed):
    cluster = running(skewed("Training"))
    cluster.edit(training={"epochs": 9})
    cluster.settle()
    for passed, reason in ((119, None), (1, "KubeRayMissing")):
        cluster.tick(passed)
        cluster.settle()
        assert cluster.status.get("reason") == reason


def test_a_version_has_its_time_to_answer(skewed):
    cluster = skewed("Ready")
    cluster.unready_versions.add(2)
    cluster.edit(training={"epochs": 4})
    cluster.go(until="Deploying")
    cluster.settle()
    for passed, refused in ((899, False), (1, True)):
        cluster.tick(passed)
        cluster.settle()
        assert ("refused" in cluster.status["versions"][-1]) == refused


def test_a_failed_clean_up_is_repeated_after_a_minute(skewed):
    cluster = skewed("Ready", retention={"onDelete": "Delete"})
    cluster.delete_job()
    cluster.end(cluster.go_until_made("Job", "reviews-cleanup"), good=False)
    cluster.settle()
    for passed, there in ((59, True), (1, False)):
        cluster.tick(passed)
        cluster.look()
        assert (("Job", "reviews-cleanup") in cluster.objects) == there


@pytest.mark.parametrize("phase", ["Preparing", "Training", "Finishing", "Deploying"])
def test_a_job_goes_its_way(skewed, phase):
    cluster = skewed(phase)
    assert cluster.go(until="Ready")["attempt"] == 1
    assert cluster.status["failures"] == []
