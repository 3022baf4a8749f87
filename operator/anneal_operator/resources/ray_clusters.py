"""The Ray clusters that KubeRay starts: one head that computes nothing, and workers that do nothing else.

Read from KubeRay 1.6.1:

* Its head Services select pods by `app.kubernetes.io/name: kuberay`, a label that it sets itself unless the template
  has one of that name. So the templates here have none, or the Service that a RayService makes for its head would
  select nothing.
* It writes command, probes and metrics port into the first container, and copies that container's security context,
  environment and mounts into the init container that waits for the head: both keep to the same standard.
* With `authOptions.mode: token` it makes a Secret with a token for each cluster and hands it to every pod of it, and
  to the submitter, by reference. It needs `rayVersion` for that.

On SIGTERM `ray start --block` marks its node as going away and waits until the node's work is done or moved, so that
training can save a checkpoint and Ray Serve can finish requests. Workers get time for that within their grace period.
A head gets none: its driver and controllers cannot move, and the wait would only hold up a deletion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from anneal_api.schema import parse_quantity
from anneal_operator.resources.volumes import Mount, shared_memory
from anneal_operator.settings import Settings

HEAD_GRACE_SECONDS = 30
WORKER_GRACE_SECONDS = 120
"""Time that Kubernetes gives a worker to end."""

HEAD_SHARED_MEMORY = "512Mi"
WORKER_SHARED_MEMORY = "1Gi"
"""Size of a worker's `/dev/shm` where the job does not say."""

_DRAIN_SECONDS = WORKER_GRACE_SECONDS - 15
_KUBERAY_SETS = "app.kubernetes.io/name"
_SMALLEST_OBJECT_STORE = 80 * 2**20  # Ray takes no less than 75 MiB
_SHARE_OF_SHARED_MEMORY = 0.5
_SHARE_OF_MEMORY = 0.3
_EVERY_NODE = {"RAY_USAGE_STATS_ENABLED": "0"}


def head_env() -> dict[str, str]:
    """Returns the variables of a head."""
    return {**_EVERY_NODE, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}


def worker_env() -> dict[str, str]:
    """Returns the variables of a worker."""
    return {**_EVERY_NODE, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(_DRAIN_SECONDS)}


def ray_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Returns labels as a pod of a Ray cluster may have them."""
    return {name: value for name, value in labels.items() if name != _KUBERAY_SETS}


def head_mounts(mounts: Sequence[Mount]) -> list[Mount]:
    """Returns the mounts of a head, `/dev/shm` among them."""
    return [*mounts, shared_memory(HEAD_SHARED_MEMORY)]


def head_group(template: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Returns `headGroupSpec`: no work is placed on it, for it shares a machine with nothing that can fail."""
    memory = str(settings.head_resources.get("limits", {}).get("memory", "4Gi"))
    return {
        "rayStartParams": {
            "dashboard-host": "0.0.0.0",  # noqa: S104  # KubeRay asks it for the state of jobs; it wants the token
            "num-cpus": "0",
            "object-store-memory": _object_store(HEAD_SHARED_MEMORY, memory),
        },
        "template": dict(template),
    }


def worker_group(
    name: str,
    template: Mapping[str, Any],
    *,
    replicas: tuple[int, int],
    cpus: int,
    memory: str,
    shared_memory_size: str,
) -> dict[str, Any]:
    """Returns an entry of `workerGroupSpecs`.

    Args:
        name: Name of the group.
        template: Template of its pods.
        replicas: Fewest and most pods; it starts with the fewest.
        cpus: CPUs that Ray may place work on, in each pod.
        memory: Memory of a pod.
        shared_memory_size: Size of its `/dev/shm`.
    """
    fewest, most = replicas
    return {
        "groupName": name,
        "replicas": fewest,
        "minReplicas": fewest,
        "maxReplicas": most,
        "rayStartParams": {
            "num-cpus": str(cpus),
            "object-store-memory": _object_store(shared_memory_size, memory),
        },
        "template": dict(template),
    }


def whole_cpus(quantity: str) -> int:
    """Returns the CPUs that Ray counts for a quantity; it knows whole ones only."""
    return max(1, math.ceil(parse_quantity(quantity)))


def _object_store(shared_memory_size: str, memory: str) -> str:
    """Returns the bytes of Ray's object store: a part of `/dev/shm`, whose rest is PyTorch's and NCCL's."""
    part = min(
        parse_quantity(shared_memory_size) * _SHARE_OF_SHARED_MEMORY,
        parse_quantity(memory) * _SHARE_OF_MEMORY,
    )
    return str(max(_SMALLEST_OBJECT_STORE, int(part)))
