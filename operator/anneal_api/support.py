"""What a manifest may already say but this version does not do yet.

Such a field is refused, never accepted and ignored. When a feature lands, its line here goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from anneal_api.errors import Problem
from anneal_api.job import FineTuneJob
from anneal_api.suggestions import manifest_fields
from anneal_api.tasks import Task

FIELDS: dict[str, str] = {
    "spec.model.secretRef": "Remove it; download the model and name its folder instead.",
    "spec.store.secretRef": "Remove it; use a store on this machine.",
    "spec.data.augment": "Remove it; add the rows to the training file instead.",
    "spec.data.evalSets": "Remove it; score such rows with `anneal predict` instead.",
    "spec.data.slices": "Remove it.",
    "spec.training.parallelism": "Remove it; every worker holds the whole model.",
    "spec.training.lora": "Remove it; all weights are trained.",
    "spec.training.pretrain": "Remove it.",
    "spec.tuning": "Remove it; set the values in `spec.training`.",
    "spec.resources.minWorkers": "Remove it; the job runs on exactly `workers` workers.",
    "spec.resources.memory": "Remove it; `training.maxBatchTokens` bounds memory.",
    "spec.resources.sharedMemory": "Remove it.",
    "spec.resources.nodeSelector": "Remove it.",
    "spec.resources.tolerations": "Remove it.",
    "spec.resources.queue": "Remove it.",
    "spec.evaluation.gates[].slice": "Remove it; gate on all test rows.",
    "spec.evaluation.gates[].maxGap": "Remove it; use `min`, `max` or `versusIncumbent`.",
    "spec.compression.variants[].prune": "Remove it; use `quantize: {}`.",
    "spec.compression.variants[].distill": "Remove it; use `quantize: {}`.",
    "spec.rollout": "Remove it; serve the published version with `anneal serve`.",
    "spec.retention": "Remove it; every version is kept.",
    "spec.deadline": "Remove it.",
    "spec.suspend": "Remove it.",
}
"""Per field, what to do instead. A field that is left out or equals its default is no problem."""

TASKS = frozenset({Task.TEXT_CLASSIFICATION})
"""The tasks that can be trained."""

LATER_SCHEMES: dict[str, frozenset[str]] = {
    "spec.model.source": frozenset({"pvc", "s3", "gs"}),
    "spec.store.uri": frozenset({"pvc", "s3", "gs"}),
    "spec.data.train.uri": frozenset({"pvc", "s3", "gs"}),
    "spec.data.validation.uri": frozenset({"pvc", "s3", "gs"}),
    "spec.data.test.uri": frozenset({"pvc", "s3", "gs"}),
}
"""Per field with a place, the kinds of place that cannot be read yet."""


def unsupported(job: FineTuneJob) -> list[Problem]:
    """Returns a problem for each thing that the job asks for and this version does not do yet."""
    problems = []
    task = job.spec.task
    if task not in TASKS:
        supported = " or ".join(f"`{known}`" for known in sorted(TASKS))
        problems.append(Problem(f"The task `{task}` is not supported yet.", "spec.task", f"Use {supported}."))
    for pattern, schemes in LATER_SCHEMES.items():
        for path, uri in _values(job, pattern):
            if isinstance(uri, str) and scheme_of(uri) in schemes:
                what = f"Places like `{scheme_of(uri)}://` are not supported yet."
                problems.append(Problem(what, path, "Use a path on this machine."))
    for pattern, remedy in FIELDS.items():
        field = manifest_fields()[pattern]
        for path, value in _values(job, pattern):
            if value != field.default:
                what = f"`{field.name}` is not supported yet."
                problems.append(Problem(what, path, remedy))
    return problems


def scheme_of(uri: str) -> str:
    """Returns the scheme of a place in lower case: `pvc` of `pvc://claim/path`. A path or hub id has none."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", uri)
    return match.group(1).lower() if match else ""


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
