"""Serving: a version counts once it answers as it was measured; until then, and if it does not, the old one serves."""

from __future__ import annotations

import copy

import pytest
from model_cluster import SPEC, ModelCluster

from anneal_operator.resources.names import base_name
from anneal_operator.settings import Settings

TRAINING = {"epochs": 5, "batchSize": 32}


def ready() -> ModelCluster:
    cluster = ModelCluster()
    cluster.go(until="Ready")
    return cluster


def served(cluster: ModelCluster) -> str:
    return cluster.objects["RayService", "reviews"]["metadata"]["labels"]["anneal.dev/version"]


def states(cluster: ModelCluster) -> dict[int, str]:
    return {version["version"]: version["state"] for version in cluster.status["versions"]}


@pytest.mark.parametrize(
    "status",
    [
        {"numServeEndpoints": 0, "conditions": [{"type": "Ready", "status": "True"}]},
        {"numServeEndpoints": 1, "conditions": [{"type": "Ready", "status": "False"}]},
        {
            "numServeEndpoints": 1,
            "observedGeneration": 0,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
        {
            "numServeEndpoints": 1,
            "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "UpgradeInProgress", "status": "True"},
            ],
        },
        {},
    ],
    ids=["no endpoint", "not ready", "not observed", "upgrading", "nothing yet"],
)
def test_the_probe_waits_for_the_service(status):
    cluster = ModelCluster()
    cluster.go(until="Deploying")
    cluster.objects["RayService", "reviews"]["status"] = status
    cluster.settle()
    assert "reviews-v1-parity" not in cluster.names("Job")
    cluster.work()
    cluster.settle()
    assert "reviews-v1-parity" in cluster.names("Job")
    assert cluster.condition("Ready") == ("False", "Deploying")


def test_a_version_that_answers_otherwise_is_refused_and_the_old_one_serves_again():
    cluster = ready()
    cluster.bad_versions.add(2)
    cluster.edit(training=TRAINING)
    cluster.go(until="Failed")
    cluster.go(5)
    assert (cluster.status["phase"], cluster.status["reason"]) == ("Failed", "ParityFailed")
    assert cluster.condition("Ready") == ("False", "ParityFailed")
    assert cluster.condition("Published") == ("True", "Completed")
    assert served(cluster) == "1"
    assert states(cluster) == {1: "Serving", 2: "Candidate"}
    assert cluster.status["traffic"] == "v1 100%"
    assert cluster.condition("Failed") == ("True", "ParityFailed")
    created = len(cluster.created)
    cluster.go(5)
    assert len(cluster.created) == created


@pytest.mark.parametrize("versions", [1, 3])
def test_an_older_version_that_serves_no_longer_is_still_what_was_asked_for(versions):
    cluster = ModelCluster({**SPEC, "retention": {"versions": versions}})
    cluster.go(until="Ready")
    cluster.bad_versions.add(2)
    cluster.edit(training=TRAINING)
    cluster.go(until="Failed")
    cluster.edit(training=SPEC["training"])
    cluster.go(until="Ready")
    assert served(cluster) == "1"
    created = len(cluster.created)
    cluster.edit(serving=None)
    cluster.go(10)
    assert cluster.status["phase"] == "Succeeded"
    assert "v1" in cluster.status["message"]
    assert states(cluster)[1] == "Previous"
    assert cluster.names("RayService") == []
    assert len(cluster.created) == created


def test_an_edit_of_serving_gives_a_refused_version_another_chance():
    cluster = ready()
    cluster.bad_versions.add(2)
    cluster.edit(training=TRAINING)
    cluster.go(until="Failed")
    cluster.go(5)
    cluster.bad_versions.clear()
    cluster.edit(serving={"replicas": {"min": 2, "max": 2}})
    cluster.go(until="Ready")
    assert states(cluster) == {1: "Previous", 2: "Serving"}
    assert "refused" not in cluster.status["versions"][-1]
    assert cluster.names("RayJob") == ["reviews-g2-a1"]


def test_a_first_version_that_is_refused_is_not_ready():
    cluster = ModelCluster()
    cluster.bad_versions.add(1)
    cluster.go(until="Failed")
    cluster.go(5)
    assert cluster.status["reason"] == "ParityFailed"
    assert cluster.status["url"] == ""
    assert cluster.status["traffic"] == "v1 100% (refused)", "nothing else is there to answer"


def test_a_version_that_never_gets_ready_is_refused_where_another_one_can_serve():
    cluster = ready()
    cluster.unready_versions.add(2)
    cluster.edit(training=TRAINING)
    cluster.go(until="Deploying")
    cluster.work()
    found = cluster.settle()
    assert 0 < found.requeue_after <= 15
    cluster.tick(900)
    cluster.settle()
    cluster.go(3)
    assert (cluster.status["phase"], cluster.status["reason"]) == ("Failed", "Internal")
    assert "does not serve after 900 s" in cluster.status["message"]
    assert served(cluster) == "1"


def test_a_first_version_that_is_not_ready_in_time_may_still_become_so():
    cluster = ModelCluster()
    cluster.unready_versions.add(1)
    cluster.go(until="Deploying")
    cluster.tick(1000)
    cluster.settle()
    assert cluster.status["phase"] == "Deploying"
    assert cluster.condition("Progressing") == ("False", "Internal")
    cluster.unready_versions.clear()
    cluster.go(until="Ready")
    assert cluster.condition("Ready") == ("True", "Serving")


@pytest.mark.parametrize(
    ("waiting", "reason"),
    [
        ({"reason": "ImagePullBackOff"}, "ImagePull"),
        (
            {"reason": "CreateContainerConfigError", "message": 'secret "store-s3" not found'},
            "SecretNotFound",
        ),
    ],
    ids=["image", "secret of the store"],
)
def test_what_keeps_the_service_from_being_ready_is_told(waiting, reason):
    cluster = ModelCluster()
    cluster.unready_versions.add(1)
    cluster.go(until="Deploying")
    state = {"waiting": waiting}
    cluster.pods.append(
        {
            "metadata": {"name": "replica", "labels": {"anneal.dev/part": "serve"}},
            "status": {
                "phase": "Pending",
                "containerStatuses": [{"name": "m", "image": "x", "state": state}],
            },
        }
    )
    cluster.settle()
    assert cluster.status["reason"] == reason
    assert cluster.condition("Ready") == ("False", reason)


def test_a_service_that_kuberay_has_given_up_is_made_anew():
    cluster = ModelCluster()
    cluster.unready_versions.add(1)
    cluster.go(until="Deploying")
    service = cluster.objects["RayService", "reviews"]
    condition = {"type": "Ready", "status": "False", "reason": "InitializingTimeout"}
    service["status"] = {"conditions": [condition]}
    cluster.settle()
    assert cluster.objects["RayService", "reviews"]["metadata"]["uid"] != service["metadata"]["uid"]


def test_a_service_that_fails_later_is_not_ready_and_recovers():
    cluster = ready()
    finished = cluster.status["finishedAt"]
    cluster.unready_versions.add(1)
    cluster.work()
    cluster.settle()
    assert cluster.status["phase"] == "Deploying"
    assert cluster.condition("Ready") == ("False", "Unavailable")
    assert cluster.condition("Available") == ("False", "Unavailable")
    assert cluster.status["reason"] == "Unavailable"
    assert cluster.status["traffic"] == ""
    told = [a for found in cluster.plans for a in found.events if a.reason == "Unavailable"]
    assert [(a.warning, "v1 does not answer" in a.message) for a in told] == [(True, True)]
    cluster.tick(100_000)
    cluster.unready_versions.clear()
    cluster.go(until="Ready")
    assert cluster.condition("Available") == ("True", "Serving")
    assert cluster.status["traffic"] == "v1 100%"
    assert cluster.status["finishedAt"] == finished
    assert len([name for _, name in cluster.created if "parity" in name]) == 1


def test_what_carries_the_traffic_is_told_before_it_is_proven():
    cluster = ready()
    cluster.bad_versions.add(2)
    cluster.edit(training=TRAINING)
    seen = []
    for _ in range(60):
        cluster.settle()
        service = cluster.objects["RayService", "reviews"]
        serves = service["metadata"]["labels"]["anneal.dev/version"]
        answers = service["status"]["observedGeneration"] == service["metadata"]["generation"]
        if answers:
            assert cluster.status["servedVersion"] == f"v{serves}"
        assert cluster.condition("Available")[0] == "True"
        if cluster.status["traffic"] not in seen[-1:]:
            seen.append(cluster.status["traffic"])
        cluster.work()
        cluster.tick(5)
    assert seen == ["v1 100%", "v2 100% (unproven)", "v2 100% (refused)", "v1 100%"]
    assert cluster.status["reason"] == "ParityFailed"


def test_a_model_that_is_not_to_be_served_is_not_missed():
    cluster = ModelCluster({name: part for name, part in SPEC.items() if name != "serving"})
    cluster.go(until="Succeeded")
    assert cluster.condition("Available") == ("False", "NotRequested")
    assert not [a for found in cluster.plans for a in found.events if a.warning]


@pytest.mark.parametrize("kind", ["RayService", "PodDisruptionBudget"])
def test_what_somebody_deleted_or_changed_is_as_it_was(kind):
    cluster = ready()
    before = copy.deepcopy(cluster.objects[kind, "reviews"]["spec"])
    cluster.remove(kind, "reviews")
    cluster.go(until="Ready")
    assert cluster.objects[kind, "reviews"]["spec"] == before
    cluster.objects[kind, "reviews"]["spec"] = {
        **copy.deepcopy(before),
        **({"minAvailable": 7} if kind == "PodDisruptionBudget" else {"serveConfigV2": "{}"}),
    }
    cluster.go(until="Ready")
    assert cluster.objects[kind, "reviews"]["spec"] == before


def test_the_old_version_is_repaired_while_the_new_one_trains():
    cluster = ready()
    cluster.edit(training=TRAINING)
    cluster.go(until="Training")
    cluster.remove("RayService", "reviews")
    cluster.settle()
    assert served(cluster) == "1"


def test_a_first_version_is_deployed_though_the_next_one_trains_already():
    cluster = ModelCluster()
    cluster.go(until="Deploying")
    cluster.edit(training=TRAINING)
    cluster.go(until="Training")
    cluster.work()
    cluster.work()
    cluster.settle()
    assert cluster.status["phase"] == "Training"
    assert states(cluster) == {1: "Serving"}
    assert cluster.condition("Ready") == ("False", "OldVersionServes")


def test_only_what_is_being_deployed_says_so():
    cluster = ModelCluster()
    cluster.unready_versions.add(1)
    cluster.go(until="Deploying")
    assert "deployingSince" in cluster.status["versions"][0]
    cluster.edit(training=TRAINING)
    cluster.go(until="Training")
    assert "deployingSince" in cluster.status["versions"][0]
    cluster.go(until="Deploying")
    assert ["deployingSince" in version for version in cluster.status["versions"]] == [False, True]


def test_an_edit_gives_a_deployment_its_whole_time_again():
    cluster = ready()
    cluster.unready_versions.add(2)
    cluster.edit(training=TRAINING)
    cluster.go(until="Deploying")
    cluster.tick(800)
    cluster.edit(serving={"replicas": {"min": 2, "max": 2}})
    cluster.settle()
    cluster.tick(800)
    cluster.settle()
    assert cluster.status["phase"] == "Deploying"


def test_a_new_operator_restarts_no_service():
    cluster = ready()
    cluster.settings = Settings(
        image="anneal/runtime:2", head_resources={"limits": {"memory": "9Gi"}}, ray_version="2.99.0"
    )
    before = copy.deepcopy(cluster.objects["RayService", "reviews"]["spec"]["rayClusterConfig"])
    cluster.go(5)
    assert cluster.objects["RayService", "reviews"]["spec"]["rayClusterConfig"] == before
    assert cluster.status["phase"] == "Ready"
    writes = cluster.writes
    cluster.look()
    assert cluster.writes == writes


def test_serving_can_be_taken_away_and_given_back():
    cluster = ready()
    cluster.edit(serving=None)
    cluster.go(until="Succeeded")
    assert not cluster.names("RayService", "PodDisruptionBudget")
    assert "reviews-v1-parity" not in cluster.names("Job")
    assert states(cluster) == {1: "Previous"}
    assert cluster.status["url"] == cluster.status["traffic"] == ""
    assert cluster.condition("Ready") == ("False", "NotRequested")
    cluster.edit(serving=SPEC["serving"])
    cluster.go(until="Ready")
    assert states(cluster) == {1: "Serving"}
    assert cluster.names("RayJob") == ["reviews-g1-a1"]


def test_kuberay_is_missing():
    cluster = ready()
    cluster.kuberay = False
    cluster.settle()
    assert cluster.status["reason"] == "KubeRayMissing"
    assert cluster.condition("Ready") == ("False", "KubeRayMissing")
    cluster.kuberay = True
    cluster.go(until="Ready")
    assert cluster.status["phase"] == "Ready"


def test_a_service_that_an_earlier_release_named_keeps_its_name():
    """Names were cut at 28 characters; a new one would be a second service, at another address."""
    long, cut = "customer-reviews-classifier-v2", base_name("customer-reviews-classifier-v2")
    cluster = ModelCluster(name=long)
    cluster.go(until="Ready")
    assert cluster.names("RayService") == [long]
    assert cluster.status["url"] == f"http://{long}.default.svc"
    service = cluster.objects.pop(("RayService", long))
    service["metadata"]["name"] = service["spec"]["serveService"]["metadata"]["name"] = cut
    cluster.objects["RayService", cut] = service
    cluster.objects.pop(("PodDisruptionBudget", long))
    cluster.edit(training=TRAINING)
    cluster.go(until="Ready")
    assert cluster.status["servedVersion"] == "v2"
    assert cluster.names("RayService", "PodDisruptionBudget") == [cut, cut]
    assert cluster.status["url"] == f"http://{cut}.default.svc"
    # Deleted by hand, it comes back at the address that people call.
    cluster.remove("RayService", cut)
    cluster.go(until="Ready")
    assert cluster.names("RayService", "PodDisruptionBudget") == [cut, cut]


def test_two_services_of_two_releases_become_one():
    """A roll-back over the change of names makes a second one."""
    long, cut = "customer-reviews-classifier-v2", base_name("customer-reviews-classifier-v2")
    cluster = ModelCluster(name=long)
    cluster.go(until="Ready")
    for kind in ("RayService", "PodDisruptionBudget"):
        other = copy.deepcopy(cluster.objects[kind, long])
        other["metadata"] |= {"name": cut, "uid": f"old {kind}"}
        cluster.objects[kind, cut] = other
    cluster.go(5)
    assert cluster.names("RayService", "PodDisruptionBudget") == [cut, cut]
    assert cluster.status["phase"] == "Ready"


def test_an_edit_gives_a_version_that_is_late_its_whole_time_before_it_is_judged():
    cluster = ready()
    cluster.unready_versions.add(2)
    cluster.edit(training=TRAINING)
    cluster.go(until="Deploying")
    cluster.settle()
    cluster.tick(890)
    cluster.settle()
    cluster.edit(serving={**SPEC["serving"], "cpu": 2})
    cluster.tick(15)
    cluster.settle()
    assert "refused" not in cluster.status["versions"][-1]
