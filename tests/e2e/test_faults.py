"""What goes wrong for real while a job trains: pods and the operator are killed, the API server goes away."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kind_world import JOB, SYSTEM, Namespace, long_job

pytestmark = pytest.mark.skipif(
    os.environ.get("ANNEAL_NIGHTLY") != "1",
    reason="ten minutes of killing pods on a real cluster: make nightly",
)

_MINUTES = 60
_STEPS_OF_EPOCH = 40  # after each, there is a checkpoint


@pytest.fixture(scope="module")
def running(namespace: Namespace) -> Iterator[Namespace]:
    """The namespace with the job applied."""
    for body in long_job(namespace.cluster):
        namespace.apply(body)
    yield namespace
    namespace.kubectl("delete", "finetunejob", "--all", "--timeout=180s")


def _phase(namespace: Namespace, *phases: str) -> Callable[[], bool]:
    return lambda: namespace.status(JOB).get("phase") in phases


def _step(namespace: Namespace) -> int:
    progress = namespace.status(JOB).get("progress") or {}
    return int(progress.get("step") or 0)


def _resumed_from(namespace: Namespace) -> int:
    return int(namespace.status(JOB).get("resumedFrom") or 0)


def _kill(namespace: Namespace, pods: list[dict[str, Any]]) -> None:
    names = [pod["metadata"]["name"] for pod in pods]
    assert names
    namespace.kubectl("delete", "pod", *names, "--grace-period=0", "--force", "--wait=false")


def _kill_operator(namespace: Namespace) -> None:
    system = Namespace(namespace.cluster, SYSTEM)
    pods = system.get("pods", "--selector=app.kubernetes.io/name=anneal-operator")["items"]
    _kill(system, pods)


def _training_pods(namespace: Namespace, attempt: int, node_type: str) -> list[dict[str, Any]]:
    pods = namespace.pods(part="train", attempt=str(attempt))
    return [pod for pod in pods if pod["metadata"]["labels"].get("ray.io/node-type") == node_type]


def test_killing_the_operator_while_it_prepares_and_trains_loses_nothing(running: Namespace) -> None:
    running.until("it prepares", _phase(running, "Preparing"), 2 * _MINUTES, about=JOB)
    _kill_operator(running)
    running.until("it trains", lambda: _step(running) > 0, 10 * _MINUTES, about=JOB)
    _kill_operator(running)
    assert running.status(JOB)["attempt"] == 1


def test_an_api_server_that_restarts_disturbs_nothing(running: Namespace) -> None:
    before = _step(running)
    for node in running.cluster.nodes:
        running.cluster.docker.output("exec", node, "pkill", "-f", "^kube-apiserver|/kube-apiserver ")

    def back() -> bool:
        return "ok" in running.cluster.kubectl("get", "--raw=/readyz", check=False)

    running.until("the API server answers again", back, 3 * _MINUTES)
    running.until("the job moves on", lambda: _step(running) > before, 5 * _MINUTES, about=JOB)
    assert running.status(JOB)["attempt"] == 1


def test_a_lost_worker_is_replaced_and_resumes_from_the_checkpoint(running: Namespace) -> None:
    running.until(
        "there is a checkpoint", lambda: _step(running) > _STEPS_OF_EPOCH + 5, 5 * _MINUTES, about=JOB
    )
    _kill(running, _training_pods(running, 1, "worker"))
    running.until("it resumes", lambda: _resumed_from(running) > 0, 5 * _MINUTES, about=JOB)
    assert running.status(JOB)["attempt"] == 1  # Ray replaces a worker by itself


def test_a_lost_head_is_a_new_attempt_that_resumes_too(running: Namespace) -> None:
    resumed = _resumed_from(running)
    _kill(running, _training_pods(running, 1, "head"))
    running.until("attempt 2", lambda: running.status(JOB)["attempt"] == 2, 3 * _MINUTES, about=JOB)
    (failure,) = running.status(JOB)["failures"]
    assert (failure["attempt"], failure["part"], failure["reason"]) == (1, "train", "Preempted")
    running.until("it trains", lambda: _step(running) > resumed, 10 * _MINUTES, about=JOB)
    assert _resumed_from(running) >= resumed
    running.until("it finishes", _phase(running, "Finishing"), 10 * _MINUTES, about=JOB)
    _kill_operator(running)


def test_it_ends_ready_with_one_version_and_nothing_twice(running: Namespace) -> None:
    running.until("it deploys", _phase(running, "Deploying", "Ready"), 10 * _MINUTES, about=JOB)
    _kill_operator(running)
    running.until("it is ready", _phase(running, "Ready"), 10 * _MINUTES, about=JOB)
    status = running.status(JOB)
    assert [version["version"] for version in status["versions"]] == [1]
    assert status["attempt"] == 2
    assert len(running.get("rayservices")["items"]) == 1
    assert len(running.get("rayclusters", "--selector=anneal.dev/part=serve")["items"]) == 1


def test_killed_while_the_job_is_deleted_it_still_leaves_nothing(running: Namespace) -> None:
    running.kubectl("delete", "finetunejob", JOB, "--wait=false")
    _kill_operator(running)
    gone = "finetunejobs,rayjobs,rayservices,jobs,pods"
    running.until(
        "nothing is left", lambda: not running.kubectl("get", gone, "--output=name").split(), 4 * _MINUTES
    )
