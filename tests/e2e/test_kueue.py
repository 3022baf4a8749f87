"""A job in a queue of the real Kueue: it waits for room, trains, is put out, and goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from cluster.kueue import install_kueue
from kind_world import JOB, Namespace, long_job
from real_parts import teller

pytestmark = pytest.mark.skipif(
    os.environ.get("ANNEAL_NIGHTLY") != "1",
    reason="ten minutes with a real Kueue: make nightly",
)

_MINUTES = 60
_QUEUE = "team-a"
_API = "kueue.x-k8s.io/v1beta2"
_ROOM = {"cpu": "8", "memory": "16Gi"}
_STEPS_OF_EPOCH = 40


@pytest.fixture(scope="module")
def running(namespace: Namespace, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """The namespace with a queue without room, and the job applied to it."""
    install_kueue(namespace.cluster, teller(request.config))
    for body in _queue(namespace, dict.fromkeys(_ROOM, "0")):
        namespace.until("Kueue takes a queue", lambda body=body: _taken(namespace, body), 2 * _MINUTES)
    for body in long_job(namespace.cluster):
        if body["kind"] == "FineTuneJob":
            body["spec"].setdefault("resources", {})["queue"] = _QUEUE
        namespace.apply(body)
    yield namespace
    namespace.kubectl("delete", "finetunejob", "--all", "--timeout=180s")
    namespace.kubectl("delete", "localqueue", _QUEUE)
    namespace.cluster.kubectl("delete", "clusterqueue,resourceflavor", namespace.name)


def _queue(namespace: Namespace, room: dict[str, str]) -> list[dict[str, Any]]:
    name = namespace.name
    resources = [{"name": resource, "nominalQuota": amount} for resource, amount in room.items()]
    group = {"coveredResources": list(room), "flavors": [{"name": name, "resources": resources}]}
    return [
        {"apiVersion": _API, "kind": "ResourceFlavor", "metadata": {"name": name}},
        {
            "apiVersion": _API,
            "kind": "ClusterQueue",
            "metadata": {"name": name},
            "spec": {"namespaceSelector": {}, "resourceGroups": [group]},
        },
        {
            "apiVersion": _API,
            "kind": "LocalQueue",
            "metadata": {"name": _QUEUE},
            "spec": {"clusterQueue": name},
        },
    ]


def _taken(namespace: Namespace, body: dict[str, Any]) -> bool:
    """Its webhook answers a while after Kueue says that it is there."""
    said = namespace.kubectl("apply", "--server-side", "--filename=-", stdin=json.dumps(body), check=False)
    return "serverside-applied" in said


def _change_queue(namespace: Namespace, **spec: Any) -> None:
    patch = json.dumps({"spec": spec})
    namespace.cluster.kubectl("patch", "clusterqueue", namespace.name, "--type=merge", f"--patch={patch}")


def _is_queued(namespace: Namespace) -> bool:
    status = namespace.status(JOB)
    return (status.get("phase"), status.get("reason")) == ("Queued", "Queued")


def _step(namespace: Namespace) -> int:
    progress = namespace.status(JOB).get("progress") or {}
    return int(progress.get("step") or 0)


def test_it_waits_until_its_queue_has_room(running: Namespace) -> None:
    running.until("it is queued", lambda: _is_queued(running), 5 * _MINUTES, about=JOB)
    assert _QUEUE in running.status(JOB)["message"]
    (rayjob,) = running.get("rayjobs")["items"]
    assert rayjob["spec"]["suspend"] is True
    assert not running.pods(part="train")
    _change_queue(running, resourceGroups=_queue(running, _ROOM)[1]["spec"]["resourceGroups"])
    running.until("it trains", lambda: _step(running) > 0, 10 * _MINUTES, about=JOB)


def test_put_out_of_its_queue_it_goes_on_where_it_was(running: Namespace) -> None:
    running.until(
        "there is a checkpoint", lambda: _step(running) > _STEPS_OF_EPOCH + 5, 5 * _MINUTES, about=JOB
    )
    _change_queue(running, stopPolicy="HoldAndDrain")
    running.until("it is queued again", lambda: _is_queued(running), 3 * _MINUTES, about=JOB)
    running.until("its pods are gone", lambda: not running.pods(part="train"), 3 * _MINUTES, about=JOB)
    assert _is_queued(running)
    _change_queue(running, stopPolicy="None")
    running.until(
        "it resumes", lambda: (running.status(JOB).get("resumedFrom") or 0) > 0, 10 * _MINUTES, about=JOB
    )
    running.until(
        "training is done",
        lambda: running.status(JOB).get("phase") in {"Finishing", "Deploying", "Ready"},
        10 * _MINUTES,
        about=JOB,
    )
    status = running.status(JOB)
    assert status["attempt"] == 1
    assert not status.get("failures")
