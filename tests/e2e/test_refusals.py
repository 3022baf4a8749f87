"""What cannot work: the job says why, in a word of the closed set, within a minute."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kind_world import Namespace, quickstart

_SECONDS = 60


@pytest.fixture(scope="module")
def job(namespace: Namespace) -> dict[str, Any]:
    """The quickstart's FineTuneJob; its data and claim are in the namespace."""
    wanted = {}
    for body in quickstart(namespace.cluster):
        if body["kind"] == "FineTuneJob":
            wanted = body
        else:
            namespace.apply(body)
    return wanted


@contextmanager
def _applied(namespace: Namespace, job: dict[str, Any], name: str, **spec: Any) -> Iterator[str]:
    body = copy.deepcopy(job)
    body["metadata"]["name"] = name
    for part, value in spec.items():
        body["spec"][part] = {**body["spec"].get(part, {}), **value} if isinstance(value, dict) else value
    namespace.apply(body)
    try:
        yield name
    finally:
        namespace.kubectl("delete", "finetunejob", name, "--timeout=120s")


def _says(namespace: Namespace, name: str, reason: str) -> dict[str, Any]:
    namespace.until(
        f"{name} says {reason}",
        lambda: namespace.status(name).get("reason") == reason,
        _SECONDS,
    )
    status = namespace.status(name)
    assert status["message"]
    assert status["hint"]
    return status


def test_a_claim_that_is_not_there(namespace: Namespace, job: dict[str, Any]) -> None:
    with _applied(namespace, job, "no-claim", store={"uri": "pvc://nowhere/store"}) as name:
        assert "nowhere" in _says(namespace, name, "VolumeNotFound")["message"]


def test_a_secret_that_is_not_there(namespace: Namespace, job: dict[str, Any]) -> None:
    model = {"secretRef": {"name": "no-such-token"}}
    with _applied(namespace, job, "no-secret", model=model) as name:
        assert "no-such-token" in _says(namespace, name, "SecretNotFound")["message"]


def test_a_worker_that_fits_no_node(namespace: Namespace, job: dict[str, Any]) -> None:
    with _applied(namespace, job, "too-large", resources={"cpu": "500", "workers": 1}) as name:
        namespace.until("it trains", lambda: namespace.status(name).get("phase") == "Training", 240)
        _says(namespace, name, "Unschedulable")


def test_a_quota_that_is_used_up(namespace: Namespace, job: dict[str, Any]) -> None:
    namespace.kubectl("create", "quota", "tight", "--hard=pods=0")
    try:
        with _applied(namespace, job, "no-room") as name:
            _says(namespace, name, "QuotaExceeded")
    finally:
        namespace.kubectl("delete", "quota", "tight")


def test_rows_that_cannot_be_read(namespace: Namespace, job: dict[str, Any]) -> None:
    with _applied(
        namespace, job, "bad-column", data={"columns": {"text": "sentence", "label": "label"}}
    ) as name:
        namespace.until(
            "it says DataInvalid", lambda: namespace.status(name).get("reason") == "DataInvalid", 180
        )
        status = namespace.status(name)
        assert "sentence" in status["message"]
        assert status["phase"] == "Failed"


def test_a_store_without_room(namespace: Namespace, job: dict[str, Any]) -> None:
    (node, *_) = namespace.cluster.nodes
    here = f"/var/small-{namespace.name}"
    namespace.cluster.docker.output("exec", node, "mkdir", "-p", here)
    namespace.cluster.docker.output(
        "exec", node, "mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "tmpfs", here
    )
    volume = f"small-{namespace.name}"
    spec = {
        "capacity": {"storage": "4Mi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "small",
        "hostPath": {"path": here},
    }
    claim = {"accessModes": ["ReadWriteOnce"], "storageClassName": "small"}
    claim |= {"resources": {"requests": {"storage": "4Mi"}}, "volumeName": volume}
    for kind, name, body in (("PersistentVolume", volume, spec), ("PersistentVolumeClaim", "small", claim)):
        namespace.apply({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": body})
    try:
        with _applied(namespace, job, "no-space", store={"uri": "pvc://small/store"}) as name:
            # The first checkpoint does not fit, and no new worker tries the same once more.
            namespace.until(
                "it says DiskFull", lambda: namespace.status(name).get("reason") == "DiskFull", 420
            )
            assert "PersistentVolumeClaim" in namespace.status(name)["hint"]
    finally:
        namespace.kubectl("delete", "pvc", "small", "--wait=false")
        namespace.cluster.kubectl("delete", "pv", volume, "--wait=false")
        namespace.cluster.docker.output("exec", node, "umount", "--lazy", here)
