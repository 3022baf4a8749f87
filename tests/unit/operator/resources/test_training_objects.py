from __future__ import annotations

import json
from typing import Any

import pytest
from resource_samples import CANARY, FULL, IN_BUCKET, MINIMAL, UID, Sample, objects, pod_specs

from anneal_api.attempt import Part
from anneal_operator.resources.attempt import attempt_objects
from anneal_operator.resources.manifest import manifest_configmap
from anneal_operator.resources.step_jobs import step_job
from anneal_operator.settings import Settings
from anneal_serving.buckets import Purpose

ALL_THAT_WORK = {
    "prepare.spec.template.spec",
    "finish.spec.template.spec",
    "train.spec.rayClusterSpec.headGroupSpec.template.spec",
    "train.spec.rayClusterSpec.workerGroupSpecs[0].template.spec",
}
"""The places of the pods that prepare, train and finish."""


def env_of(pod: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in pod["containers"][0]["env"] if "value" in each}


def cluster_of(training: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    cluster = training["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    return cluster["headGroupSpec"], workers


def pods_with_secret(bodies: dict[str, dict[str, Any]], secret: str) -> set[str]:
    """Returns the places of the pods that get a value out of a Secret."""
    return {
        f"{name}{path}"
        for name, body in bodies.items()
        for path, pod in pod_specs(body)
        if f'"secretKeyRef": {{"name": "{secret}"' in json.dumps(pod)
    }


def test_the_manifest_is_the_job_without_what_an_edit_of_metadata_changes() -> None:
    body = manifest_configmap(Sample(FULL).job)
    assert body["immutable"] is True
    assert json.loads(body["data"]["job.json"]) == {
        "apiVersion": "anneal.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "reviews", "namespace": "nlp", "uid": UID, "generation": 3},
        "spec": FULL,
    }


def test_an_attempt_may_patch_its_own_report_and_nothing_else() -> None:
    report, account, role, binding = attempt_objects(Sample(FULL).job, Sample(FULL).run(Part.PREPARE))
    assert "data" not in report  # applying it again must not take reports away
    assert account["automountServiceAccountToken"] is False
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": [report["metadata"]["name"]],
            "verbs": ["get", "patch"],
        }
    ]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": "nlp"}
    ]


@pytest.mark.parametrize("part", [Part.PREPARE, Part.FINISH])
def test_steps_run_once(part: Part) -> None:
    sample = Sample(FULL)
    body = step_job(sample.job, sample.spec, sample.run(part), sample.settings)
    assert body["metadata"]["name"] == f"reviews-g3-a2-{part.value}"
    assert body["spec"]["backoffLimit"] == 0
    assert body["spec"]["activeDeadlineSeconds"] == 5400
    pod = body["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["containers"][0]["command"] == ["python", "-m", "anneal_trainer.cluster", part.value]


def test_only_finishing_is_told_which_versions_serve() -> None:
    sample = Sample(FULL)
    serving = [
        {"version": 2, "state": "Previous"},
        {"version": 3, "state": "Serving"},
        {"version": 4, "state": "Candidate"},
    ]
    found = {}
    for part in (Part.PREPARE, Part.FINISH):
        for status in ({"versions": serving}, {}):
            body = step_job({**sample.job, "status": status}, sample.spec, sample.run(part), sample.settings)
            env = env_of(body["spec"]["template"]["spec"])
            found[part, bool(status)] = env.get("ANNEAL_SERVING_VERSION")
    assert found.pop((Part.FINISH, True)) == "3,4"
    assert set(found.values()) == {None}


def test_training_is_no_step() -> None:
    sample = Sample()
    with pytest.raises(ValueError, match="RayJob"):
        step_job(sample.job, sample.spec, sample.run(Part.TRAIN), sample.settings)


def test_pods_know_what_they_work_on() -> None:
    bodies = objects(Sample(FULL))
    pods = [pod for name in ("prepare", "finish") for _, pod in pod_specs(bodies[name])]
    pods += [group["template"]["spec"] for group in cluster_of(bodies["train"])]
    for pod in pods:
        env = env_of(pod)
        assert {name: value for name, value in env.items() if name.startswith("ANNEAL_")} == {
            "ANNEAL_JOB_FILE": "/etc/anneal/job/job.json",
            "ANNEAL_ATTEMPT": "2",
            "ANNEAL_GENERATION": "3",
            "ANNEAL_JOB_UID": UID,
            "ANNEAL_REPORT_CONFIGMAP": "reviews-g3-a2",
            "ANNEAL_NAMESPACE": "nlp",
            "ANNEAL_STORE": "pvc://models/anneal",
            "ANNEAL_WORK": "/mnt/pvc/models/anneal/.work",
        }
        mounts = {each["mountPath"]: each for each in pod["containers"][0]["volumeMounts"]}
        assert mounts["/etc/anneal/job"]["readOnly"] is True
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes[mounts["/etc/anneal/job"]["name"]]["configMap"] == {"name": "reviews-g3"}


def test_data_is_read_and_the_store_is_written() -> None:
    (pod,) = [pod for _, pod in pod_specs(objects(Sample(FULL))["prepare"])]
    claims = {
        v["name"]: v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if v["name"][:5] == "claim"
    }
    mounts = {
        claims[m["name"]]: (m["mountPath"], m.get("readOnly", False))
        for m in pod["containers"][0]["volumeMounts"]
        if m["name"] in claims
    }
    assert mounts == {
        "base-models": ("/mnt/pvc/base-models", True),
        "datasets": ("/mnt/pvc/datasets", True),
        "held-out": ("/mnt/pvc/held-out", True),
        "models": ("/mnt/pvc/models", False),
    }


def test_one_claim_for_all_is_mounted_once_and_writable() -> None:
    spec = {**MINIMAL, "store": {"uri": "pvc://datasets/store"}}
    (pod,) = [pod for _, pod in pod_specs(objects(Sample(spec))["prepare"])]
    mounts = [m for m in pod["containers"][0]["volumeMounts"] if m["mountPath"].startswith("/mnt/pvc")]
    assert mounts == [{"name": "claim-0", "mountPath": "/mnt/pvc/datasets"}]


def test_config_maps_with_data_are_mounted_where_data_may_be_read() -> None:
    having = set()
    for name, body in objects(Sample(FULL)).items():
        for path, pod in pod_specs(body):
            volumes = {v["name"]: v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v}
            for mount in pod["containers"][0]["volumeMounts"]:
                if volumes.get(mount["name"]) == "small-sets":
                    assert (mount["mountPath"], mount["readOnly"]) == ("/mnt/configmap/small-sets", True)
                    having.add(f"{name}{path}")
    assert having == ALL_THAT_WORK


def test_the_hub_token_comes_by_reference_and_only_to_an_attempt() -> None:
    bodies = objects(Sample(FULL))
    reference = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub-token", "key": "token"}}}
    having = {
        f"{name}{path}"
        for name, body in bodies.items()
        for path, pod in pod_specs(body)
        if reference in pod["containers"][0]["env"]
    }
    assert having == ALL_THAT_WORK
    # Nothing else mounts or reads a Secret.
    text = json.dumps(bodies)
    assert text.count("secretKeyRef") == len(having)
    assert '"secret"' not in text
    assert "envFrom" not in text


def test_the_keys_of_buckets_come_by_reference_each_for_its_purpose() -> None:
    spec = {
        **MINIMAL,
        "model": {"source": "s3://models/bert", "secretRef": {"name": "for-models"}},
        "data": {**MINIMAL["data"], "train": {"uri": "s3://data/r.csv"}, "secretRef": {"name": "for-data"}},
        "store": {"uri": "s3://versions", "secretRef": {"name": "for-store"}},
        "serving": {},
    }
    bodies = objects(Sample(spec))
    pods = {name: pod for name, body in bodies.items() for _, pod in pod_specs(body)}
    env = {variable["name"]: variable for variable in pods["prepare"]["containers"][0]["env"]}
    secrets = {Purpose.DATA: "for-data", Purpose.MODEL: "for-models", Purpose.STORE: "for-store"}
    for purpose, secret in secrets.items():
        found = {
            name.removeprefix(purpose): each
            for name, each in env.items()
            if name.startswith(f"{purpose}AWS_")
        }
        references = {name: each["valueFrom"]["secretKeyRef"] for name, each in found.items()}
        assert {reference["name"] for reference in references.values()} == {secret}
        assert all(reference["key"] == name for name, reference in references.items())
        needed = {name for name, reference in references.items() if not reference.get("optional")}
        assert needed == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
        assert "AWS_ENDPOINT_URL" in references
    assert "HF_TOKEN" not in env
    for secret in ("for-data", "for-models"):
        assert pods_with_secret(bodies, secret) == ALL_THAT_WORK


@pytest.mark.parametrize(
    ("spec", "settings"),
    [
        (IN_BUCKET, Settings(image="x", store="s3://others", store_secret="for-others")),
        (
            {name: value for name, value in IN_BUCKET.items() if name != "store"},
            Settings(image="x", store="s3://models/anneal", store_secret="for-the-store"),
        ),
    ],
    ids=["the job's store", "the operator's store"],
)
def test_the_keys_of_the_store_get_to_whoever_reads_or_writes_it(
    spec: dict[str, Any], settings: Settings
) -> None:
    bodies = objects(Sample(spec, settings=settings))
    assert pods_with_secret(bodies, "for-the-store") == ALL_THAT_WORK | {
        "cleanup.spec.template.spec",
        "parity.spec.template.spec",
        # Not the head: it answers nothing.
        "service.spec.rayClusterConfig.workerGroupSpecs[0].template.spec",
    }
    assert "for-others" not in json.dumps(bodies)


def test_without_a_secret_the_pods_own_identity_opens_the_store() -> None:
    bodies = objects(Sample({**IN_BUCKET, "store": {"uri": "s3://models/anneal"}}))
    assert "secretKeyRef" not in json.dumps(bodies)


@pytest.mark.parametrize("uri", ["s3://models/anneal", "S3://models//anneal/"])
def test_who_writes_to_a_store_in_a_bucket_works_on_a_copy_that_can_be_written(uri: str) -> None:
    bodies = objects(Sample({**IN_BUCKET, "store": {"uri": uri}}))
    for name in ("prepare", "train", "finish", "cleanup"):
        pods = [pod for path, pod in pod_specs(bodies[name]) if "submitter" not in path]
        assert pods
        for pod in pods:
            env = env_of(pod)
            assert (
                env["ANNEAL_STORE"] == "s3://models/anneal"
            )  # below which the service looks for the version
            assert env["ANNEAL_WORK"] == "/home/anneal/store/.work"
            volumes = {volume["name"]: volume for volume in pod["volumes"]}
            mounts = {each["mountPath"]: each for each in pod["containers"][0]["volumeMounts"]}
            assert "emptyDir" in volumes[mounts["/home/anneal"]["name"]]
            claims = [
                v["persistentVolumeClaim"]["claimName"]
                for v in pod["volumes"]
                if "persistentVolumeClaim" in v
            ]
            assert claims == ([] if name == "cleanup" else ["datasets"])


def test_nothing_of_a_jobs_annotations_labels_or_status_is_copied() -> None:
    assert CANARY in json.dumps(Sample(FULL).job)
    assert CANARY not in json.dumps(objects(Sample(FULL)))


def test_the_ray_job_leaves_retries_to_the_operator() -> None:
    body = Sample(FULL).training
    spec = body["spec"]
    assert body["metadata"]["name"] == "reviews-g3-a2"
    assert body["metadata"]["annotations"]["ray.io/disable-provisioned-head-restart"] == "true"
    assert (spec["backoffLimit"], spec["submitterConfig"]) == (0, {"backoffLimit": 0})
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["activeDeadlineSeconds"] == 5400
    assert spec["entrypoint"] == "python -m anneal_trainer.cluster train"
    assert spec["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    assert spec["rayClusterSpec"]["rayVersion"] == "2.60.0"
    assert "enableInTreeAutoscaling" not in spec["rayClusterSpec"]
    assert "activeDeadlineSeconds" not in Sample(MINIMAL).training["spec"]


def test_the_head_computes_nothing() -> None:
    head, _ = cluster_of(Sample(FULL).training)
    assert head["rayStartParams"]["num-cpus"] == "0"
    pod = head["template"]["spec"]
    assert pod["containers"][0]["resources"] == Settings(image="x").head_resources
    assert "nodeSelector" not in pod


def test_workers_get_what_the_job_asks_for() -> None:
    _, workers = cluster_of(Sample(FULL).training)
    assert (workers["replicas"], workers["minReplicas"], workers["maxReplicas"]) == (2, 2, 2)
    assert workers["rayStartParams"]["num-cpus"] == "2"
    pod = workers["template"]["spec"]
    assert pod["containers"][0]["resources"] == {
        "requests": {"cpu": "1500m", "memory": "16Gi"},
        "limits": {"cpu": "2", "memory": "16Gi", "nvidia.com/gpu": "1"},
    }
    assert pod["nodeSelector"] == {"pool": "a100"}
    assert pod["tolerations"] == [
        {"key": "team", "operator": "Equal", "value": "nlp", "effect": "NoSchedule"},
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
    ]
    shm = next(volume for volume in pod["volumes"] if volume["name"] == "shared-memory")
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": "4Gi"}
    assert workers["rayStartParams"]["object-store-memory"] == str(2 * 2**30)


def test_workers_without_wishes_get_one_cpu_and_no_gpu() -> None:
    _, workers = cluster_of(Sample(MINIMAL).training)
    pod = workers["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "4Gi"}
    assert "tolerations" not in pod
    assert "nodeSelector" not in pod


@pytest.mark.parametrize(
    ("memory", "shared", "store"),
    [("16Gi", "1Gi", 2**29), ("1Gi", "1Gi", int(0.3 * 2**30)), ("128Mi", "16Mi", 80 * 2**20)],
)
def test_the_object_store_fits_memory_and_shared_memory(memory: str, shared: str, store: int) -> None:
    resources = {"memory": memory, "sharedMemory": shared}
    _, workers = cluster_of(Sample({**MINIMAL, "resources": resources}).training)
    assert workers["rayStartParams"]["object-store-memory"] == str(store)


def test_a_worker_can_drain_within_its_grace() -> None:
    for groups in (cluster_of(Sample(FULL).training)[1], Sample(FULL).service["spec"]["rayClusterConfig"]):
        group = groups["workerGroupSpecs"][0] if "workerGroupSpecs" in groups else groups
        pod = group["template"]["spec"]
        drain = float(env_of(pod)["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
        assert pod["terminationGracePeriodSeconds"] == 120
        assert drain == 105


def test_kuberay_can_still_find_the_head() -> None:
    # Its Services select the application name that it sets itself, unless a template has one.
    for name, body in objects(Sample(FULL)).items():
        for group in ("headGroupSpec", "workerGroupSpecs"):
            cluster = body.get("spec", {}).get("rayClusterSpec") or body.get("spec", {}).get(
                "rayClusterConfig", {}
            )
            groups = cluster.get(group, [])
            for each in groups if isinstance(groups, list) else [groups]:
                labels = each["template"]["metadata"]["labels"]
                assert "app.kubernetes.io/name" not in labels, name
                assert labels["anneal.dev/job-uid"] == UID
                assert labels["app.kubernetes.io/managed-by"] == "anneal-operator"


def test_suspend_is_the_queues_where_there_is_one() -> None:
    assert Sample(FULL).training["spec"]["suspend"] is True
    assert "suspend" not in Sample(MINIMAL).training["spec"]
    queued = Sample({**FULL, "resources": {"queue": "team-a"}}).training
    assert "suspend" not in queued["spec"]
    assert queued["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert "kueue.x-k8s.io/queue-name" not in Sample(FULL).training["metadata"]["labels"]


def test_pods_run_the_image_of_their_run() -> None:
    sample = Sample(FULL, image="registry.example/anneal:old")
    bodies = objects(sample)
    images = {
        name: {container["image"] for _, pod in pod_specs(body) for container in pod["containers"]}
        for name, body in bodies.items()
    }
    assert images.pop("cleanup") == {"registry.example/anneal:0.1.0"}  # of no attempt
    assert {image for found in images.values() for image in found} == {"registry.example/anneal:old"}


def test_a_platforms_wishes_reach_every_pod() -> None:
    overrides = {
        "priorityClassName": "batch",
        "securityContext": {"runAsUser": 2000, "fsGroupChangePolicy": None},
        "tolerations": [{"key": "all"}],
    }
    settings = Settings(image="x", image_pull_secrets=("registry",), pod_overrides=overrides)
    pods = [pod for body in objects(Sample(FULL, settings=settings)).values() for _, pod in pod_specs(body)]
    assert len(pods) == 9
    for pod in pods:
        assert pod["priorityClassName"] == "batch"
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
        assert pod["securityContext"]["runAsUser"] == 2000
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert "fsGroupChangePolicy" not in pod["securityContext"]
        assert pod["tolerations"] == [{"key": "all"}]


def test_cleaning_up_needs_the_store_and_nothing_that_may_be_gone() -> None:
    body = objects(Sample(FULL))["cleanup"]
    (pod,) = [pod for _, pod in pod_specs(body)]
    assert {name: value for name, value in env_of(pod).items() if name.startswith("ANNEAL_")} == {
        "ANNEAL_JOB_UID": UID,
        "ANNEAL_JOB_NAME": "reviews",
        "ANNEAL_NAMESPACE": "nlp",
        "ANNEAL_STORE": "pvc://models/anneal",
        "ANNEAL_WORK": "/mnt/pvc/models/anneal/.work",
    }
    assert {next(iter(set(volume) - {"name"})) for volume in pod["volumes"]} == {
        "emptyDir",
        "persistentVolumeClaim",
    }
    store = next(
        mount for mount in pod["containers"][0]["volumeMounts"] if mount["mountPath"] == "/mnt/pvc/models"
    )
    assert "readOnly" not in store
    assert pod["containers"][0]["command"][-1] == "cleanup"
