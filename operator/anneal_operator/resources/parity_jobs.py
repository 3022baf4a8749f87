"""The Job that asks a served version what it answered when it was evaluated."""

from __future__ import annotations

from typing import Any

from anneal_api.job import FineTuneJobSpec
from anneal_api.status import VersionStatus
from anneal_operator.resources import names, places, volumes
from anneal_operator.resources.environment import as_env, store_env
from anneal_operator.resources.intent import stamped
from anneal_operator.resources.ownership import Object, labels_of, owned
from anneal_operator.resources.pods import Container, pod_template
from anneal_operator.settings import Settings

_BACKOFF_LIMIT = 3
_DEADLINE_SECONDS = 900
_RESOURCES = {
    "requests": {"cpu": "50m", "memory": "256Mi"},
    "limits": {"cpu": "1", "memory": "2Gi"},
}


def service_url(job: Object, name: str = "") -> str:
    """Returns where the served model answers inside the cluster.

    Args:
        job: The FineTuneJob.
        name: Name of its RayService; empty: the one that a new one gets.
    """
    metadata = job["metadata"]
    return f"http://{name or names.service_name(metadata['name'])}.{metadata['namespace']}.svc"


def parity_job(
    job: Object, spec: FineTuneJobSpec, version: VersionStatus, settings: Settings, service: str = ""
) -> dict[str, Any]:
    """Returns the Job that replays a version's held-out rows through the endpoint and compares the answers.

    It runs beside the service, in the image of the version, and reads the model's folder: the operator itself sees
    no model data.

    Args:
        job: The FineTuneJob.
        spec: Its spec.
        version: The version that is served.
        settings: The operator's settings.
        service: Name of the RayService; empty: the one that a new one gets.
    """
    labels = labels_of(job, generation=version.generation, part="parity", version=version.version)
    container = Container(
        name="parity",
        image=version.image,
        env=as_env({}) + store_env(spec, settings),
        mounts=[
            *volumes.scratch(),
            *volumes.claims(places.store_claims(spec, settings, read_only=True)),
        ],
        resources=_RESOURCES,
        command=(
            "python",
            "-m",
            "anneal_serving.parity",
            "--url",
            service_url(job, service),
            "--version-folder",
            places.version_folder(spec, version, settings),
        ),
    )
    name = names.probe_name(job["metadata"]["name"], version.version)
    return stamped(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": owned(job, name, labels),
            "spec": {
                "backoffLimit": _BACKOFF_LIMIT,
                "activeDeadlineSeconds": _DEADLINE_SECONDS,
                "template": pod_template(container, labels, settings, more={"restartPolicy": "Never"}),
            },
        }
    )
