"""The RayService of a job: its served version.

KubeRay 1.6.1 tells three kinds of change apart. One of `serveConfigV2` goes to the running cluster. One of the number
of pods is applied to it. Anything else in `rayClusterConfig` starts a second cluster, switches to it once it is
ready, and deletes the first. So nothing in there speaks of a version or a generation: two versions of one image give
the same cluster.

`serveService` names the Service and its port. KubeRay fills in the selector (the pods of the cluster that is active),
and keeps of the ports only those whose name is the one that it expects, `serve`.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from anneal_api.job import FineTuneJobSpec
from anneal_api.spec.serving import Serving
from anneal_api.status import VersionStatus
from anneal_operator.resources import names, places, volumes
from anneal_operator.resources.environment import as_env, store_env
from anneal_operator.resources.intent import SPEC_HASH, digest_of, stamped
from anneal_operator.resources.ownership import Object, labels_of, owned
from anneal_operator.resources.pods import CONTAINER_SECURITY, NO_ACCESS, Access, Container, pod_template
from anneal_operator.resources.ray_clusters import (
    HEAD_GRACE_SECONDS,
    WORKER_GRACE_SECONDS,
    WORKER_SHARED_MEMORY,
    head_env,
    head_group,
    head_mounts,
    ray_labels,
    worker_env,
    worker_group,
)
from anneal_operator.resources.serve_configs import PORT, replica_range, serve_config
from anneal_operator.resources.serving_objects import serving_pods
from anneal_operator.settings import Settings

CLUSTER_HASH = "anneal.dev/cluster-hash"
"""Annotation with the digest of what the job itself says about its serving pods."""

_INITIALIZING_TIMEOUT = "ray.io/initializing-timeout"
_SERVICE_PORT = 80
_REPLICA_FIELDS = ("replicas", "minReplicas", "maxReplicas")
# Together or not at all: without HAProxy the second sends every request through the head.
_SERVE_ENV = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
_AUTOSCALER_RESOURCES = {
    "requests": {"cpu": "100m", "memory": "256Mi"},
    "limits": {"cpu": "500m", "memory": "512Mi"},
}


def ray_service(
    job: Object, spec: FineTuneJobSpec, version: VersionStatus, settings: Settings, name: str = ""
) -> dict[str, Any]:
    """Returns the RayService that answers with a version.

    Args:
        job: The FineTuneJob.
        spec: Its spec, with `serving`.
        version: The version; its image is what runs.
        settings: The operator's settings.
        name: Its name, and that of the Service that people call; empty: the one that a new one gets.

    Raises:
        ValueError: The job does not serve.
    """
    serving = spec.serving
    if serving is None:
        raise ValueError("the job does not serve")
    name = name or names.service_name(job["metadata"]["name"])
    labels = labels_of(job, generation=version.generation, part="serve", version=version.version)
    annotations = {
        # The operator gives up on a version earlier than this and says why while its pods are there to see. Then
        # KubeRay takes the cluster down; the RayService has to be made anew after that.
        _INITIALIZING_TIMEOUT: f"{math.ceil(2 * settings.unready_seconds)}s",
        CLUSTER_HASH: _cluster_hash(spec, serving, version, settings),
    }
    service_labels = labels_of(job, part="serve")
    return stamped(
        {
            "apiVersion": "ray.io/v1",
            "kind": "RayService",
            "metadata": owned(job, name, labels, annotations),
            "spec": {
                "serveConfigV2": serve_config(spec, serving, version, settings),
                "excludeHeadPodFromServeSvc": True,
                "upgradeStrategy": {"type": "NewCluster"},
                "serveService": {
                    "metadata": {"name": name, "labels": service_labels},
                    "spec": {
                        "ports": [
                            {
                                "name": "serve",
                                "port": _SERVICE_PORT,
                                "targetPort": PORT,
                                "protocol": "TCP",
                            }
                        ]
                    },
                },
                "rayClusterConfig": _cluster(job, spec, serving, version.image, settings),
            },
        }
    )


def keeping_cluster(live: Object, body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an intent that restarts a running service only where the job or its version asks for that.

    An upgraded operator may build a cluster otherwise, or have other settings. Applied to a service that runs, that
    would start a second cluster for every job at once. So where what the job says of its serving pods is as it was,
    the cluster stays as it is, but for the number of pods.

    Args:
        live: The RayService as the API server has it.
        body: The intent, from `ray_service`.
    """
    annotations = live["metadata"].get("annotations") or {}
    wanted = body["metadata"]["annotations"]
    same_cluster = annotations.get(CLUSTER_HASH) == wanted[CLUSTER_HASH]
    if digest_of(live) == wanted[SPEC_HASH] or not same_cluster:
        return dict(body)
    result = copy.deepcopy(dict(body))
    cluster = copy.deepcopy(live["spec"]["rayClusterConfig"])
    groups = {group["groupName"]: group for group in body["spec"]["rayClusterConfig"]["workerGroupSpecs"]}
    for group in cluster["workerGroupSpecs"]:
        if group["groupName"] in groups:
            group |= {field: groups[group["groupName"]][field] for field in _REPLICA_FIELDS}
    result["spec"]["rayClusterConfig"] = cluster
    return stamped(result)


def _cluster_hash(spec: FineTuneJobSpec, serving: Serving, version: VersionStatus, settings: Settings) -> str:
    fewest, most = replica_range(serving)
    claims = [claim.name for claim in places.store_claims(spec, settings, read_only=True)]
    inputs = [version.image, serving.cpu, most > fewest, claims]
    if places.is_in_bucket(places.store_uri(spec, settings)):
        # Only then: what is on a claim keeps the digest that it had before there were stores in buckets.
        inputs.append({"secret": places.store_secret(spec, settings)})
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]


def _cluster(
    job: Object, spec: FineTuneJobSpec, serving: Serving, image: str, settings: Settings
) -> dict[str, Any]:
    fewest, most = replica_range(serving)
    scales = most > fewest
    labels = ray_labels(labels_of(job, part="serve"))
    cluster: dict[str, Any] = {
        "rayVersion": settings.ray_version,
        "authOptions": {"mode": "token"},
        "headGroupSpec": _head(image, _mounts(spec, settings), labels, settings, scales=scales),
        "workerGroupSpecs": [
            worker_group(
                "replicas",
                _worker(job, spec, serving, image, labels, settings),
                replicas=(fewest, most),
                cpus=serving.cpu,
                memory=str(_worker_resources(serving, settings)["limits"].get("memory", "4Gi")),
                shared_memory_size=WORKER_SHARED_MEMORY,
            )
        ],
    }
    if scales:
        cluster["enableInTreeAutoscaling"] = True
        cluster["autoscalerOptions"] = {
            "version": "v2",
            "imagePullPolicy": settings.image_pull_policy,
            "resources": copy.deepcopy(_AUTOSCALER_RESOURCES),
            "securityContext": copy.deepcopy(dict(CONTAINER_SECURITY)),
            "env": as_env(head_env()),
            "volumeMounts": [mount.volume_mount() for mount in volumes.scratch()],
        }
    return cluster


def _head(
    image: str, mounts: list[volumes.Mount], labels: dict[str, str], settings: Settings, *, scales: bool
) -> dict[str, Any]:
    container = Container(
        name="ray-head",
        image=image,
        env=as_env({**head_env(), **_SERVE_ENV}),
        mounts=head_mounts(mounts),
        resources=settings.head_resources,
    )
    template = pod_template(
        container,
        labels,
        settings,
        # Ray's autoscaler runs beside the head, on an account that KubeRay makes for it; without it, no token.
        access=Access(token=True) if scales else NO_ACCESS,
        more={"terminationGracePeriodSeconds": HEAD_GRACE_SECONDS},
    )
    return head_group(template, settings)


def _worker(
    job: Object,
    spec: FineTuneJobSpec,
    serving: Serving,
    image: str,
    labels: dict[str, str],
    settings: Settings,
) -> dict[str, Any]:
    container = Container(
        name="ray-worker",
        image=image,
        # The replicas bring the version out of the store themselves; the head has nothing to do with it.
        env=as_env({**worker_env(), **_SERVE_ENV}) + store_env(spec, settings),
        mounts=[*_mounts(spec, settings), volumes.shared_memory(WORKER_SHARED_MEMORY)],
        resources=_worker_resources(serving, settings),
        # Healthy is a proxy that knows a replica that answers. KubeRay's own probe asks the same with wget, which
        # the image would have to have.
        more={
            "readinessProbe": {
                "httpGet": {"path": "/-/healthz", "port": PORT},
                "periodSeconds": 5,
                "timeoutSeconds": 3,
                "failureThreshold": 2,
            }
        },
    )
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": serving_pods(job)},
    }
    more = {"terminationGracePeriodSeconds": WORKER_GRACE_SECONDS, "topologySpreadConstraints": [spread]}
    return pod_template(container, labels, settings, more=more)


def _mounts(spec: FineTuneJobSpec, settings: Settings) -> list[volumes.Mount]:
    return [*volumes.scratch(), *volumes.claims(places.store_claims(spec, settings, read_only=True))]


def _worker_resources(serving: Serving, settings: Settings) -> dict[str, Any]:
    """Returns requests and limits of a serving pod: the job's CPUs, where the settings do not say otherwise."""
    resources = copy.deepcopy(settings.serving_resources)
    requests, limits = resources.setdefault("requests", {}), resources.setdefault("limits", {})
    requests.setdefault("cpu", str(serving.cpu))
    # Proxy, metrics and Ray itself need a little beside the model.
    limits.setdefault("cpu", str(serving.cpu + 1))
    return resources
