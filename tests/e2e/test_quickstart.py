"""The quickstart on a cluster, word for word: apply, wait, ask, edit, delete."""

from __future__ import annotations

import json
import time

import pytest
from kind_world import (
    JOB,
    QUICKSTART,
    Namespace,
    accuracy_of_endpoint,
    ask,
    helm,
    install,
    is_ready,
    quickstart_rows,
)
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
    namespace.until("the job is ready", lambda: is_ready(namespace), 25 * _MINUTES, about=JOB)
    namespace.kubectl("wait", "--for=condition=Ready", f"finetunejob/{JOB}", "--timeout=10s")
    return namespace


def test_the_endpoint_answers_every_test_row_as_the_evaluation_did(applied: Namespace) -> None:
    status = applied.status(JOB)
    accuracy, version = accuracy_of_endpoint(applied)
    assert version == f"{JOB}/v1"
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
    # Half the training is no better: the bar of the incumbent, which another test reads, is out of the way.
    bar = [{"metric": "accuracy", "min": 0.8}]
    patch = {"spec": {"training": {"epochs": 1, "seed": 7}, "evaluation": {"gates": bar}}}
    with applied.forwarded(JOB) as url, Load(url, quickstart_rows()[0], clients=1, pause=0.2) as load:
        applied.kubectl("patch", "ftj", JOB, "--type=merge", f"--patch={json.dumps(patch)}")
        applied.until("version 2 is ready", lambda: is_ready(applied), 25 * _MINUTES, about=JOB)
        texts, _ = quickstart_rows()
        _, version = ask(url, texts[:25])
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
        assert is_ready(applied)
    finally:
        install(applied.cluster)


def test_uninstalling_leaves_what_serves_and_a_new_install_takes_it_over(applied: Namespace) -> None:
    pods = {pod["metadata"]["uid"] for pod in applied.pods(part="serve")}
    texts = quickstart_rows()[0][:25]
    helm(applied.cluster, "uninstall", "anneal", "--wait", "--timeout=2m")
    try:
        left = applied.cluster.kubectl("get", "clusterroles,clusterrolebindings", "--output=name").split()
        assert not [name for name in left if "anneal" in name]
        with applied.forwarded(JOB) as url:
            assert ask(url, texts)[1] == f"{JOB}/v2"
        assert is_ready(applied), "its job is still there, and says what it said"
    finally:
        install(applied.cluster)
    time.sleep(10)
    assert is_ready(applied)
    assert {pod["metadata"]["uid"] for pod in applied.pods(part="serve")} == pods


def test_deleting_it_leaves_the_namespace_as_it_was(applied: Namespace, before: set[str]) -> None:
    applied.kubectl("delete", "--kustomize", str(QUICKSTART), "--timeout=180s")
    applied.until("all is gone", lambda: applied.contents() == before, 180)
