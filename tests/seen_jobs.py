"""FineTuneJobs and pods as the API server gives them, for tests of what the command line makes of them."""

from __future__ import annotations

from typing import Any

UID = "11112222-3333-4444-5555-666677778888"
NOW = "2026-03-02T14:30:00Z"


def job_body(*, generation: int = 1, **status: Any) -> dict[str, Any]:
    """Returns a job with a status; without one where nothing is said of it."""
    body: dict[str, Any] = {
        "apiVersion": "anneal.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {
            "name": "reviews",
            "namespace": "team-a",
            "uid": UID,
            "generation": generation,
            "resourceVersion": "100",
            "creationTimestamp": "2026-03-02T14:00:00Z",
        },
        "spec": {"task": "text-classification"},
    }
    if status:
        body["status"] = {"observedGeneration": generation, **status}
    return body


def run_of(part: str, attempt: int = 1, **more: Any) -> dict[str, Any]:
    """Returns the `run` of a status."""
    return {
        "generation": 1,
        "attempt": attempt,
        "part": part,
        "image": "anneal/runtime:1",
        "startedAt": "2026-03-02T14:00:10Z",
        "partStartedAt": "2026-03-02T14:10:00Z",
        **more,
    }


def condition(kind: str, holds: str, reason: str, message: str) -> dict[str, Any]:
    """Returns a condition."""
    return {
        "type": kind,
        "status": holds,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-03-02T14:10:00Z",
        "observedGeneration": 1,
    }


def version_of(number: int, state: str = "Serving", **more: Any) -> dict[str, Any]:
    """Returns a version of a status."""
    return {
        "version": number,
        "generation": 1,
        "state": state,
        "traffic": 100 if state == "Serving" else 0,
        "path": f"team-a/reviews-11112222/v{number}",
        "digest": "0" * 64,
        "image": "anneal/runtime:1",
        "score": 0.91,
        "publishedAt": "2026-03-02T14:20:00Z",
        **more,
    }


def ready() -> dict[str, Any]:
    """Returns a job that serves, with everything that a status can tell."""
    return job_body(
        phase="Ready",
        message="v1 answers at http://reviews.team-a.svc.",
        attempt=2,
        resumedFrom=400,
        run=run_of("finish", 2),
        failures=[
            {
                "generation": 1,
                "attempt": 1,
                "part": "train",
                "reason": "OutOfMemory",
                "message": "A training worker was killed: it used more memory than its limit of 4Gi.",
                "hint": "Raise spec.resources.memory.",
                "at": "2026-03-02T14:05:00Z",
            }
        ],
        progress={"percent": 100},
        stages=[
            {"name": "preflight", "reused": False, "seconds": 1.2},
            {"name": "prepare", "reused": True, "seconds": 4.0},
            {"name": "train", "reused": False, "seconds": 220.0},
        ],
        droppedRows=[
            {
                "split": "train",
                "reason": "empty text",
                "rows": 1200,
                "where": "train.csv, row 3, column text",
            },
            {"split": "test", "reason": "label not in training", "rows": 1, "where": "test.csv, row 9"},
        ],
        score="f1 0.9100",
        metrics={"f1": 0.91, "accuracy": 0.905},
        gate=[
            {
                "metric": "f1",
                "direction": "higher",
                "rule": "at least 0.88",
                "bar": 0.88,
                "candidate": 0.91,
                "verdict": "passed",
            },
            {
                "metric": "f1",
                "direction": "higher",
                "rule": "at most 0.005 below the incumbent",
                "candidate": 0.91,
                "verdict": "skipped",
            },
        ],
        variants=[
            {
                "name": "fp32",
                "bytes": 91_600_000,
                "latencyMsP50": 10.1,
                "score": 0.92,
                "verdict": "it is larger",
            },
            {
                "name": "int8",
                "bytes": 23_000_000,
                "latencyMsP50": 4.6,
                "score": 0.915,
                "verdict": "selected: smallest within 0.01",
            },
        ],
        versions=[version_of(1)],
        servedVersion="v1",
        traffic="v1 100%",
        url="http://reviews.team-a.svc",
        workerSeconds=440.0,
        gpuHours=0.12,
        finishedAt="2026-03-02T14:25:00Z",
        conditions=[
            condition("Valid", "True", "Accepted", "The manifest can be carried out."),
            condition("Ready", "True", "Serving", "v1 answers at http://reviews.team-a.svc."),
            condition("Failed", "False", "Completed", "Nothing failed."),
        ],
    )


def gate_not_passed() -> dict[str, Any]:
    """Returns a job whose gate let nothing through."""
    return job_body(
        phase="Failed",
        reason="GateNotPassed",
        message="The gate is not passed. f1: f1 0.8712 is below 0.88",
        hint="Read status.gate; improve data or training, or lower the bars.",
        attempt=1,
        run=run_of("finish"),
        gate=[
            {
                "metric": "f1",
                "direction": "higher",
                "rule": "at least 0.88",
                "bar": 0.88,
                "candidate": 0.8712,
                "verdict": "failed",
            }
        ],
        variants=[
            {
                "name": "int8",
                "bytes": 1000,
                "latencyMsP50": 4.6,
                "score": 0.9,
                "verdict": "selected: smallest",
            }
        ],
        failures=[
            {
                "generation": 1,
                "attempt": 1,
                "part": "finish",
                "reason": "GateNotPassed",
                "message": "The gate is not passed. f1: f1 0.8712 is below 0.88",
                "at": "2026-03-02T14:20:00Z",
            }
        ],
    )


def training(**progress: Any) -> dict[str, Any]:
    """Returns a job that trains."""
    return job_body(
        phase="Training",
        message="Trains (attempt 2).",
        attempt=2,
        resumedFrom=400,
        run=run_of("train", 2),
        progress={
            "percent": 47,
            "stage": "train",
            "step": 420,
            "totalSteps": 800,
            "loss": 0.31214,
            "tokensPerSecond": 5320.4,
            "etaSeconds": 190,
            **progress,
        },
    )


def pod(
    name: str,
    part: str,
    *,
    attempt: int | None = 1,
    generation: int = 1,
    node: str = "",
    containers: tuple[str, ...] = (),
    created: str = NOW,
    state: dict[str, Any] | None = None,
    phase: str = "Running",
    **status: Any,
) -> dict[str, Any]:
    """Returns a pod of the job.

    Args:
        name: Its name.
        part: The part that it runs.
        attempt: Attempt that it belongs to; None: to none.
        generation: Generation that it belongs to.
        node: `head` or `worker` of a Ray cluster; empty: none of it.
        containers: Names of its containers; empty: the usual one.
        created: When it was created.
        state: State of its last container; None: it runs.
        phase: Its phase.
        status: More of its status.
    """
    labels = {"anneal.dev/job-uid": UID, "anneal.dev/part": part}
    if attempt is not None:
        labels |= {"anneal.dev/attempt": str(attempt), "anneal.dev/generation": str(generation)}
    if node:
        labels["ray.io/node-type"] = node
    usual = f"ray-{node}" if node else "submitter" if part == "train" else part
    names = containers or (usual,)
    states = [{"name": each, "state": {"running": {"startedAt": NOW}}} for each in names]
    if state is not None:
        states[-1]["state"] = state
    return {
        "metadata": {
            "name": name,
            "namespace": "team-a",
            "uid": f"uid-{name}",
            "labels": labels,
            "creationTimestamp": created,
        },
        "spec": {"containers": [{"name": each} for each in names], "restartPolicy": "Never"},
        "status": {"phase": phase, "containerStatuses": states, **status},
    }
