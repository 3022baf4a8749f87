from __future__ import annotations

import copy
from typing import Any

import pytest

from anneal_api.suggestions import manifest_fields
from anneal_api.support import FIELDS, LATER_SCHEMES
from anneal_api.validation import validate

EXAMPLES: dict[str, object] = {
    "spec.model.secretRef": {"name": "hub-token"},
    "spec.store.secretRef": {"name": "s3"},
    "spec.data.augment": [{"synonyms": {"rate": 0.1}}],
    "spec.data.evalSets": [{"name": "negation", "kind": "edge-case", "uri": "negation.csv"}],
    "spec.data.slices": ["region"],
    "spec.training.parallelism": {"shard": 2},
    "spec.training.lora": {},
    "spec.training.pretrain": {},
    "spec.tuning": {"trials": 4, "space": {"learningRate": {"choice": [1e-5]}}},
    "spec.resources.minWorkers": 1,
    "spec.resources.memory": "16Gi",
    "spec.resources.sharedMemory": "4Gi",
    "spec.resources.nodeSelector": {"gpu": "a100"},
    "spec.resources.tolerations": [{"key": "gpu"}],
    "spec.resources.queue": "team-a",
    "spec.evaluation.gates[].slice": "region",
    "spec.evaluation.gates[].maxGap": 0.05,
    "spec.compression.variants[].prune": {"heads": 0.3},
    "spec.compression.variants[].distill": {"layers": 3},
    "spec.rollout": {},
    "spec.retention": {},
    "spec.deadline": "12h",
    "spec.suspend": True,
}
"""Per unsupported field, a value that is well-formed."""


def with_value(manifest: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    changed = copy.deepcopy(manifest)
    part: Any = changed
    *parents, last = path.split(".")
    for parent in parents:
        name, item, _ = parent.partition("[]")
        part = part[name][0] if item else part.setdefault(name, {"uri": "store"} if name == "store" else {})
    part[last] = value
    return changed


def test_every_unsupported_field_has_an_example() -> None:
    assert set(EXAMPLES) == set(FIELDS)


@pytest.mark.parametrize("path", sorted(FIELDS))
def test_an_unsupported_field_is_refused(manifest: dict[str, Any], path: str) -> None:
    problems = validate(with_value(manifest, path, EXAMPLES[path])).problems
    told = {problem.where: problem for problem in problems}
    problem = told[path.replace("[]", "[0]")]
    assert "not supported yet" in problem.what
    assert problem.remedy


@pytest.mark.parametrize("path", sorted(path for path in FIELDS if "[]" not in path))
def test_an_unsupported_field_at_its_default_is_accepted(manifest: dict[str, Any], path: str) -> None:
    default = manifest_fields()[path].default
    written = {} if path == "spec.training.parallelism" else default
    assert validate(with_value(manifest, path, written)).problems == ()


def test_a_task_of_later_is_refused_once(manifest: dict[str, Any]) -> None:
    manifest["spec"]["task"] = "summarization"
    problems = validate(manifest).problems
    assert [problem.where for problem in problems] == ["spec.task"]
    assert "not supported yet" in problems[0].what


@pytest.mark.parametrize("path", sorted(LATER_SCHEMES))
@pytest.mark.parametrize("scheme", ["pvc", "s3", "gs", "S3"])
def test_a_place_of_later_is_refused(manifest: dict[str, Any], path: str, scheme: str) -> None:
    if path == "spec.data.validation.uri":
        del manifest["spec"]["data"]["split"]["validation"]
    if path == "spec.data.test.uri":
        del manifest["spec"]["data"]["split"]["test"]
    problems = validate(with_value(manifest, path, f"{scheme}://bucket/reviews")).problems
    assert [problem.where for problem in problems] == [path]
    assert "not supported yet" in problems[0].what
