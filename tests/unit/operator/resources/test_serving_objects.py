from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resource_samples import FULL, IN_BUCKET, MINIMAL, UID, Sample, objects, pod_specs

from anneal_operator.resources.intent import differs
from anneal_operator.resources.parity_jobs import parity_job
from anneal_operator.resources.rayservices import CLUSTER_HASH, keeping_cluster, ray_service
from anneal_operator.resources.serving_objects import disruption_budget
from anneal_operator.settings import Settings

SERVED: dict[str, Any] = {**MINIMAL, "serving": {}}


def cluster_of(service: dict[str, Any]) -> Any:
    return service["spec"]["rayClusterConfig"]


def config_of(service: dict[str, Any]) -> Any:
    return json.loads(service["spec"]["serveConfigV2"])


def deployment_of(service: dict[str, Any]) -> Any:
    (application,) = config_of(service)["applications"]
    (deployment,) = application["deployments"]
    return deployment


@pytest.mark.parametrize("spec", [SERVED, FULL], ids=["fixed", "scaled"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray's own, when it is imported
def test_ray_serve_takes_the_config(spec: dict[str, Any]) -> None:
    from ray.serve.schema import ServeDeploySchema

    config = ServeDeploySchema.model_validate(config_of(Sample(spec).service))
    (application,) = config.applications
    assert (application.name, application.route_prefix, application.args) == ("anneal", "/", {})
    assert application.import_path == "anneal_serving.cluster:build"


def test_the_version_travels_in_the_user_config() -> None:
    assert deployment_of(Sample(SERVED).service) == {
        "name": "model",
        "num_replicas": 1,
        "ray_actor_options": {"num_cpus": 1},
        "user_config": {
            "version_folder": "/mnt/pvc/models/anneal/nlp/reviews-1a2b3c4d/v4",
            "version": 4,
            "digest": "ab" * 32,
            "max_batch_tokens": 4096,
            "threads": 1,
        },
    }


def test_replicas_follow_the_load_where_they_may() -> None:
    deployment = deployment_of(Sample(FULL).service)
    assert "num_replicas" not in deployment
    assert deployment["autoscaling_config"] == {
        "min_replicas": 2,
        "max_replicas": 4,
        "target_ongoing_requests": 4,
    }
    cluster = cluster_of(Sample(FULL).service)
    assert cluster["enableInTreeAutoscaling"] is True
    (group,) = cluster["workerGroupSpecs"]
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (2, 2, 4)
    assert group["rayStartParams"]["num-cpus"] == "2"  # one replica a pod
    fixed = cluster_of(Sample({**MINIMAL, "serving": {"replicas": {"min": 3, "max": 3}}}).service)
    assert "enableInTreeAutoscaling" not in fixed
    assert fixed["workerGroupSpecs"][0]["replicas"] == 3


def test_head_and_workers_have_one_mode_of_serving() -> None:
    for _, pod in pod_specs(Sample(FULL).service):
        env = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
        assert env["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
        assert env["RAY_SERVE_THROUGHPUT_OPTIMIZED"] == "1"


def test_serving_pods_read_the_store_and_no_data() -> None:
    for _, pod in pod_specs(Sample(FULL).service):
        claims = [
            v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v
        ]
        assert claims == ["models"]
        (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["mountPath"].startswith("/mnt/pvc")]
        assert mount["readOnly"] is True


def test_the_service_answers_on_port_80_of_the_jobs_name() -> None:
    spec = Sample(SERVED).service["spec"]
    assert spec["serveService"]["metadata"]["name"] == "reviews"
    assert spec["serveService"]["spec"] == {
        # KubeRay drops ports of other names.
        "ports": [{"name": "serve", "port": 80, "targetPort": 8000, "protocol": "TCP"}]
    }
    assert spec["excludeHeadPodFromServeSvc"] is True


numbers = st.integers(1, 10_000)


@given(numbers, numbers, numbers, numbers, st.floats(1e-6, 1e-3), st.integers(8, 10**6))
def test_two_versions_of_one_image_have_one_cluster(
    version: int, other: int, generation: int, newer: int, rate: float, tokens: int
) -> None:
    edited = {**SERVED, "training": {"learningRate": rate}, "serving": {"maxBatchTokens": tokens}}
    one = Sample(SERVED, generation=generation, version_number=version).service
    two = Sample(edited, generation=newer, version_number=other).service
    assert cluster_of(one) == cluster_of(two)
    assert (config_of(one) != config_of(two)) is (version != other or tokens != 4096)


@pytest.mark.parametrize(
    "other",
    [
        Sample(SERVED, image="registry.example/anneal:0.2.0"),
        Sample({**MINIMAL, "serving": {"cpu": 2}}),
        Sample({**SERVED, "store": {"uri": "pvc://elsewhere"}}),
        Sample({**SERVED, "store": {"uri": "s3://models/anneal"}}),
    ],
    ids=["image", "cpu", "store", "kind of store"],
)
def test_what_pods_are_made_of_makes_another_cluster(other: Sample) -> None:
    service = Sample(SERVED).service
    assert cluster_of(other.service) != cluster_of(service)
    assert keeping_cluster(service, other.service) == other.service


@pytest.mark.parametrize("secret", [None, {"name": "renewed"}], ids=["none", "another"])
def test_another_secret_of_the_store_makes_another_cluster(secret: dict[str, str] | None) -> None:
    service = Sample(IN_BUCKET).service
    other = Sample({**IN_BUCKET, "store": {"uri": "s3://models/anneal", "secretRef": secret}}).service
    assert cluster_of(other) != cluster_of(service)
    assert keeping_cluster(service, other) == other
    assert config_of(other) == config_of(service)


def test_two_versions_in_a_bucket_have_one_cluster() -> None:
    one, two = Sample(IN_BUCKET).service, Sample(IN_BUCKET, version_number=5).service
    assert cluster_of(one) == cluster_of(two)
    folders = [deployment_of(each)["user_config"]["version_folder"] for each in (one, two)]
    assert folders == [f"s3://models/anneal/nlp/reviews-1a2b3c4d/v{number}" for number in (4, 5)]


def test_a_service_of_a_store_on_a_claim_is_known_by_what_it_always_was() -> None:
    # An operator that took more into account would restart every service when it is upgraded.
    for settings in (Settings(image="x"), Settings(image="x", store="s3://models", store_secret="s3")):
        sample = Sample(SERVED, settings=settings)
        inputs = json.dumps([sample.image, 1, False, ["models"]])
        annotations = sample.service["metadata"]["annotations"]
        assert annotations[CLUSTER_HASH] == hashlib.sha256(inputs.encode()).hexdigest()[:16]


def test_an_upgraded_operator_keeps_running_clusters() -> None:
    live = Sample(SERVED).service
    live["spec"]["rayClusterConfig"]["byKubeRay"] = {"default": 1}
    upgraded = Settings(image="registry.example/anneal:0.2.0", ray_version="2.99.0", unready_seconds=60.0)
    newer = Sample({**SERVED, "serving": {"maxBatchTokens": 99}}, settings=upgraded, version_number=5)
    body = newer.service
    kept = keeping_cluster(live, body)
    assert cluster_of(body) != cluster_of(live)
    assert cluster_of(kept) == cluster_of(live)
    assert config_of(kept) == config_of(body)
    assert differs(live, kept)
    # Once it is applied there is nothing more to do.
    applied = {**copy.deepcopy(kept), "status": {}}
    assert keeping_cluster(applied, body) == kept
    assert not differs(applied, keeping_cluster(applied, body))


def test_kept_clusters_still_follow_the_replicas() -> None:
    scaled = {**MINIMAL, "serving": {"replicas": {"min": 1, "max": 3}}}
    more = {**MINIMAL, "serving": {"replicas": {"min": 2, "max": 8}}}
    live = Sample(scaled, settings=Settings(image="x", ray_version="2.59.0")).service
    (group,) = cluster_of(keeping_cluster(live, Sample(more).service))["workerGroupSpecs"]
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (2, 2, 8)
    assert cluster_of(keeping_cluster(live, Sample(more).service))["rayVersion"] == "2.59.0"


def test_nothing_is_kept_where_nothing_changed() -> None:
    service = Sample(SERVED).service
    assert keeping_cluster(copy.deepcopy(service), service) == service


def test_an_operator_of_a_small_machine_may_ask_for_less() -> None:
    resources = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}
    settings = Settings(image="x", serving_resources=resources)
    group = cluster_of(Sample(FULL, settings=settings).service)["workerGroupSpecs"][0]
    assert group["template"]["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "100m", "memory": "512Mi"},
        "limits": {"cpu": "3", "memory": "2Gi"},
    }
    assert group["rayStartParams"]["num-cpus"] == "2"
    assert "cpu" not in settings.serving_resources["limits"]


@pytest.mark.parametrize(("fewest", "available"), [(1, 0), (2, 1), (5, 4)])
def test_a_drained_node_takes_one_pod_at_a_time(fewest: int, available: int) -> None:
    sample = Sample({**MINIMAL, "serving": {"replicas": {"min": fewest, "max": fewest}}})
    budget = disruption_budget(sample.job, sample.spec)
    assert budget["spec"]["minAvailable"] == available
    assert "maxUnavailable" not in budget["spec"]  # allows nothing for pods of a RayCluster
    selector = budget["spec"]["selector"]["matchLabels"]
    labels = cluster_of(sample.service)["workerGroupSpecs"][0]["template"]["metadata"]["labels"]
    assert selector == {
        **{name: labels[name] for name in selector if name in labels},
        "ray.io/node-type": "worker",
    }
    assert selector["anneal.dev/job-uid"] == UID


@pytest.mark.parametrize(
    ("spec", "store"),
    [(SERVED, "/mnt/pvc/models/anneal"), (IN_BUCKET, "s3://models/anneal")],
    ids=["claim", "bucket"],
)
def test_the_probe_asks_the_service_and_reads_the_version(spec: dict[str, Any], store: str) -> None:
    sample = Sample(spec)
    body = parity_job(sample.job, sample.spec, sample.version, sample.settings)
    assert body["metadata"]["name"] == "reviews-v4-parity"
    assert body["spec"]["backoffLimit"] == 3
    (pod,) = [pod for _, pod in pod_specs(body)]
    assert pod["containers"][0]["command"] == [
        "python",
        "-m",
        "anneal_serving.parity",
        "--url",
        "http://reviews.nlp.svc",
        "--version-folder",
        f"{store}/nlp/reviews-1a2b3c4d/v4",
    ]


def test_a_job_that_does_not_serve_has_nothing_that_serves() -> None:
    sample = Sample(MINIMAL)
    with pytest.raises(ValueError, match="does not serve"):
        ray_service(sample.job, sample.spec, sample.version, sample.settings)
    with pytest.raises(ValueError, match="does not serve"):
        disruption_budget(sample.job, sample.spec)
    assert "service" not in objects(sample)


def test_kuberay_gives_up_after_the_operator() -> None:
    settings = Settings(image="x", unready_seconds=90.5)
    annotations = Sample(SERVED, settings=settings).service["metadata"]["annotations"]
    assert annotations["ray.io/initializing-timeout"] == "181s"
