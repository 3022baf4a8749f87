"""The quickstart on a cluster, word for word: apply, wait, ask, edit, delete."""

from __future__ import annotations

import csv
import json
import time

import httpx
import pytest
from kind_world import JOB, QUICKSTART, Namespace, install
from load import Load

_MINUTES = 60


@pytest.fixture(scope="module")
def before(namespace: Namespace) -> set[str]:
    """What lies in the namespace before the job does."""
    return namespace.contents()


@pytest.fixture(scope="module")
def applied(namespace: Namespace, before: set[str]) -> Namespace:
    """The namespace with the quickstart applied and ready."""
    assert before  # looked at first
    namespace.kubectl("apply", "--server-side", "--kustomize", str(QUICKSTART))
    namespace.until("the job is ready", lambda: _ready(namespace), 25 * _MINUTES, about=JOB)
    namespace.kubectl("wait", "--for=condition=Ready", f"finetunejob/{JOB}", "--timeout=10s")
    return namespace


def _ready(namespace: Namespace) -> bool:
    job = namespace.job(JOB)
    conditions = {entry["type"]: entry for entry in job.get("status", {}).get("conditions", [])}
    ready = conditions.get("Ready", {})
    return ready.get("status") == "True" and ready.get("observedGeneration") == job["metadata"]["generation"]


def _test_rows() -> tuple[list[str], list[str]]:
    with (QUICKSTART / "test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def _ask(url: str, texts: list[str]) -> tuple[list[str], str]:
    labels: list[str] = []
    version = ""
    for start in range(0, len(texts), 25):
        answer = httpx.post(f"{url}/predict", json={"inputs": texts[start : start + 25]}, timeout=60)
        assert answer.status_code == 200, answer.text
        labels += [row["label"] for row in answer.json()["predictions"]]
        version = answer.headers["x-model-version"]
    return labels, version


def test_the_endpoint_answers_every_test_row_as_the_evaluation_did(applied: Namespace) -> None:
    status = applied.status(JOB)
    texts, right = _test_rows()
    with applied.forwarded(JOB) as url:
        labels, version = _ask(url, texts)
    assert version == f"{JOB}/v1"
    accuracy = sum(label == expected for label, expected in zip(labels, right, strict=True)) / len(right)
    assert accuracy == pytest.approx(status["metrics"]["accuracy"], abs=1e-6)
    assert accuracy > 0.8


def test_kubectl_get_tells_the_truth(applied: Namespace) -> None:
    status = applied.status(JOB)
    columns = applied.kubectl("get", "ftj", JOB, "--output=wide")
    assert "Ready" in columns
    assert "v1" in columns
    assert status["url"] == f"http://{JOB}.{applied.name}.svc"
    assert {line["verdict"] for line in status["gate"]} <= {"passed", "skipped"}
    assert {variant["name"] for variant in status["variants"]} == {"fp32", "int8"}
    assert [stage["name"] for stage in status["stages"]][-1] == "publish"
    assert not status.get("failures")


def test_an_edit_rolls_out_version_2_without_a_failed_request(applied: Namespace) -> None:
    pods = {pod["metadata"]["uid"] for pod in applied.pods(part="serve")}
    patch = {"spec": {"training": {"epochs": 1, "seed": 7}}}
    with applied.forwarded(JOB) as url, Load(url, _test_rows()[0], clients=1, pause=0.2) as load:
        applied.kubectl("patch", "ftj", JOB, "--type=merge", f"--patch={json.dumps(patch)}")
        applied.until("version 2 is ready", lambda: _ready(applied), 25 * _MINUTES, about=JOB)
        texts, _ = _test_rows()
        _, version = _ask(url, texts[:25])
    assert version == f"{JOB}/v2"
    assert load.errors == []
    assert {status for status, _ in load.answers} == {200}
    assert {version for _, version in load.answers} == {f"{JOB}/v1", f"{JOB}/v2"}
    assert {
        pod["metadata"]["uid"] for pod in applied.pods(part="serve")
    } == pods  # in place: no pod was restarted
    states = {version["version"]: version["state"] for version in applied.status(JOB)["versions"]}
    assert states == {1: "Previous", 2: "Serving"}


def test_upgrading_the_chart_with_another_image_restarts_no_running_service(applied: Namespace) -> None:
    pods = {pod["metadata"]["uid"] for pod in applied.pods(part="serve")}
    service = applied.get("rayservice", JOB)
    install(applied.cluster, "--set=runtime.image.tag=another")
    try:
        time.sleep(30)  # the operator looks at every job when it starts
        assert {pod["metadata"]["uid"] for pod in applied.pods(part="serve")} == pods
        assert applied.get("rayservice", JOB)["metadata"]["generation"] == service["metadata"]["generation"]
        assert _ready(applied)
    finally:
        install(applied.cluster)


def test_deleting_it_leaves_the_namespace_as_it_was(applied: Namespace, before: set[str]) -> None:
    applied.kubectl("delete", "--kustomize", str(QUICKSTART), "--timeout=180s")
    applied.until("all is gone", lambda: applied.contents() == before, 180)
