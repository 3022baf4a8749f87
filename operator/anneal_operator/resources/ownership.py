"""Who an object belongs to: its name, labels and owner, the same for all that is made for a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anneal_api.identity import API_VERSION, KIND
from anneal_operator.resources import names

Object = Mapping[str, Any]
"""A Kubernetes object as the API server gives it."""


def owned(
    job: Object, name: str, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Returns the metadata of an object that goes when its job goes.

    Args:
        job: The FineTuneJob.
        name: Name of the object.
        labels: Its labels, made with `labels_of`.
        annotations: Its annotations.
    """
    metadata = job["metadata"]
    result: dict[str, Any] = {
        "name": name,
        "namespace": metadata["namespace"],
        "labels": dict(labels),
        "ownerReferences": [owner_reference(job)],
    }
    if annotations:
        result["annotations"] = dict(annotations)
    return result


def owner_reference(job: Object) -> dict[str, Any]:
    """Returns the reference by which an object is the job's own."""
    metadata = job["metadata"]
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def labels_of(
    job: Object,
    *,
    generation: int | None = None,
    attempt: int | None = None,
    part: str | None = None,
    version: int | None = None,
) -> dict[str, str]:
    """Returns the labels of a job's object; see `names.labels`."""
    metadata = job["metadata"]
    return names.labels(
        metadata["name"], metadata["uid"], generation=generation, attempt=attempt, part=part, version=version
    )
