"""The environment variables of a job's pods. Secrets come by reference: no value of one is ever in an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anneal_api.job import FineTuneJobSpec
from anneal_api.status import Run
from anneal_operator.resources import names, places
from anneal_operator.resources.ownership import Object
from anneal_operator.resources.places import HOME
from anneal_operator.resources.volumes import JOB_FILE, JOB_FOLDER
from anneal_operator.settings import Settings

HUB_TOKEN_KEY = "token"
"""Key of the Secret that `spec.model.secretRef` names, for a model of the hub."""

DATA_VARIABLES = "ANNEAL_DATA_"
MODEL_VARIABLES = "ANNEAL_MODEL_"
STORE_VARIABLES = "ANNEAL_STORE_"
"""How the variables begin that open the bucket with the data, the model, or the store."""

_BUCKET_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_OPTIONAL_BUCKET_KEYS = (
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
)

_EVERYWHERE = {
    "HOME": HOME,
    "HF_HOME": f"{HOME}/.cache/huggingface",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONUNBUFFERED": "1",
}


def as_env(variables: Mapping[str, str]) -> list[dict[str, Any]]:
    """Returns variables as the `env` of a container, with those that every pod has before them."""
    return [{"name": name, "value": value} for name, value in {**_EVERYWHERE, **variables}.items()]


def attempt_env(
    job: Object,
    spec: FineTuneJobSpec,
    run: Run,
    settings: Settings,
    more: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Returns the `env` of the containers of an attempt.

    Args:
        job: The FineTuneJob.
        spec: Its spec.
        run: The attempt.
        settings: The operator's settings.
        more: Variables beside the usual ones.
    """
    metadata = job["metadata"]
    env = as_env(
        {
            "ANNEAL_JOB_FILE": f"{JOB_FOLDER}/{JOB_FILE}",
            "ANNEAL_ATTEMPT": str(run.attempt),
            "ANNEAL_GENERATION": str(run.generation),
            "ANNEAL_JOB_UID": metadata["uid"],
            "ANNEAL_REPORT_CONFIGMAP": names.attempt_name(metadata["name"], run.generation, run.attempt),
            "ANNEAL_NAMESPACE": metadata["namespace"],
            "ANNEAL_STORE": places.told_store(spec, settings),
            "ANNEAL_WORK": places.work_folder(spec, settings),
            **(more or {}),
        }
    )
    if spec.data.secret_ref is not None:
        env += _bucket_env(DATA_VARIABLES, spec.data.secret_ref.name)
    if spec.model.secret_ref is not None:
        if places.is_in_bucket(spec.model.source):
            env += _bucket_env(MODEL_VARIABLES, spec.model.secret_ref.name)
        else:
            env.append(_from_secret("HF_TOKEN", spec.model.secret_ref.name, HUB_TOKEN_KEY))
    return env + store_env(spec, settings)


def store_env(spec: FineTuneJobSpec, settings: Settings) -> list[dict[str, Any]]:
    """Returns the variables that open the bucket with the store; none where no Secret does."""
    secret = places.store_secret(spec, settings)
    return _bucket_env(STORE_VARIABLES, secret) if secret else []


def cleanup_env(job: Object, spec: FineTuneJobSpec, settings: Settings) -> list[dict[str, Any]]:
    """Returns the `env` of the container that empties a job's part of the store."""
    metadata = job["metadata"]
    env = as_env(
        {
            "ANNEAL_JOB_UID": metadata["uid"],
            "ANNEAL_JOB_NAME": metadata["name"],
            "ANNEAL_NAMESPACE": metadata["namespace"],
            "ANNEAL_STORE": places.told_store(spec, settings),
            "ANNEAL_WORK": places.work_folder(spec, settings),
        }
    )
    return env + store_env(spec, settings)


def _bucket_env(prefix: str, secret: str) -> list[dict[str, Any]]:
    """Returns the variables that open a bucket. A Secret may have other keys too, and none of them gets into a pod."""
    needed = [_from_secret(f"{prefix}{key}", secret, key) for key in _BUCKET_KEYS]
    return needed + [
        _from_secret(f"{prefix}{key}", secret, key, optional=True) for key in _OPTIONAL_BUCKET_KEYS
    ]


def _from_secret(name: str, secret: str, key: str, *, optional: bool = False) -> dict[str, Any]:
    reference: dict[str, Any] = {"name": secret, "key": key}
    if optional:
        reference["optional"] = True
    return {"name": name, "valueFrom": {"secretKeyRef": reference}}
