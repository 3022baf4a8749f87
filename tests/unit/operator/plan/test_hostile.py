"""Whatever a pod reports and whatever a status holds, a plan is made and its status is a valid one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from model_cluster import SPEC, ModelCluster, at_work
from model_results import failure, published

from anneal_api.crd import custom_resource_definition
from anneal_operator.resources.names import PART_LABEL

_SCHEMA = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][
    "status"
]
_STATUS = Draft202012Validator(_SCHEMA)
_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(
        [0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 1e308, -1.5, float("inf"), float("nan")]
    ),
    st.sampled_from(
        ["", "x", "../..", "x" * 5000, "\u0000", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"]
    ),
    st.sampled_from([[], {}, [[]], {"x": {}}]),
)
_PROGRESS = {
    "step": 5,
    "totalSteps": 10,
    "epoch": 0.5,
    "loss": 0.1,
    "tokensPerSecond": 5.0,
    "etaSeconds": 5.0,
}


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict) and value:
        return [leaf for name, item in value.items() for leaf in _leaves(item, (*path, name))]
    if isinstance(value, list) and value:
        return [leaf for index, item in enumerate(value) for leaf in _leaves(item, (*path, index))]
    return [path]


def _replaced(document: Any, path: tuple[Any, ...], value: Any) -> None:
    *parents, last = path
    for name in parents:
        document = document[name]
    document[last] = value


def _without_nulls(value: Any) -> Any:
    """Returns a value as the API server is given it: a null there means to take the field away."""
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _check(cluster: ModelCluster) -> None:
    cluster.settle()
    document = _without_nulls(cluster.status)
    assert list(_STATUS.iter_errors(document)) == []
    for path in _leaves(document):
        value = document
        for name in path:
            value = value[name]
        assert not isinstance(value, int) or abs(value) < 2**63, path


@pytest.mark.parametrize("phase", ["Training", "Finishing"])
@given(data=st.data())
@hypothesis_settings(max_examples=60)
def test_any_report(phase, data):
    cluster = at_work(phase)
    (body,) = cluster.active_parts_bodies()
    stages = [{"name": name, "key": "k", "reused": False, "seconds": 1.0} for name in ("preflight", "train")]
    state = data.draw(st.sampled_from(["Running", "Succeeded", "Failed"]))
    more: dict[str, Any] = {"stage": "train", "stages": stages, "resumedFrom": 3, "progress": _PROGRESS}
    if state == "Failed":
        more["failure"] = failure("UserCode")
    more["dropped"] = [{"split": "train", "reason": "no label", "rows": 1, "of": 9, "where": "d.csv, row 1"}]
    if phase == "Finishing":
        more["published"] = published(1)
    cluster.report(body, state, **more)
    board = cluster.objects["ConfigMap", "reviews-g1-a1"]["data"]
    key = f"{body['metadata']['labels'][PART_LABEL]}.json"
    document = json.loads(board[key])
    for path in data.draw(st.lists(st.sampled_from(_leaves(document)), max_size=3, unique=True)):
        _replaced(document, path, data.draw(_ODD))
    board[key] = json.dumps(document)
    _check(cluster)
    cluster.end(body, good=state == "Succeeded")
    _check(cluster)
    cluster.tick(20)
    _check(cluster)


@given(data=st.data())
@hypothesis_settings(max_examples=60)
def test_any_status(data):
    cluster = at_work("Training")
    document = json.loads(json.dumps(cluster.status))
    for path in data.draw(st.lists(st.sampled_from(_leaves(document)), max_size=3, unique=True)):
        _replaced(document, path, data.draw(_ODD))
    cluster.job["status"] = document
    found = cluster.look(crash_after=0)
    assert found is None or found.status is not None
    plan = cluster.plans[-1]
    written = json.loads(plan.status.model_dump_json(exclude_none=True))
    # Only the API server could have let such a status in, so what it holds besides is not ours to mend.
    assert written["observedGeneration"] == 1


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "x" * 100_000, '{"jobUid": "uid1"}'])
def test_a_report_that_is_none(text):
    cluster = at_work("Training")
    cluster.objects["ConfigMap", "reviews-g1-a1"]["data"]["train.json"] = text
    _check(cluster)
    assert cluster.status["phase"] == "Training"


@pytest.mark.parametrize("field", ["deadline", "retention"])
def test_a_time_beyond_the_calendar(field):
    far = "9" * 30 + "h"
    value = far if field == "deadline" else {"ttlAfterFinished": far}
    cluster = ModelCluster({**SPEC, field: value})
    cluster.go(until="Ready")
    assert cluster.status["phase"] == "Ready"
    _check(cluster)


@pytest.mark.parametrize("number", [0, -3, 10**20])
def test_a_version_with_an_impossible_number(number):
    cluster = at_work("Finishing")
    (body,) = cluster.active_parts_bodies()
    result = {**published(1), "version": number}
    cluster.report(body, "Succeeded", published=result)
    cluster.end(body, good=True)
    _check(cluster)
    assert cluster.status["reason"] == "ArtifactInvalid"


def test_a_child_that_claims_a_generation_to_come_is_none_of_an_attempt():
    cluster = at_work("Training")
    cluster.objects["ConfigMap", "reviews-g1"]["metadata"]["labels"] |= {
        "anneal.dev/generation": "99",
        "anneal.dev/attempt": "7",
    }
    _check(cluster)
    assert cluster.status["attempt"] == 1
    assert cluster.status["run"]["generation"] == 1
