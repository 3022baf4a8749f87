"""What an edited manifest does, at every phase: train anew, change in place, or nothing."""

from __future__ import annotations

import copy

import pytest
from model_cluster import SPEC, ModelCluster, at_work
from model_results import failure, published

from anneal_operator.settings import Settings

TRAINING = {"epochs": 5, "batchSize": 32}
IN_BUCKET = {**SPEC, "store": {"uri": "s3://models/anneal", "secretRef": {"name": "of-old"}}}
RENEWED = {"uri": "s3://models/anneal", "secretRef": {"name": "renewed"}}


def ready() -> ModelCluster:
    cluster = ModelCluster()
    cluster.go(until="Ready")
    cluster.created.clear()
    cluster.plans.clear()
    return cluster


def states(cluster: ModelCluster) -> dict[int, str]:
    return {version["version"]: version["state"] for version in cluster.status["versions"]}


def test_an_edit_of_training_makes_a_version_while_the_old_one_serves():
    cluster = ready()
    served = copy.deepcopy(cluster.objects["RayService", "reviews"]["spec"])
    cluster.edit(training=TRAINING)
    cluster.go(until="Training")
    assert cluster.status["observedGeneration"] == 2
    assert cluster.condition("Ready") == ("False", "OldVersionServes")
    assert cluster.condition("Trained") == ("False", "Running")
    assert cluster.condition("Published") == ("Unknown", "Pending")
    assert cluster.status["traffic"] == "v1 100%"
    assert cluster.status["url"]
    assert cluster.objects["RayService", "reviews"]["spec"] == served
    cluster.go(until="Ready")
    assert states(cluster) == {1: "Previous", 2: "Serving"}
    assert cluster.status["servedVersion"] == "v2"
    assert cluster.status["traffic"] == "v2 100%"
    assert cluster.objects["RayService", "reviews"]["metadata"]["labels"]["anneal.dev/version"] == "2"
    assert [name for kind, name in cluster.created if kind == "RayJob"] == ["reviews-g2-a1"]


@pytest.mark.parametrize(
    "change",
    [
        {"serving": {"replicas": {"min": 2, "max": 2}}},
        {"serving": {"cpu": 2}},
        {"retention": {"versions": 5}},
        {"deadline": "2h"},
        {"resources": {"workers": 7}},
        {"suspend": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_edit_of_anything_else_trains_nothing(change):
    cluster = ready()
    served = copy.deepcopy(cluster.objects["RayService", "reviews"])
    cluster.edit(**change)
    cluster.go(until="Ready")
    assert cluster.condition("Ready") == ("True", "Serving")
    assert cluster.created == []
    assert states(cluster) == {1: "Serving"}
    in_place = cluster.objects["RayService", "reviews"]
    assert in_place["metadata"]["uid"] == served["metadata"]["uid"]
    assert (in_place["spec"] != served["spec"]) == ("serving" in change)


def test_an_edit_of_metadata_writes_nothing():
    cluster = ready()
    cluster.job["metadata"]["labels"] = {"team": "a"}
    cluster.job["metadata"]["annotations"] = {"note": "x"}
    writes = cluster.writes
    cluster.look()
    assert cluster.writes == writes


def test_an_edit_of_serving_leaves_a_running_attempt_alone():
    cluster = at_work("Training")
    cluster.edit(serving={"replicas": {"min": 2, "max": 2}})
    cluster.go(until="Ready")
    assert cluster.status["attempt"] == 1
    assert cluster.names("RayJob") == ["reviews-g1-a1"]
    assert cluster.status["run"]["forGeneration"] == 2


def test_another_secret_of_the_store_restarts_the_service_and_trains_nothing():
    cluster = ModelCluster(IN_BUCKET)
    cluster.go(until="Ready")
    cluster.created.clear()
    cluster.edit(store=RENEWED)
    cluster.go(until="Ready")
    assert cluster.created == []
    assert states(cluster) == {1: "Serving"}
    pods = str(cluster.objects["RayService", "reviews"]["spec"]["rayClusterConfig"])
    assert "renewed" in pods
    assert "of-old" not in pods


def test_an_attempt_begins_anew_with_another_secret_of_the_store():
    cluster = at_work("Training", IN_BUCKET)
    cluster.edit(store=RENEWED)
    cluster.go(until="Ready")
    assert ("RayJob", "reviews-g2-a1") in cluster.created
    assert states(cluster) == {1: "Serving"}
    assert "renewed" in str(cluster.objects["RayJob", "reviews-g2-a1"])


def test_a_failure_after_such_an_edit_is_final_for_the_edited_generation():
    cluster = at_work("Training")
    cluster.edit(serving={"replicas": {"min": 2, "max": 2}})
    cluster.settle()
    cluster.fail("DataInvalid")
    cluster.go(10)
    assert (cluster.status["phase"], cluster.status["observedGeneration"]) == ("Failed", 2)
    assert cluster.names("RayJob") == ["reviews-g1-a1"]


@pytest.mark.parametrize(
    "change", [{"training": TRAINING}, {"resources": {"workers": 3}}, {"model": {"source": "gpt2"}}]
)
def test_an_edit_of_the_work_stops_the_attempt_first(change):
    cluster = at_work("Training")
    cluster.edit(**change)
    cluster.look()
    assert cluster.active_parts() == ["reviews-g1-a1"]
    assert "deletionTimestamp" in cluster.objects["RayJob", "reviews-g1-a1"]["metadata"]
    cluster.settle()
    assert cluster.status["phase"] == "Pending"
    assert "attempt before" in cluster.status["message"]
    cluster.work()
    found = cluster.settle()
    # The object is gone, its pod still has its grace.
    assert not cluster.active_parts()
    assert found.requeue_after == pytest.approx(5)
    cluster.work()
    cluster.settle()
    assert cluster.active_parts() == ["reviews-g2-a1-prepare"]
    assert cluster.status["failures"] == []


def test_a_pod_on_a_lost_node_holds_up_nothing_after_its_grace():
    cluster = at_work("Training")
    cluster.edit(training=TRAINING)
    cluster.settle()
    (pod,) = [p for p in cluster.pods if p["metadata"]["labels"]["anneal.dev/part"] == "train"]
    cluster.work()
    cluster.settle()
    assert pod in cluster.pods
    assert not cluster.active_parts()
    cluster.tick(31)
    cluster.settle()
    assert cluster.active_parts() == ["reviews-g2-a1-prepare"]


def test_pods_that_nobody_has_told_to_go_yet_are_waited_for():
    cluster = at_work("Training")
    cluster.edit(training=TRAINING)
    cluster.settle()
    (pod,) = [p for p in cluster.pods if p["metadata"]["labels"]["anneal.dev/part"] == "train"]
    cluster.work()
    # The RayJob is gone; the garbage collector has not got to the pods of its cluster.
    del pod["metadata"]["deletionTimestamp"]
    cluster.settle()
    assert not cluster.active_parts()
    cluster.pods.remove(pod)
    cluster.settle()
    assert cluster.active_parts() == ["reviews-g2-a1-prepare"]


def test_an_object_that_does_not_go_is_told():
    cluster = at_work("Training")
    cluster.edit(training=TRAINING)
    cluster.settle()
    assert "reason" not in cluster.status
    cluster.tick(120)
    cluster.settle()
    assert cluster.status["reason"] == "KubeRayMissing"
    assert "RayJob reviews-g1-a1" in cluster.status["message"]
    assert "finalizer" in cluster.status["hint"]


def test_two_quick_edits_do_no_work_for_the_middle_one():
    cluster = at_work("Training")
    cluster.edit(training={"epochs": 4})
    cluster.look()
    cluster.edit(training={"epochs": 5})
    cluster.go(until="Ready")
    assert not [name for _, name in cluster.created if "-g2" in name]
    assert cluster.condition("Ready") == ("True", "Serving")


def test_an_edit_and_back_again_serves_what_there_is():
    cluster = ready()
    cluster.edit(training=TRAINING)
    cluster.go(until="Training")
    cluster.edit(training=SPEC["training"])
    cluster.go(until="Ready")
    assert states(cluster) == {1: "Serving"}
    assert cluster.condition("Ready") == ("True", "Serving")
    cluster.work()
    assert not cluster.active_parts()


def test_a_written_out_default_is_no_edit_of_the_work():
    cluster = ready()
    cluster.edit(training={**SPEC["training"], "weightDecay": 0.01, "seed": 42})
    from anneal_api.spec.training import Training

    assert Training().seed == 42
    assert Training().weight_decay == 0.01
    cluster.go(until="Ready")
    assert cluster.created == []


class TestSuspend:
    def test_it_stops_training_which_goes_on_later(self):
        cluster = at_work("Training")
        cluster.edit(suspend=True)
        cluster.settle()
        assert (cluster.status["phase"], cluster.status["reason"]) == ("Suspended", "Suspended")
        assert cluster.condition("Progressing") == ("False", "Suspended")
        assert cluster.condition("Prepared") == ("True", "Completed")
        cluster.work()
        cluster.settle()
        cluster.tick(100_000)
        cluster.settle()
        assert not cluster.active_parts()
        cluster.edit(suspend=False)
        cluster.settle()
        assert cluster.active_parts() == ["reviews-g3-a1"]
        assert cluster.status["failures"] == []
        cluster.go(until="Ready")
        assert cluster.status["phase"] == "Ready"

    def test_from_birth(self):
        cluster = ModelCluster({**SPEC, "suspend": True})
        cluster.go(5)
        assert cluster.created == []
        assert cluster.status["phase"] == "Suspended"

    def test_what_serves_goes_on(self):
        cluster = ready()
        cluster.edit(training=TRAINING, suspend=True)
        cluster.go(5)
        assert cluster.status["phase"] == "Suspended"
        assert cluster.condition("Ready") == ("False", "OldVersionServes")
        assert cluster.status["traffic"] == "v1 100%"
        assert cluster.names("RayService") == ["reviews"]

    def test_time_that_a_job_was_suspended_does_not_count(self):
        cluster = at_work("Training", {**SPEC, "deadline": "10m"})
        cluster.edit(suspend=True)
        cluster.go(3)
        cluster.tick(10_000)
        cluster.edit(suspend=False)
        cluster.go(until="Ready")
        assert cluster.status["phase"] == "Ready"


class TestInvalid:
    def test_nothing_is_made_and_all_problems_are_told(self):
        cluster = ModelCluster({**SPEC, "serving": {"maxBatchTokens": 16}, "store": {"uri": "/tmp/x"}})
        cluster.settle()
        assert cluster.created == []
        assert (cluster.status["phase"], cluster.status["reason"]) == ("Failed", "ManifestInvalid")
        assert cluster.condition("Valid") == ("False", "ManifestInvalid")
        assert cluster.condition("Prepared") == ("Unknown", "Pending")
        for words in ("spec.store.uri", "spec.serving.maxBatchTokens", "PersistentVolumeClaim"):
            assert words in cluster.status["message"]
        (told,) = [a for plan in cluster.plans for a in plan.events]
        assert told.warning

    @pytest.mark.parametrize(
        "settings",
        [
            Settings(image="anneal/runtime:1", store="pvc://models/all"),
            Settings(image="anneal/runtime:1", store="s3://models/all", store_secret="s3"),
        ],
        ids=["claim", "bucket"],
    )
    def test_a_job_without_any_store(self, settings):
        cluster = ModelCluster({name: value for name, value in SPEC.items() if name != "store"})
        cluster.settle()
        for words in ("spec.store.uri", "pvc://CLAIM/PATH", "s3://BUCKET/PREFIX"):
            assert words in cluster.status["message"]
        cluster.settings = settings
        cluster.go(until="Ready")
        assert cluster.status["phase"] == "Ready"

    @pytest.mark.parametrize("store", ["pvc://models/../all", "s3://models/../all", "s3://"])
    def test_a_store_of_the_operators_that_is_no_place(self, store):
        settings = Settings(image="anneal/runtime:1", store=store)
        cluster = ModelCluster({name: value for name, value in SPEC.items() if name != "store"}, settings)
        cluster.settle()
        assert cluster.created == []
        assert (cluster.status["phase"], cluster.status["reason"]) == ("Failed", "ManifestInvalid")
        assert f"`{store}` is no place" in cluster.status["message"]

    def test_what_runs_and_serves_is_left_alone_until_it_is_mended(self):
        cluster = ready()
        cluster.edit(training=TRAINING)
        cluster.go(until="Training")
        cluster.edit(serving={"maxBatchTokens": 16})
        cluster.settle()
        assert cluster.status["phase"] == "Failed"
        assert cluster.condition("Valid") == ("False", "ManifestInvalid")
        assert cluster.condition("Ready") == ("False", "ManifestInvalid")
        assert "v1 goes on serving" in str(cluster.status["conditions"])
        assert cluster.status["traffic"] == "v1 100%"
        assert cluster.active_parts() == ["reviews-g2-a1"]
        cluster.edit(serving=SPEC["serving"])
        cluster.go(until="Ready")
        assert cluster.condition("Valid") == ("True", "Accepted")
        assert [name for kind, name in cluster.created if kind == "RayJob"] == ["reviews-g2-a1"]

    @pytest.mark.parametrize("spec", [None, "text", [], {}, {"task": "x"}])
    def test_a_spec_that_is_none(self, spec):
        cluster = ModelCluster()
        cluster.job["spec"] = spec
        cluster.settle()
        assert cluster.status["reason"] == "ManifestInvalid"


class TestGate:
    def test_the_old_version_goes_on_serving_and_nothing_is_tried_again(self):
        cluster = ready()
        cluster.edit(training=TRAINING)
        cluster.go(until="Finishing")
        cluster.work()
        cluster.work()
        (body,) = cluster.active_parts_bodies()
        result = published(None, score=0.7)
        cluster.report(body, "Failed", failure=failure("GateNotPassed"), published=result)
        cluster.end(body, good=False)
        cluster.go(10)
        assert (cluster.status["phase"], cluster.status["reason"]) == ("Failed", "GateNotPassed")
        assert cluster.condition("Ready") == ("False", "GateNotPassed")
        assert cluster.status["traffic"] == "v1 100%"
        assert states(cluster) == {1: "Serving"}
        assert cluster.status["attempt"] == 1
        assert cluster.names("RayService") == ["reviews"]

    def test_an_edit_of_a_failed_job_tries_again_from_the_beginning(self):
        cluster = at_work("Training")
        cluster.fail("DataInvalid")
        cluster.settle()
        assert cluster.status["phase"] == "Failed"
        cluster.edit(serving={"replicas": {"min": 2, "max": 2}})
        cluster.settle()
        assert cluster.active_parts() == ["reviews-g2-a1-prepare"]
        cluster.go(until="Ready")
        assert cluster.status["phase"] == "Ready"
