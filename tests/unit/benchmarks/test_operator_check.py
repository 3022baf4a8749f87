"""The check inside the operator's benchmark: it must see what would make its figures worthless."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from benchmarks.operator_check import first_children, verdict, wrong_with_children, wrong_with_status
from crd_cases import good_manifest

_EXPECTED = {"a": frozenset({("ConfigMap", "a-g1"), ("Job", "a-g1-a1-prepare")})}
_JOB = {"metadata": {"name": "a", "uid": "1", "generation": 1}}
_STATUS: dict[str, Any] = {
    "phase": "Preparing",
    "observedGeneration": 1,
    "run": {"generation": 1, "attempt": 1, "part": "prepare"},
    "conditions": [
        {"type": "Valid", "status": "True"},
        {"type": "Prepared", "status": "False"},
        {"type": "Progressing", "status": "True"},
        {"type": "Failed", "status": "False"},
    ],
}


def child(kind: str, name: str, *, uid: str = "1") -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "ownerReferences": [{"uid": uid, "controller": True}]}}


def both() -> list[dict[str, Any]]:
    return [child(kind, name) for kind, name in sorted(_EXPECTED["a"])]


def test_a_job_gets_manifest_report_rights_and_its_first_part() -> None:
    assert first_children(good_manifest("a"), "bench") == {
        ("ConfigMap", "a-g1"),
        ("ConfigMap", "a-g1-a1"),
        ("ServiceAccount", "a-reporter"),
        ("Role", "a-reporter"),
        ("RoleBinding", "a-reporter"),
        ("Job", "a-g1-a1-prepare"),
    }


def test_nothing_is_wrong_with_exactly_the_children() -> None:
    assert wrong_with_children([_JOB], both(), _EXPECTED) == []


@pytest.mark.parametrize(
    ("children", "problem"),
    [
        (both()[1:], "a lacks ConfigMap a-g1"),
        ([*both(), child("Job", "a-g1-a2-prepare")], "a has Job a-g1-a2-prepare too"),
        ([*both(), child("Job", "a-g1-a1-prepare")], "a has Job a-g1-a1-prepare too"),
        ([*both(), child("Role", "a-g1-a1", uid="2")], "Role a-g1-a1 belongs to no job"),
    ],
)
def test_missing_superfluous_and_foreign_children_are_told(
    children: list[dict[str, Any]], problem: str
) -> None:
    assert wrong_with_children([_JOB], children, _EXPECTED) == [problem]


def test_a_job_that_is_not_there_is_told() -> None:
    assert wrong_with_children([], [], _EXPECTED) == ["a is not there"]


def test_a_status_of_a_begun_job_is_true() -> None:
    assert wrong_with_status({**_JOB, "status": _STATUS}) == []


@pytest.mark.parametrize(
    ("field", "value"), [("phase", "Ready"), ("observedGeneration", 2), ("run", {}), ("conditions", [])]
)
def test_a_status_that_is_not_true_is_told(field: str, value: object) -> None:
    status = copy.deepcopy(_STATUS) | {field: value}
    assert wrong_with_status({**_JOB, "status": status})


def test_a_job_without_a_status_is_told() -> None:
    assert wrong_with_status(_JOB)


def test_the_verdict_names_the_first_problems_and_counts_the_rest() -> None:
    assert verdict([], "all is well") == "ok: all is well"
    assert verdict(list("abcde"), "all is well") == "WRONG: a; b; c and 2 more"
