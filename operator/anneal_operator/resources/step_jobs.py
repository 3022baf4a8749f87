"""The parts of an attempt that run in one pod, without Ray: preparing and finishing."""

from __future__ import annotations

import math
from typing import Any

from anneal_api.attempt import Part
from anneal_api.job import FineTuneJobSpec
from anneal_api.schema import parse_duration
from anneal_api.status import Run, VersionState
from anneal_operator.resources import names, places, volumes
from anneal_operator.resources.environment import attempt_env
from anneal_operator.resources.intent import stamped
from anneal_operator.resources.ownership import Object, labels_of, owned
from anneal_operator.resources.pods import Access, Container, pod_template
from anneal_operator.settings import Settings

_GRACE_SECONDS = 30
_MOST_SECONDS = 2**31 - 1  # KubeRay keeps a deadline in 32 bits


def step_job(job: Object, spec: FineTuneJobSpec, run: Run, settings: Settings) -> dict[str, Any]:
    """Returns the Job that prepares or finishes.

    It tries once: attempts and the waits between them are the operator's, which can tell a full disk from bad data.

    Args:
        job: The FineTuneJob.
        spec: Its spec.
        run: The attempt, at the part to run.
        settings: The operator's settings.

    Raises:
        ValueError: The part runs on Ray.
    """
    if run.part is Part.TRAIN:
        raise ValueError("training runs in a RayJob")
    name = job["metadata"]["name"]
    labels = labels_of(job, generation=run.generation, attempt=run.attempt, part=run.part.value)
    mounts = [
        *volumes.scratch(),
        volumes.manifest(job, run.generation),
        *volumes.claims(places.job_claims(spec, settings)),
        *volumes.config_maps(places.job_config_maps(spec)),
    ]
    container = Container(
        name=run.part.value,
        image=run.image,
        env=attempt_env(job, spec, run, settings, _kept_versions(job) if run.part is Part.FINISH else {}),
        mounts=mounts,
        resources=settings.step_resources,
        command=("python", "-m", "anneal_trainer.cluster", run.part.value),
    )
    template = pod_template(
        container,
        labels,
        settings,
        access=Access(names.account_name(name), token=True),
        more={"restartPolicy": "Never", "terminationGracePeriodSeconds": _GRACE_SECONDS},
    )
    return stamped(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": owned(job, names.part_name(name, run.generation, run.attempt, run.part), labels),
            "spec": {"backoffLimit": 0, **deadline(spec), "template": template},
        }
    )


def deadline(spec: FineTuneJobSpec) -> dict[str, int]:
    """Returns `activeDeadlineSeconds` of a part, where the job has a deadline.

    The deadline counts from apply, so this alone would be too long: it is what stops a part when the operator is
    away.
    """
    if spec.deadline is None:
        return {}
    return {"activeDeadlineSeconds": min(max(1, math.ceil(parse_duration(spec.deadline))), _MOST_SECONDS)}


def _kept_versions(job: Object) -> dict[str, str]:
    """Returns the variable with the versions that answer or are about to: retention must not take them away."""
    versions = (job.get("status") or {}).get("versions") or []
    kept = [str(each["version"]) for each in versions if each["state"] != VersionState.PREVIOUS.value]
    return {"ANNEAL_SERVING_VERSION": ",".join(kept)} if kept else {}
