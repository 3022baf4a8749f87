"""The pods of a job, whatever they run: who they run as, what they mount, what they may do.

Every pod fulfils the *restricted* Pod Security Standard, on a root file system that it cannot write to. What a
platform asks of all pods beyond that (a priority class, a runtime class) comes from the operator's settings, never
from a job.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anneal_operator.resources.volumes import Mount
from anneal_operator.settings import Settings

USER = 1000
"""User and group that pods run as; files on claims belong to the group."""

CONTAINER_SECURITY: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
}
"""What every container may not do."""

_POD_SECURITY: Mapping[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    # A store with many files would otherwise be walked through before each pod starts.
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True, slots=True)
class Container:
    """The one container of a pod.

    Attributes:
        name: Its name.
        image: Its image.
        env: Its environment.
        mounts: Its mounts; the pod's volumes come from them.
        resources: Requests and limits.
        command: What it runs; empty: KubeRay writes it.
        more: Fields beside these: probes, ports.
    """

    name: str
    image: str
    env: Sequence[Mapping[str, Any]]
    mounts: Sequence[Mount]
    resources: Mapping[str, Any]
    command: Sequence[str] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    def body(self, settings: Settings) -> dict[str, Any]:
        """Returns the entry of a pod's `containers`."""
        body: dict[str, Any] = {
            "name": self.name,
            "image": self.image,
            "imagePullPolicy": settings.image_pull_policy,
            "env": [dict(variable) for variable in self.env],
            "resources": copy.deepcopy(dict(self.resources)),
            "securityContext": copy.deepcopy(dict(CONTAINER_SECURITY)),
            "volumeMounts": [mount.volume_mount() for mount in self.mounts],
            **self.more,
        }
        if self.command:
            body["command"] = list(self.command)
        return body


@dataclass(frozen=True, slots=True)
class Access:
    """Which token of the API server a pod gets.

    Attributes:
        account: Name of its service account; empty: the namespace's default one.
        token: Whether the account's token is mounted.
    """

    account: str = ""
    token: bool = False


NO_ACCESS = Access()
"""No token at all: what every pod has that does not report."""


def pod_template(
    container: Container,
    labels: Mapping[str, str],
    settings: Settings,
    *,
    access: Access = NO_ACCESS,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the template of a pod.

    Args:
        container: What runs in it.
        labels: Labels of the pod.
        settings: The operator's settings; its overrides are merged in last.
        access: Which token it gets.
        more: Fields of the pod's spec beside the usual ones.
    """
    spec: dict[str, Any] = {
        "automountServiceAccountToken": access.token,
        "containers": [container.body(settings)],
        # A namespace with many Services would fill the environment, and some of its names mean something to Ray.
        "enableServiceLinks": False,
        "securityContext": copy.deepcopy(dict(_POD_SECURITY)),
        "volumes": [mount.volume() for mount in container.mounts],
        **(more or {}),
    }
    if access.account:
        spec["serviceAccountName"] = access.account
    if settings.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    return {"metadata": {"labels": dict(labels)}, "spec": _merged(spec, settings.pod_overrides)}


def _merged(target: object, patch: object) -> Any:  # noqa: ANN401  # any JSON value
    """Returns a value with a JSON merge patch applied (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result
