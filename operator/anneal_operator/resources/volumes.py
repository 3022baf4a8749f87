"""What pods mount: data, the manifest, shared memory, and the places that a read-only root leaves to write to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anneal_operator.resources import names
from anneal_operator.resources.ownership import Object
from anneal_operator.resources.places import CONFIG_MAP_ROOT, HOME, Claim

JOB_FOLDER = "/etc/anneal/job"
"""Where a pod finds the manifest of its generation."""

JOB_FILE = "job.json"
"""The manifest's file, and the ConfigMap's key."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume with its place in a container.

    Attributes:
        source: The volume, without its name: `{"emptyDir": {}}`.
        name: Name of the volume in the pod.
        path: Where the container sees it.
        read_only: Whether the container may only read it.
    """

    source: dict[str, Any]
    name: str
    path: str
    read_only: bool = False

    def volume(self) -> dict[str, Any]:
        """Returns the entry of a pod's `volumes`."""
        return {"name": self.name, **self.source}

    def volume_mount(self) -> dict[str, Any]:
        """Returns the entry of a container's `volumeMounts`."""
        mount: dict[str, Any] = {"name": self.name, "mountPath": self.path}
        if self.read_only:  # false is left out: typed clients drop it, and then it would look edited
            mount["readOnly"] = True
        return mount


def scratch() -> list[Mount]:
    """Returns the two places that everything expects to be able to write to.

    `/tmp` holds Ray's session folder and HAProxy's files, the home folder the hub's cache and what the pod needs of a
    store in a bucket.
    """
    return [Mount({"emptyDir": {}}, "tmp", "/tmp"), Mount({"emptyDir": {}}, "home", HOME)]  # noqa: S108


def shared_memory(size: str) -> Mount:
    """Returns `/dev/shm` of a size: Ray's object store and PyTorch's workers need more than the usual 64 MiB.

    What lies in it counts as the container's memory.
    """
    return Mount({"emptyDir": {"medium": "Memory", "sizeLimit": size}}, "shared-memory", "/dev/shm")  # noqa: S108


def manifest(job: Object, generation: int) -> Mount:
    """Returns the manifest of a generation."""
    name = names.generation_name(job["metadata"]["name"], generation)
    return Mount({"configMap": {"name": name}}, "job", JOB_FOLDER, read_only=True)


def claims(wanted: Sequence[Claim]) -> list[Mount]:
    """Returns the mounts of claims, each at its own place.

    Read-only is the mount, not the claim in the pod, so that pods that write and pods that read can share a node.
    """
    return [
        Mount(
            {"persistentVolumeClaim": {"claimName": claim.name}},
            f"claim-{index}",
            claim.mount_path,
            read_only=claim.read_only,
        )
        for index, claim in enumerate(wanted)
    ]


def config_maps(wanted: Sequence[str]) -> list[Mount]:
    """Returns the mounts of ConfigMaps with data, each at its own place: one file for each key."""
    return [
        Mount({"configMap": {"name": name}}, f"data-{index}", f"{CONFIG_MAP_ROOT}/{name}", read_only=True)
        for index, name in enumerate(wanted)
    ]
