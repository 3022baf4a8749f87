"""What waits for something that Events may explain, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from anneal_operator.controller.job_view import is_waiting


def body(kind: str, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": kind, "metadata": {"name": "a"}, "spec": spec}
    return found if status is None else found | {"status": status}


def condition(kind: str, status: str = "True") -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": status}]}


@pytest.mark.parametrize(
    ("found", "waits"),
    [
        (body("Pod"), True),
        (body("Pod", {"phase": "Pending"}), True),
        (body("Pod", {"phase": "Running"}), False),
        (body("Job"), True),
        (body("Job", {"active": 1}), True),
        (body("Job", {"active": 1, "ready": 1}), False),
        (body("Job", condition("Complete")), False),
        (body("Job", condition("Failed")), False),
        (body("Job", suspend=True), False),
        (body("RayJob"), True),
        (body("RayJob", {"jobDeploymentStatus": "Initializing"}), True),
        (body("RayJob", {"jobDeploymentStatus": "Running"}), True),
        (body("RayJob", {"jobDeploymentStatus": "Running", "jobStatus": "PENDING"}), False),
        (
            body(
                "RayJob",
                {"jobDeploymentStatus": "Running", "rayJobInfo": {"startTime": "2026-01-01T00:00:00Z"}},
            ),
            False,
        ),
        (body("RayJob", {"jobDeploymentStatus": "Running"}, suspend=True), False),
        (body("RayJob", {"jobDeploymentStatus": "Complete"}), False),
        (body("RayJob", suspend=True), False),
        (body("RayService"), True),
        (body("RayService", condition("Ready", "False")), True),
        (body("RayService", condition("Ready")), False),
        (body("ConfigMap"), False),
        (body("Role"), False),
    ],
)
def test_tells_waiting_from_working(found: dict[str, Any], waits: bool) -> None:
    assert is_waiting(found) is waits
