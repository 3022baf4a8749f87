"""The quickstart with its model store in a bucket of a real object store beside the cluster: no claim at all."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster.binaries import binary
from kind_world import JOB, Namespace, accuracy_of_endpoint, ask, is_ready, quickstart, quickstart_rows
from object_store import ObjectStore, until_ready

pytestmark = pytest.mark.skipif(
    os.environ.get("ANNEAL_NIGHTLY") != "1",
    reason="the whole way once more, with a store in a bucket: make nightly",
)

_MINUTES = 60
_PORT = 9100
_ADDRESS = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
_SECRET = "models-s3"


@pytest.fixture(scope="module")
def store(namespace: Namespace) -> Iterator[ObjectStore]:
    """MinIO on the cluster's node; pods reach it at the node's address."""
    docker, (node, *_) = namespace.cluster.docker, namespace.cluster.nodes
    address = docker.output("inspect", "--format", _ADDRESS, node)
    docker.output("cp", str(binary("minio")), f"{node}:/usr/local/bin/minio")
    running = ObjectStore(f"http://{address}:{_PORT}", secrets.token_hex(8), secrets.token_hex(16))
    docker.output(
        *("exec", "--detach", "--env", f"MINIO_ROOT_USER={running.key}"),
        *("--env", f"MINIO_ROOT_PASSWORD={running.secret}", "--env", "HOME=/tmp", node),
        *(
            "minio",
            "server",
            "--address",
            f"{address}:{_PORT}",
            "--console-address",
            "127.0.0.1:9101",
            "/var/minio",
        ),
    )
    until_ready(running, _MINUTES)
    running.put("models/readme.txt", b"")
    yield running
    docker.output("exec", node, "pkill", "-f", "^minio server")
    docker.output("exec", node, "rm", "-rf", "/var/minio")


@pytest.fixture(scope="module")
def running(namespace: Namespace, store: ObjectStore) -> Namespace:
    """The namespace with the job applied; what is published goes when it is deleted."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": _SECRET},
        "stringData": store.environment(),
    }
    namespace.apply(secret)
    for body in quickstart(namespace.cluster):
        if body["kind"] == "PersistentVolumeClaim":
            continue
        if body["kind"] == "FineTuneJob":
            body["spec"]["store"] = {"uri": "s3://models/anneal", "secretRef": {"name": _SECRET}}
            body["spec"]["retention"] = {"versions": 2, "onDelete": "Delete"}
        namespace.apply(body)
    return namespace


def _keys(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    from anneal_serving.buckets import Purpose
    from anneal_trainer.remote.writable_bucket import WritableBucket

    for name, value in store.environment("ANNEAL_STORE_").items():
        monkeypatch.setenv(name, value)
    return lambda: [file.name for file in WritableBucket("s3://models/anneal", Purpose.STORE).files()]


def _step(namespace: Namespace) -> int:
    progress: dict[str, Any] = namespace.status(JOB).get("progress") or {}
    return int(progress.get("step") or 0)


def test_a_job_without_a_claim_is_trained_and_served(
    running: Namespace, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.until("it trains", lambda: _step(running) > 0, 15 * _MINUTES, about=JOB)
    # The head goes, with its disk, once the first checkpoint is in the bucket: the next attempt goes on from it.
    keys = _keys(store, monkeypatch)
    running.until("there is a checkpoint", lambda: _has_checkpoint(keys()), 10 * _MINUTES, about=JOB)
    time.sleep(5)  # Ray knows of it a moment later
    heads = [
        pod["metadata"]["name"]
        for pod in running.pods(part="train", attempt="1")
        if pod["metadata"]["labels"].get("ray.io/node-type") == "head"
    ]
    running.kubectl("delete", "pod", *heads, "--grace-period=0", "--force", "--wait=false")
    running.until("the job is ready", lambda: is_ready(running), 30 * _MINUTES, about=JOB)
    status = running.status(JOB)
    assert status["attempt"] == 2
    assert [failure["reason"] for failure in status["failures"]] == ["Preempted"]
    assert status["resumedFrom"] > 0
    accuracy, version = accuracy_of_endpoint(running)
    assert version == f"{JOB}/v1"
    assert accuracy == pytest.approx(status["metrics"]["accuracy"], abs=1e-6)
    assert not json.loads(running.kubectl("get", "pvc", "--output=json"))["items"]


def _has_checkpoint(keys: list[str]) -> bool:
    return any("/checkpoint_" in key and key.endswith("state.json") for key in keys)


def test_an_edit_is_loaded_out_of_the_bucket_in_place(running: Namespace) -> None:
    pods = {pod["metadata"]["uid"] for pod in running.pods(part="serve")}
    patch = {"spec": {"training": {"epochs": 1, "seed": 7}}}
    running.kubectl("patch", "ftj", JOB, "--type=merge", f"--patch={json.dumps(patch)}")
    running.until("version 2 is ready", lambda: is_ready(running), 25 * _MINUTES, about=JOB)
    with running.forwarded(JOB) as url:
        assert ask(url, quickstart_rows()[0][:25])[1] == f"{JOB}/v2"
    assert {pod["metadata"]["uid"] for pod in running.pods(part="serve")} == pods


def test_deleting_it_empties_its_part_of_the_bucket(
    running: Namespace, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = _keys(store, monkeypatch)
    assert keys()
    running.kubectl("delete", "finetunejob", JOB, "--timeout=180s")
    assert keys() == []
