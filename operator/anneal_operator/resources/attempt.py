"""What an attempt needs before its first pod: a ConfigMap to report to, and the right to patch that one alone."""

from __future__ import annotations

from typing import Any

from anneal_api.status import Run
from anneal_operator.resources import names
from anneal_operator.resources.intent import stamped
from anneal_operator.resources.ownership import Object, labels_of, owned

_RBAC = "rbac.authorization.k8s.io"


def attempt_objects(job: Object, run: Run) -> tuple[dict[str, Any], ...]:
    """Returns ConfigMap, ServiceAccount, Role and RoleBinding of an attempt, in the order to make them in.

    The ConfigMap comes without `data`: its keys belong to the pods that report, and applying it again must not
    take them away. A pod of an older attempt has another account, so it cannot write to this one's.

    Args:
        job: The FineTuneJob.
        run: The attempt.
    """
    name = names.attempt_name(job["metadata"]["name"], run.generation, run.attempt)
    metadata = owned(job, name, labels_of(job, generation=run.generation, attempt=run.attempt))
    report = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata,
        "automountServiceAccountToken": False,
    }
    role = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": metadata,
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["configmaps"],
                "resourceNames": [name],
                "verbs": ["get", "patch"],
            }
        ],
    }
    binding = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": metadata["namespace"]}],
    }
    return tuple(stamped(body) for body in (report, account, role, binding))
