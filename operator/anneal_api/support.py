"""Which parts of the manifest do something where: on one machine, on a cluster, or not yet.

A field that would be ignored is refused, never accepted. When a feature lands, its line here goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from anneal_api.errors import Problem
from anneal_api.job import FineTuneJob
from anneal_api.place import Place
from anneal_api.suggestions import manifest_fields
from anneal_api.tasks import Task
from anneal_api.uris import is_hub_id, scheme_of

__all__ = ["CLUSTER_ONLY", "LATER", "LATER_SCHEMES", "SCHEMES", "TASKS", "Place", "unsupported"]

LATER: dict[str, str] = {
    "spec.data.augment": "Remove it; add the rows to the training file instead.",
    "spec.data.evalSets": "Remove it; score such rows with `anneal predict` instead.",
    "spec.data.slices": "Remove it.",
    "spec.training.parallelism": "Remove it; every worker holds the whole model.",
    "spec.training.lora": "Remove it; all weights are trained.",
    "spec.training.pretrain": "Remove it.",
    "spec.tuning": "Remove it; set the values in `spec.training`.",
    "spec.resources.minWorkers": "Remove it; the job runs on exactly `workers` workers.",
    "spec.evaluation.gates[].slice": "Remove it; gate on all test rows.",
    "spec.evaluation.gates[].maxGap": "Remove it; use `min`, `max` or `versusIncumbent`.",
    "spec.compression.variants[].prune": "Remove it; use `quantize: {}`.",
    "spec.compression.variants[].distill": "Remove it; use `quantize: {}`.",
    "spec.rollout": "Remove it; a published version takes over at once.",
}
"""Per field that does nothing yet, what to do instead. Left out or equal to its default, it is no problem."""

CLUSTER_ONLY: dict[str, str] = {
    "spec.model.secretRef": "Remove it and set HF_TOKEN, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for a bucket",
    "spec.data.secretRef": "Remove it and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "spec.store.secretRef": "Remove it (on one machine the store is a folder)",
    "spec.resources.memory": "Remove it (`training.maxBatchTokens` bounds memory)",
    "spec.resources.sharedMemory": "Remove it",
    "spec.resources.nodeSelector": "Remove it",
    "spec.resources.tolerations": "Remove it",
    "spec.resources.queue": "Remove it",
    "spec.retention": "Remove it (every version is kept)",
    "spec.deadline": "Remove it",
    "spec.suspend": "Remove it",
}
"""Per field that means something on a cluster only, what to do on one machine."""

TASKS = frozenset({Task.TEXT_CLASSIFICATION})
"""The tasks that can be trained."""

LATER_SCHEMES = frozenset({"gs"})
"""The kinds of place that cannot be read anywhere yet."""

_MODEL_SCHEMES = {
    Place.MACHINE: frozenset({"", "file", "pkg", "s3"}),
    Place.CLUSTER: frozenset({"", "pvc", "pkg", "s3"}),
}
_STORE_SCHEMES = {Place.MACHINE: frozenset({"", "file"}), Place.CLUSTER: frozenset({"pvc", "s3"})}
_DATA_SCHEMES = {
    Place.MACHINE: frozenset({"", "file", "pkg", "hf", "s3"}),
    Place.CLUSTER: frozenset({"pvc", "configmap", "pkg", "hf", "s3"}),
}

SCHEMES: dict[str, dict[Place, frozenset[str]]] = {
    "spec.model.source": _MODEL_SCHEMES,
    "spec.store.uri": _STORE_SCHEMES,
    "spec.data.train.uri": _DATA_SCHEMES,
    "spec.data.validation.uri": _DATA_SCHEMES,
    "spec.data.test.uri": _DATA_SCHEMES,
}
"""Per field that names a place, the schemes that can be read where; an empty one is a path or a hub id."""


def unsupported(job: FineTuneJob, place: Place) -> list[Problem]:
    """Returns a problem for each thing that the job asks for and that does nothing at a place.

    Args:
        job: A well-formed job.
        place: Where it is to run.
    """
    problems = []
    task = job.spec.task
    if task not in TASKS:
        supported = " or ".join(f"`{known}`" for known in sorted(TASKS))
        problems.append(Problem(f"The task `{task}` is not supported yet.", "spec.task", f"Use {supported}."))
    for pattern in SCHEMES:
        for path, uri in _values(job, pattern):
            if isinstance(uri, str):
                problems += _unreachable(pattern, path, uri, place)
    for pattern, remedy in LATER.items():
        problems += _asked_for(job, pattern, "`{}` is not supported yet.", remedy)
    if place is Place.MACHINE:
        for pattern, remedy in CLUSTER_ONLY.items():
            either = f"{remedy}, or apply the manifest to a cluster."
            problems += _asked_for(job, pattern, "`{}` means nothing on one machine.", either)
    return problems


def _asked_for(job: FineTuneJob, pattern: str, what: str, remedy: str) -> Iterator[Problem]:
    field = manifest_fields()[pattern]
    for path, value in _values(job, pattern):
        if value != field.default:
            yield Problem(what.format(field.name), path, remedy)


def _unreachable(pattern: str, path: str, uri: str, place: Place) -> Iterator[Problem]:
    scheme, schemes = scheme_of(uri), SCHEMES[pattern]
    if place is Place.CLUSTER and scheme in {"", "file"}:
        if scheme or scheme not in schemes[place] or not is_hub_id(uri):
            what = "A pod does not have the disk of the machine that the manifest is written on."
            yield Problem(what, path, _remote_places(pattern))
    elif place is Place.MACHINE and scheme in schemes[Place.CLUSTER] - schemes[place]:
        what = f"Places like `{scheme}://` are on a cluster."
        if scheme == "s3":
            what = "On one machine data and models may lie in a bucket, but not the store."
        yield Problem(what, path, "Use a path on this machine, or apply the manifest to a cluster.")
    elif scheme in LATER_SCHEMES:
        what = f"Places like `{scheme}://` are not supported yet."
        remedy = "Use a path on this machine." if place is Place.MACHINE else _remote_places(pattern)
        yield Problem(what, path, remedy)


def _remote_places(pattern: str) -> str:
    ways = {
        "pvc": "Put it on a PersistentVolumeClaim and write `pvc://CLAIM/PATH`",
        "configmap": "a small file into a ConfigMap and write `configmap://NAME/FILE`",
        "s3": "into a bucket and write `s3://BUCKET/KEY`",
        "pkg": "into a package of the image and write `pkg://PACKAGE/PATH`",
        "hf": "on the hub and write `hf://NAME`",
        "": "on the hub and write `OWNER/NAME`",
    }
    schemes = SCHEMES[pattern][Place.CLUSTER]
    return f"{', or '.join(words for scheme, words in ways.items() if scheme in schemes)}."


def _values(job: FineTuneJob, pattern: str) -> Iterator[tuple[str, object]]:
    """Yields the place and value of each field that matches; nothing where a part above it is absent."""
    found: list[tuple[str, Any]] = [("", job)]
    for name in pattern.split("."):
        found = [step for path, part in found for step in _step(path, part, name)]
    yield from found


def _step(path: str, part: object, name: str) -> Iterator[tuple[str, object]]:
    if not isinstance(part, BaseModel):
        return
    field, items, _ = name.partition("[]")
    attribute = next(key for key, info in type(part).model_fields.items() if (info.alias or key) == field)
    value = getattr(part, attribute)
    place = f"{path}.{field}" if path else field
    if items:
        yield from ((f"{place}[{index}]", item) for index, item in enumerate(value))
    else:
        yield place, value
