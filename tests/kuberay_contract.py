"""What the operator relies on of KubeRay: the same RayJobs, run by the real one on kind and by the simulator.

Both have to take each through the same states, with the same words, and leave the same facts at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from anneal_operator.resources.names import (
    ATTEMPT_LABEL,
    GENERATION_LABEL,
    JOB_LABEL,
    PART_LABEL,
    UID_LABEL,
)

_SECONDS = 900  # four Ray clusters at once, on two cores that others may use too
_FINALIZER = "ray.io/rayjob-finalizer"

Ask = Callable[[str, str, dict[str, Any] | None], dict[str, Any] | None]
"""Sends a request: method, name of the RayJob, body. Returns the answer; None where there is no such object."""


@dataclass(frozen=True)
class Case:
    """A RayJob and what becomes of it.

    Attributes:
        name: Of the RayJob.
        command: What the driver does.
        suspend: Whether it is suspended from the start.
        delete_in: Deployment status in which it is deleted; empty: never.
        states: The deployment statuses that it has to go through, in order; others may lie between.
        end: Job status, deployment status and reason at the end.
        facts: What its status holds then, and no `observedGeneration`: the real one writes none on RayJobs.
        part: What it says it is: the simulator can hold the jobs of a part in their Running state.
    """

    name: str
    command: str
    states: tuple[str, ...]
    end: tuple[str, str, str] = ("", "", "")
    facts: frozenset[str] = frozenset()
    suspend: bool = False
    delete_in: str = ""
    part: str = "train"


_ENDED = frozenset({"jobId", "rayClusterName", "startTime", "endTime", "rayJobInfo"})

CASES = (
    Case(
        "succeeds",
        "python -c 'import time; time.sleep(8)'",
        ("Initializing", "Running", "Complete"),
        ("SUCCEEDED", "Complete", ""),
        _ENDED,
    ),
    Case(
        "fails",
        "python -c 'import time; time.sleep(8); raise SystemExit(1)'",
        ("Initializing", "Running", "Failed"),
        ("FAILED", "Failed", "AppFailed"),
        _ENDED,
    ),
    Case("waits", "true", ("Suspended",), ("", "Suspended", ""), suspend=True),
    Case(
        "is-deleted",
        "python -c 'import time; time.sleep(600)'",
        ("Initializing", "Running"),
        delete_in="Running",
        part="prepare",
    ),
)


def rayjob(case: Case, pod: dict[str, Any]) -> dict[str, Any]:
    """Returns the RayJob of a case, as the operator makes its own in what matters here.

    Args:
        case: The case.
        pod: Template of the head's pod and of the submitter's.
    """
    labels = {JOB_LABEL: case.name, GENERATION_LABEL: "1", ATTEMPT_LABEL: "1"}
    labels |= {UID_LABEL: "00000000-0000-4000-8000-000000000000", PART_LABEL: case.part}
    labels["app.kubernetes.io/managed-by"] = "anneal-operator"
    submitter = {"spec": {**pod["spec"], "restartPolicy": "Never"}}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": case.name, "labels": labels},
        "spec": {
            "entrypoint": case.command,
            "submissionMode": "K8sJobMode",
            "submitterPodTemplate": submitter,
            "submitterConfig": {"backoffLimit": 0},
            "backoffLimit": 0,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": 600,
            **({"suspend": True} if case.suspend else {}),
            "rayClusterSpec": {
                "rayVersion": "2.60.0",
                "headGroupSpec": {"rayStartParams": {"num-cpus": "1"}, "template": pod},
            },
        },
    }


def holds(case: Case, ask: Ask, body: dict[str, Any]) -> None:
    """Runs a case and asserts what has to come of it.

    Args:
        case: The case.
        ask: Speaks to the API server.
        body: The RayJob.
    """
    seen: list[str] = []
    assert ask("POST", case.name, body) is not None
    deadline = time.monotonic() + _SECONDS
    deleted = False
    while True:
        live = ask("GET", case.name, None)
        if live is None:
            assert deleted, "it is gone, and nobody deleted it"
            break
        status = live.get("status", {})
        state = status.get("jobDeploymentStatus", "")
        if state and state not in seen:
            seen.append(state)
        if case.delete_in and state == case.delete_in and not deleted:
            assert _FINALIZER in live["metadata"]["finalizers"]
            ask("DELETE", case.name, None)
            deleted = True
        if not case.delete_in and state == case.end[1]:
            found = (status.get("jobStatus", ""), state, status.get("reason", ""))
            assert found == case.end
            assert case.facts <= status.keys(), f"{case.name} lacks {case.facts - status.keys()}"
            assert "observedGeneration" not in status
            break
        assert time.monotonic() < deadline, f"{case.name} is {state}, after {seen}"
        time.sleep(0.2)
    assert _in_order(case.states, seen), f"{case.name} went through {seen}"


def _in_order(wanted: tuple[str, ...], seen: list[str]) -> bool:
    rest = iter(seen)
    return all(state in rest for state in wanted)
