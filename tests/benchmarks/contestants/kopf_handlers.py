"""The operator that kopf's documentation leads to: handlers of creation, resumption and edits, and the official client.

    python -m kopf run -m tests.benchmarks.contestants.kopf_handlers --all-namespaces --standalone

What is to be made and said is anneal's own: the same builders, the same status. How it is made is kopf's tutorial:
synchronous handlers, objects created through the `kubernetes` package, the status through `patch`, what exists
already taken for done. It goes no further than the first part of an attempt, which is what is measured.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import kopf
import kubernetes
from tests.benchmarks.operator_check import never_seen

from anneal_api.identity import GROUP, VERSION
from anneal_operator.plan.actions import Apply, Create
from anneal_operator.plan.plan import plan
from anneal_operator.resources.names import PART_LABEL
from anneal_operator.settings import Settings

_PLURAL = "finetunejobs"
_CONFLICT = 409
_SETTINGS = Settings(image=os.environ["IMAGE"])


@kopf.on.startup()
def log_in(**_: Any) -> None:
    kubernetes.config.load_kube_config()


@kopf.on.resume(GROUP, VERSION, _PLURAL)
@kopf.on.create(GROUP, VERSION, _PLURAL)
@kopf.on.update(GROUP, VERSION, _PLURAL, field="spec")
def carry_out(body: kopf.Body, patch: kopf.Patch, logger: kopf.Logger, **_: Any) -> None:
    """Makes what a job needs for its first part, and says so."""
    # Nothing is known of the children: whether they are there shows when they are created.
    wanted = plan(never_seen(json.loads(json.dumps(dict(body))), _SETTINGS))
    for action in wanted.actions:
        if isinstance(action, Create | Apply):
            _make(action.body)
            logger.info("%s %s is there", action.body["kind"], action.body["metadata"]["name"])
    assert wanted.status is not None
    status = json.loads(wanted.status.model_dump_json(exclude_none=True))
    if status != body.get("status"):
        patch.status.update(status)


@kopf.on.event("batch", "v1", "jobs", labels={PART_LABEL: kopf.PRESENT})
def follow(body: kopf.Body, logger: kopf.Logger, **_: Any) -> None:
    """Hears of the parts, as whoever goes on with the next one has to."""
    if body.get("status", {}).get("completionTime"):
        logger.info("%s has ended", body["metadata"]["name"])


def _make(body: Mapping[str, Any]) -> None:
    namespace = body["metadata"]["namespace"]
    core, rbac = kubernetes.client.CoreV1Api(), kubernetes.client.RbacAuthorizationV1Api()
    create = {
        "ConfigMap": core.create_namespaced_config_map,
        "ServiceAccount": core.create_namespaced_service_account,
        "Role": rbac.create_namespaced_role,
        "RoleBinding": rbac.create_namespaced_role_binding,
        "Job": kubernetes.client.BatchV1Api().create_namespaced_job,
    }
    try:
        create[body["kind"]](namespace, dict(body))
    except kubernetes.client.ApiException as error:
        if error.status != _CONFLICT:
            raise
