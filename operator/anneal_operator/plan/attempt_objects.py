"""What an attempt needs in the cluster: what its step runs in, and what has to be there before."""

from __future__ import annotations

from typing import Any

from anneal_api.attempt import Part
from anneal_api.job import FineTuneJobSpec
from anneal_api.status import Run
from anneal_operator.plan.actions import Action, Apply, Create
from anneal_operator.plan.observed import Object, Observed
from anneal_operator.plan.stores import pinned
from anneal_operator.resources.attempt import attempt_objects
from anneal_operator.resources.intent import differs
from anneal_operator.resources.manifest import manifest_configmap
from anneal_operator.resources.names import generation_name
from anneal_operator.resources.rayjobs import train_rayjob
from anneal_operator.resources.step_jobs import step_job


def surroundings(observed: Observed, run: Run) -> list[Action]:
    """Returns what makes the manifest, the report's place and the rights of an attempt be there."""
    actions: list[Action] = []
    if observed.child("ConfigMap", generation_name(observed.name, run.generation)) is None:
        actions.append(Create(manifest_configmap(_as_of(observed.job, run.generation))))
    for body in attempt_objects(observed.job, run):
        live = observed.child(body["kind"], body["metadata"]["name"])
        if live is None:
            # Created, and not applied: that costs the API server half, and finds out by itself what is there.
            actions.append(Create(body))
        elif body["kind"] != "ConfigMap" and differs(live, body):  # what pods wrote into that is theirs
            actions.append(Apply(body))
    return actions


def step_object(observed: Observed, spec: FineTuneJobSpec, run: Run) -> dict[str, Any]:
    """Returns the Job or RayJob that runs the step that an attempt is at, in the store that the attempt began in."""
    build = train_rayjob if run.part is Part.TRAIN else step_job
    spec, settings = pinned(spec, observed.settings, run.store)
    return build(observed.job, spec, run, settings)


def _as_of(job: Object, generation: int) -> dict[str, Any]:
    """Returns a job as it was in an earlier generation, as far as that attempt's work goes."""
    return {**job, "metadata": {**job["metadata"], "generation": generation}}
