"""The Job that empties a deleted job's part of the model store."""

from __future__ import annotations

from typing import Any

from anneal_api.job import FineTuneJobSpec
from anneal_operator.resources import names, places, volumes
from anneal_operator.resources.environment import cleanup_env
from anneal_operator.resources.intent import stamped
from anneal_operator.resources.ownership import Object, labels_of, owned
from anneal_operator.resources.pods import Container, pod_template
from anneal_operator.settings import Settings

_BACKOFF_LIMIT = 3
_DEADLINE_SECONDS = 3600
_RESOURCES = {
    "requests": {"cpu": "50m", "memory": "128Mi"},
    "limits": {"cpu": "1", "memory": "1Gi"},
}


def cleanup_job(job: Object, spec: FineTuneJobSpec, settings: Settings) -> dict[str, Any]:
    """Returns the Job that deletes what the job has in the store.

    It needs neither the manifest nor an account: both may be gone by then.

    Args:
        job: The FineTuneJob, being deleted.
        spec: Its spec.
        settings: The operator's settings.
    """
    labels = labels_of(job, part="cleanup")
    metadata = owned(job, names.cleanup_name(job["metadata"]["name"]), labels)
    # A deletion in the foreground takes the dependents that block it first, this one included, over and over.
    metadata["ownerReferences"][0]["blockOwnerDeletion"] = False
    container = Container(
        name="cleanup",
        image=settings.image,
        env=cleanup_env(job, spec, settings),
        mounts=[
            *volumes.scratch(),
            *volumes.claims(places.store_claims(spec, settings, read_only=False)),
        ],
        resources=_RESOURCES,
        command=("python", "-m", "anneal_trainer.cluster", "cleanup"),
    )
    return stamped(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata,
            "spec": {
                "backoffLimit": _BACKOFF_LIMIT,
                "activeDeadlineSeconds": _DEADLINE_SECONDS,
                "template": pod_template(container, labels, settings, more={"restartPolicy": "Never"}),
            },
        }
    )
