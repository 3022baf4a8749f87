"""What the benchmark of the operator reads from an API server's audit log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.audit_trail import AuditLog, Trail, percentile

_CHILDREN = {"job-1": [("configmaps", "job-1-g1"), ("jobs", "job-1-g1-a1-prepare")]}


def event(
    second: float,
    resource: str,
    name: str,
    *,
    agent: str = "operator",
    code: int = 201,
    subresource: str = "",
    **more: Any,
) -> dict[str, Any]:
    about = {"resource": resource, "name": name, "namespace": "bench"}
    return {
        "stage": "ResponseComplete",
        "stageTimestamp": f"2026-01-01T00:00:{second:09.6f}Z",
        "userAgent": agent,
        "objectRef": about | ({"subresource": subresource} if subresource else {}),
        "responseStatus": {"code": code},
        **more,
    }


def applied(second: float) -> dict[str, Any]:
    return event(second, "finetunejobs", "job-1", agent="maker")


def status(second: float) -> dict[str, Any]:
    return event(second, "finetunejobs", "job-1", subresource="status", code=200)


def trail(*events: dict[str, Any]) -> Trail:
    found = Trail("bench", ["maker"], _CHILDREN)
    found.read(events)
    return found


def test_a_job_is_complete_when_its_last_child_or_its_status_is_written() -> None:
    found = trail(
        applied(1.0),
        event(1.5, "configmaps", "job-1-g1"),
        event(1.75, "jobs", "job-1-g1-a1-prepare"),
    )
    assert not found.are_complete(["job-1"])
    found.read([status(2.5), status(9.0)])
    assert found.are_complete(["job-1"])
    job = found.jobs["job-1"]
    assert job.applied is not None
    assert job.first_child is not None
    assert job.complete is not None
    assert job.first_child - job.applied == pytest.approx(0.5)
    assert job.complete - job.applied == pytest.approx(1.5)


def test_a_status_or_an_event_is_no_child() -> None:
    found = trail(applied(1.0), status(1.2), event(1.3, "events", "job-1.0123456789abcdef"))
    assert found.jobs["job-1"].first_child is None


def test_a_refused_write_counts_as_a_write_and_makes_nothing() -> None:
    found = trail(applied(1.0), event(1.5, "configmaps", "job-1-g1", code=409))
    assert found.jobs["job-1"].first_child is None
    assert len(found.by_operator) == 1


def test_only_the_operators_writes_in_the_namespace_count_and_none_of_its_lease() -> None:
    elsewhere = event(1.6, "configmaps", "job-1-g1")
    elsewhere["objectRef"]["namespace"] = "kube-system"
    found = trail(
        applied(1.0),
        elsewhere,
        event(1.7, "leases", "anneal-operator"),
        event(1.8, "configmaps", "job-1-g1", agent="maker"),
        event(1.9, "configmaps", "job-1-g1", stage="ResponseStarted"),
        event(2.0, "jobs", "job-1-g1-a1-prepare"),
    )
    assert [(write.resource, write.name) for write in found.by_operator] == [("jobs", "job-1-g1-a1-prepare")]


def test_tells_what_was_created_twice_but_not_what_was_changed() -> None:
    twice = [event(second, "jobs", "job-1-g1-a1-prepare") for second in (1.0, 2.0)]
    changed = [event(3.0, "configmaps", "job-1-g1"), event(4.0, "configmaps", "job-1-g1", code=200)]
    assert trail(*twice, *changed).created_twice() == [("jobs", "job-1-g1-a1-prepare")]


def test_children_of_a_name_within_another_name_are_their_own_jobs() -> None:
    found = Trail("bench", ["maker"], {"a": [("configmaps", "a-g1")], "a-b": [("configmaps", "a-b-g1")]})
    found.read([event(1.0, "configmaps", "a-b-g1")])
    assert found.jobs["a"].first_child is None
    assert found.jobs["a-b"].first_child is not None


def test_reads_a_growing_log_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    log = AuditLog(file)
    assert log.new() == []
    file.write_text('{"number": 1}\n{"num')
    assert log.new() == [{"number": 1}]
    with file.open("a") as more:
        more.write('ber": 2}\n' + json.dumps({"number": 3}) + "\n")
    assert log.new() == [{"number": 2}, {"number": 3}]
    assert log.new() == []


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: int) -> None:
    assert percentile(range(100, 0, -1), share) == expected
