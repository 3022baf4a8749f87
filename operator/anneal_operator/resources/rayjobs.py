"""The RayJob that trains.

The driver is submitted by a pod of its own (`K8sJobMode`), not by a container beside the head (`SidecarMode`).
KubeRay 1.6.1 builds that container itself, without a security context and with half a CPU requested, and takes no
template for it: a namespace that enforces the *restricted* Pod Security Standard would refuse the head's pod. What the
sidecar is better at is had in another way: `ray.io/disable-provisioned-head-restart`, the annotation that KubeRay sets
in that mode, is set here too, so that a lost head ends the attempt instead of starting an empty cluster. The submitter
tries once: a second try would submit the job to whatever cluster is there then.

KubeRay ignores later changes of a RayJob's cluster, so a RayJob is made once per attempt and never edited but for
`suspend`. It does not retry: attempts are the operator's.
"""

from __future__ import annotations

from typing import Any

from anneal_api.job import FineTuneJobSpec
from anneal_api.spec.resources import Resources
from anneal_api.status import Run
from anneal_operator.resources import names, places, volumes
from anneal_operator.resources.environment import as_env, attempt_env
from anneal_operator.resources.intent import stamped
from anneal_operator.resources.ownership import Object, labels_of, owned
from anneal_operator.resources.pods import Access, Container, pod_template
from anneal_operator.resources.ray_clusters import (
    HEAD_GRACE_SECONDS,
    WORKER_GRACE_SECONDS,
    WORKER_SHARED_MEMORY,
    head_env,
    head_group,
    head_mounts,
    ray_labels,
    whole_cpus,
    worker_env,
    worker_group,
)
from anneal_operator.resources.step_jobs import deadline
from anneal_operator.settings import Settings

GPU = "nvidia.com/gpu"
"""The resource that is a GPU, and the taint that keeps other pods off its nodes."""

ENTRYPOINT = "python -m anneal_trainer.cluster train"
"""What the driver runs."""

_NO_HEAD_RESTART = "ray.io/disable-provisioned-head-restart"
_DEFAULT_CPU = "1"
_DEFAULT_MEMORY = "4Gi"
# Long enough for the operator to see how the pods ended, short enough not to hold the machines from what comes next.
_CLUSTER_TTL_SECONDS = 15
# The controller of Ray Train looks after its workers this often; its default is 2 s.
_HEALTH_CHECK_SECONDS = "0.5"
_SUBMITTER_RESOURCES = {
    "requests": {"cpu": "50m", "memory": "128Mi"},
    "limits": {"cpu": "1", "memory": "1Gi"},
}


def train_rayjob(job: Object, spec: FineTuneJobSpec, run: Run, settings: Settings) -> dict[str, Any]:
    """Returns the RayJob of an attempt.

    Where the job names a queue, `suspend` is Kueue's: it is never sent, or the operator and Kueue would take turns.

    Args:
        job: The FineTuneJob.
        spec: Its spec.
        run: The attempt.
        settings: The operator's settings.
    """
    labels = labels_of(job, generation=run.generation, attempt=run.attempt, part=run.part.value)
    name = names.attempt_name(job["metadata"]["name"], run.generation, run.attempt)
    queue = spec.resources.queue
    metadata = owned(
        job, name, {**labels, names.QUEUE_LABEL: queue} if queue else labels, {_NO_HEAD_RESTART: "true"}
    )
    return stamped(
        {
            "apiVersion": "ray.io/v1",
            "kind": "RayJob",
            "metadata": metadata,
            "spec": {
                "entrypoint": ENTRYPOINT,
                "submissionMode": "K8sJobMode",
                "submitterPodTemplate": _submitter(labels, run, settings),
                "submitterConfig": {"backoffLimit": 0},
                "backoffLimit": 0,
                "shutdownAfterJobFinishes": True,
                "ttlSecondsAfterFinished": _CLUSTER_TTL_SECONDS,
                **deadline(spec),
                **({"suspend": True} if spec.suspend and not queue else {}),
                "rayClusterSpec": {
                    "rayVersion": settings.ray_version,
                    "authOptions": {"mode": "token"},
                    "headGroupSpec": _head(job, spec, run, settings, labels),
                    "workerGroupSpecs": [_workers(job, spec, run, settings, labels)],
                },
            },
        }
    )


def _submitter(labels: dict[str, str], run: Run, settings: Settings) -> dict[str, Any]:
    """Returns the pod that submits the driver and prints its log. KubeRay writes its command and gives it the token."""
    container = Container(
        name="submitter",
        image=run.image,
        env=as_env({"RAY_USAGE_STATS_ENABLED": "0"}),
        mounts=volumes.scratch(),
        resources=_SUBMITTER_RESOURCES,
    )
    return pod_template(container, labels, settings, more={"restartPolicy": "Never"})


def _head(
    job: Object, spec: FineTuneJobSpec, run: Run, settings: Settings, labels: dict[str, str]
) -> dict[str, Any]:
    """Returns the head, where the driver runs: the one pod of the cluster that may report."""
    container = Container(
        name="ray-head",
        image=run.image,
        env=attempt_env(job, spec, run, settings, {**head_env(), **_train_env()}),
        mounts=head_mounts(_mounts(job, spec, run, settings)),
        resources=settings.head_resources,
    )
    account = names.account_name(job["metadata"]["name"])
    template = pod_template(
        container,
        ray_labels(labels),
        settings,
        access=Access(account, token=True),
        more={"terminationGracePeriodSeconds": HEAD_GRACE_SECONDS},
    )
    return head_group(template, settings)


def _workers(
    job: Object, spec: FineTuneJobSpec, run: Run, settings: Settings, labels: dict[str, str]
) -> dict[str, Any]:
    resources = spec.resources
    size = resources.shared_memory or WORKER_SHARED_MEMORY
    container = Container(
        name="ray-worker",
        image=run.image,
        env=attempt_env(job, spec, run, settings, {**worker_env(), **_train_env()}),
        mounts=[*_mounts(job, spec, run, settings), volumes.shared_memory(size)],
        resources=_worker_resources(resources),
    )
    more: dict[str, Any] = {"terminationGracePeriodSeconds": WORKER_GRACE_SECONDS}
    if resources.node_selector:
        more["nodeSelector"] = dict(resources.node_selector)
    tolerations = _tolerations(resources)
    if tolerations:
        more["tolerations"] = tolerations
    return worker_group(
        "workers",
        pod_template(container, ray_labels(labels), settings, more=more),
        replicas=(resources.workers, resources.workers),
        cpus=whole_cpus(resources.cpu or _DEFAULT_CPU),
        memory=resources.memory or _DEFAULT_MEMORY,
        shared_memory_size=size,
    )


def _worker_resources(resources: Resources) -> dict[str, Any]:
    """Returns requests and limits of a worker.

    Memory is what is asked for and not a byte more; of a CPU that is asked for in part, the rest may be used when it
    is idle, because Ray places work on whole ones.
    """
    cpu = resources.cpu or _DEFAULT_CPU
    memory = resources.memory or _DEFAULT_MEMORY
    limits = {"cpu": str(whole_cpus(cpu)), "memory": memory}
    if resources.gpus_per_worker:
        limits[GPU] = str(resources.gpus_per_worker)
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": limits}


def _tolerations(resources: Resources) -> list[dict[str, Any]]:
    found = [each.model_dump(mode="json", exclude_none=True) for each in resources.tolerations]
    gpu = {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}
    if resources.gpus_per_worker and gpu not in found:
        found.append(gpu)
    return found


def _mounts(job: Object, spec: FineTuneJobSpec, run: Run, settings: Settings) -> list[volumes.Mount]:
    return [
        *volumes.scratch(),
        volumes.manifest(job, run.generation),
        *volumes.claims(places.job_claims(spec, settings)),
        *volumes.config_maps(places.job_config_maps(spec)),
    ]


def _train_env() -> dict[str, str]:
    return {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": _HEALTH_CHECK_SECONDS}
