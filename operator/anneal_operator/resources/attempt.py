"""What an attempt needs before its first pod: a ConfigMap to report to, and the right to patch that one alone.

Account, Role and RoleBinding are the job's. The Role names the report of the attempt under way and no other, so that a
pod of an older attempt, wherever it still runs, cannot write to this one's.
"""

from __future__ import annotations

from typing import Any

from anneal_api.status import Run
from anneal_operator.resources import names
from anneal_operator.resources.intent import stamped
from anneal_operator.resources.ownership import Object, labels_of, owned

_RBAC = "rbac.authorization.k8s.io"


def attempt_objects(job: Object, run: Run) -> tuple[dict[str, Any], ...]:
    """Returns ConfigMap, ServiceAccount, Role and RoleBinding for an attempt, in the order to make them in.

    The ConfigMap comes without `data`: its keys belong to the pods that report, and applying it again must not
    take them away.

    Args:
        job: The FineTuneJob.
        run: The attempt.
    """
    name = names.attempt_name(job["metadata"]["name"], run.generation, run.attempt)
    of_attempt = owned(job, name, labels_of(job, generation=run.generation, attempt=run.attempt))
    report = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": of_attempt}
    account_name = names.account_name(job["metadata"]["name"])
    metadata = owned(job, account_name, labels_of(job))
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
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": account_name},
        "subjects": [{"kind": "ServiceAccount", "name": account_name, "namespace": metadata["namespace"]}],
    }
    return tuple(stamped(body) for body in (report, account, role, binding))
