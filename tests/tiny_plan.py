"""A plan that is small enough to see through: one attempt, a ConfigMap, a Job, and a word about each.

It uses every action that the reconcile loop knows, on real objects, and leaves out all that makes the real plan big.
"""

from __future__ import annotations

import json
from typing import Any

from anneal_api.attempt import Part
from anneal_api.status import (
    Condition,
    ConditionStatus,
    ConditionType,
    FineTuneJobStatus,
    Phase,
    Run,
    StatusReason,
)
from anneal_operator.plan.actions import Action, Apply, Create, Delete, Event, Plan, SetFinalizer
from anneal_operator.plan.observed import Observed
from anneal_operator.resources.names import generation_name, labels, part_name

HOLD = "tiny/hold"
"""Annotation of a job: it wants the finalizer."""


def tiny_plan(observed: Observed) -> Plan:
    """Makes generation `n` of a job a ConfigMap `<job>-g<n>` and a Job that runs once; deletes the one before."""
    hold = HOLD in (observed.job["metadata"].get("annotations") or {})
    if observed.deleting:
        return Plan(status=None, actions=(SetFinalizer(present=False),))
    before = FineTuneJobStatus.model_validate(observed.job.get("status") or {})
    run = before.run
    events: tuple[Event, ...] = ()
    if run is None or run.generation != observed.generation:
        now = observed.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        run = Run(
            generation=observed.generation,
            attempt=1,
            part=Part.PREPARE,
            image=observed.settings.image,
            startedAt=now,
            partStartedAt=now,
        )
        events = (Event(False, StatusReason.RUNNING, f"generation {run.generation} begins"),)
    name = part_name(observed.name, run.generation, run.attempt, run.part)
    job = observed.child("Job", name)
    actions: list[Action] = [SetFinalizer(present=hold)]
    actions += [
        Delete(child["kind"], child["metadata"]["name"], child["metadata"]["uid"])
        for child in observed.children
        if child["metadata"]["labels"].get("anneal.dev/generation") != str(run.generation)
    ]
    manifest = manifest_of(observed, run.generation)
    there = observed.child("ConfigMap", manifest["metadata"]["name"])
    if there is None or there.get("data") != manifest["data"]:
        actions.append(Apply(manifest))
    if job is None:
        actions.append(Create(job_of(observed, run.generation, name)))
    phase, reason, message = _state(observed, job)
    return Plan(
        status=FineTuneJobStatus(
            observedGeneration=observed.generation,
            phase=phase,
            reason=reason,
            message=message,
            run=run,
            attempt=run.attempt,
            conditions=[_progressing(before, observed, reason, message)],
        ),
        actions=tuple(actions),
        events=events,
    )


def _state(observed: Observed, job: Any) -> tuple[Phase, StatusReason, str]:
    if observed.foreign:
        return Phase.PENDING, StatusReason.NAME_CONFLICT, f"taken: {', '.join(sorted(observed.foreign))}"
    if observed.warnings:
        return Phase.PENDING, StatusReason.UNSCHEDULABLE, str(observed.warnings[-1]["message"])
    if job is not None and any(
        c["type"] == "Complete" for c in (job.get("status") or {}).get("conditions") or ()
    ):
        return Phase.SUCCEEDED, StatusReason.COMPLETED, "done"
    return Phase.PREPARING, StatusReason.RUNNING, "knows KubeRay" if observed.kuberay else "runs"


def _progressing(
    before: FineTuneJobStatus, observed: Observed, reason: StatusReason, message: str
) -> Condition:
    at = before.conditions[0].last_transition_time if before.conditions else None
    return Condition(
        type=ConditionType.PROGRESSING,
        status=ConditionStatus.TRUE,
        reason=reason,
        message=message,
        lastTransitionTime=at or observed.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        observedGeneration=observed.generation,
    )


def _metadata(observed: Observed, name: str, generation: int) -> dict[str, Any]:
    owner = {
        "apiVersion": observed.job["apiVersion"],
        "kind": observed.job["kind"],
        "name": observed.name,
        "uid": observed.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "name": name,
        "namespace": observed.namespace,
        "labels": labels(observed.name, observed.uid, generation=generation),
        "ownerReferences": [owner],
    }


def manifest_of(observed: Observed, generation: int) -> dict[str, Any]:
    """Returns a ConfigMap that depends on the spec."""
    name = generation_name(observed.name, generation)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(observed, name, generation),
        "data": {"job.json": json.dumps(observed.job["spec"], sort_keys=True)},
    }


def job_of(observed: Observed, generation: int, name: str) -> dict[str, Any]:
    """Returns a Job whose pod would end at once, if there were a node for it."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(observed, name, generation),
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }
