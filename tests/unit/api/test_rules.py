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


@pytest.mark.parametrize(
    ("toleration", "field"),
    [
        ({"key": "gpu"}, None),
        ({"operator": "Exists"}, None),
        ({"key": "gpu", "value": "a100", "effect": "NoExecute", "tolerationSeconds": 0}, None),
        ({}, ""),
        ({"value": "a100"}, ""),
        ({"key": "gpu", "operator": "Exists", "value": "a100"}, ".value"),
        ({"key": "gpu", "tolerationSeconds": 60}, ".tolerationSeconds"),
        ({"key": "gpu", "effect": "NoSchedule", "tolerationSeconds": 60}, ".tolerationSeconds"),
    ],
)
def test_a_toleration_is_one_that_a_pod_may_have(
    manifest: dict[str, Any], toleration: dict[str, Any], field: str | None
) -> None:
    manifest["spec"]["resources"] = {"tolerations": [{"operator": "Exists"}, toleration]}
    assert where(manifest) == ([] if field is None else [f"spec.resources.tolerations[1]{field}"])


@pytest.mark.parametrize(
    "uri", ["pvc://Claim/x", "pvc://-a/x", "pvc://a_b", "pvc:///x", "pvc://c/../x", "pvc://c/a/.."]
)
def test_a_claim_has_a_name_and_is_not_left(manifest: dict[str, Any], uri: str) -> None:
    manifest["spec"]["data"]["train"] = {"uri": uri}
    assert where(manifest) == ["spec.data.train.uri"]


@pytest.mark.parametrize("uri", ["pvc://claim", "pvc://claim/", "PVC://my.claim-2/a/..b/c.csv"])
def test_a_claim_may_have_a_path(manifest: dict[str, Any], uri: str) -> None:
    manifest["spec"]["data"]["train"] = {"uri": uri}
    assert where(manifest) == []


@pytest.mark.parametrize(
    "uri",
    [
        "configmap://data",
        "configmap://data/",
        "configmap:///x.csv",
        "configmap://Data/x.csv",
        "configmap://d/a/b",
        "configmap://d/..",
        "configmap://d/..data",
        "configmap://d/.",
        "configmap://d/x y",
        f"configmap://d/{'x' * 254}",
    ],
)
def test_a_file_in_a_config_map_is_a_key(manifest: dict[str, Any], uri: str) -> None:
    manifest["spec"]["data"]["train"] = {"uri": uri}
    assert where(manifest) == ["spec.data.train.uri"]


@pytest.mark.parametrize(
    "uri", ["configmap://data/x.csv", "ConfigMap://my.data-2/.X_1..csv", f"configmap://d/{'x' * 252}"]
)
def test_a_key_may_be_any_that_a_config_map_has(manifest: dict[str, Any], uri: str) -> None:
    manifest["spec"]["data"]["train"] = {"uri": uri}
    assert where(manifest) == []


@pytest.mark.parametrize(
    "uri", ["s3://Data/x", "s3://ab/x", "s3:///x", "s3://-abc/x", "s3://a_bc/x", "s3://abc-"]
)
def test_a_bucket_has_a_name(manifest: dict[str, Any], uri: str) -> None:
    manifest["spec"]["data"]["train"] = {"uri": uri}
    assert where(manifest) == ["spec.data.train.uri"]


@pytest.mark.parametrize("prefix", [".", "..", "./a", "a/..", "a/./b", "a/../b", "/../a", "a/..//"])
def test_a_store_in_a_bucket_has_a_prefix_that_leads_nowhere_else(
    manifest: dict[str, Any], prefix: str
) -> None:
    manifest["spec"]["store"] = {"uri": f"s3://models/{prefix}"}
    assert where(manifest) == ["spec.store.uri"]


@pytest.mark.parametrize(
    "uri", ["s3://models", "S3://models/", "s3://my.models-2/a//b/.c/d..e/...", "s3://abc/a b/"]
)
def test_a_store_may_be_a_bucket_or_any_other_prefix_in_one(manifest: dict[str, Any], uri: str) -> None:
    manifest["spec"]["store"] = {"uri": uri, "secretRef": {"name": "s3"}}
    assert where(manifest) == []


@pytest.mark.parametrize("uri", ["pvc://models/s3", "store", "file:///s3/store"])
def test_a_secret_of_the_store_opens_a_bucket(manifest: dict[str, Any], uri: str) -> None:
    manifest["spec"]["store"] = {"uri": uri, "secretRef": {"name": "s3"}}
    assert where(manifest) == ["spec.store.secretRef"]


def test_a_secret_of_the_data_opens_a_bucket(manifest: dict[str, Any]) -> None:
    manifest["spec"]["data"]["secretRef"] = {"name": "s3"}
    assert where(manifest) == ["spec.data.secretRef"]
    manifest["spec"]["data"] |= {"test": {"uri": "S3://data/test.csv"}, "split": {"validation": 0.1}}
    assert where(manifest) == []


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
