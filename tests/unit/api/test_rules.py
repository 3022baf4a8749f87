"""Rules about parts that validate() refuses as a whole so far, so they are asked directly."""

from __future__ import annotations

from typing import Any

import pytest

from anneal_api.job import FineTuneJob
from anneal_api.rules import broken_rules


def where(manifest: dict[str, Any]) -> list[str]:
    return [problem.where for problem in broken_rules(FineTuneJob.model_validate(manifest).spec)]


@pytest.mark.parametrize("steps", [[10, 50], [50, 10, 100], [10, 10, 100], [0, 100], [100, 150]])
def test_rollout_steps_rise_to_100(manifest: dict[str, Any], steps: list[int]) -> None:
    manifest["spec"]["rollout"] = {"steps": [10, 50, 100]}
    assert where(manifest) == []
    manifest["spec"]["rollout"] = {"steps": steps}
    assert where(manifest) == ["spec.rollout.steps"]


def test_min_workers_are_at_most_workers(manifest: dict[str, Any]) -> None:
    manifest["spec"]["resources"] = {"workers": 2, "minWorkers": 2}
    assert where(manifest) == []
    manifest["spec"]["resources"] = {"workers": 2, "minWorkers": 3}
    assert where(manifest) == ["spec.resources.minWorkers"]


def test_a_gap_needs_a_slice_and_a_slice_a_gap(manifest: dict[str, Any]) -> None:
    manifest["spec"]["evaluation"]["gates"] = [{"metric": "f1", "slice": "region", "maxGap": 0.1}]
    assert where(manifest) == []
    manifest["spec"]["evaluation"]["gates"] = [{"metric": "f1", "maxGap": 0.1}]
    assert where(manifest) == ["spec.evaluation.gates[0].maxGap"]
    manifest["spec"]["evaluation"]["gates"] = [{"metric": "f1", "min": 0.1, "slice": "region"}]
    assert where(manifest) == ["spec.evaluation.gates[0].slice"]


def test_the_metric_of_a_search_is_known(manifest: dict[str, Any]) -> None:
    manifest["spec"]["tuning"] = {"trials": 2, "space": {}, "metric": "f3"}
    assert where(manifest) == ["spec.tuning.metric"]
