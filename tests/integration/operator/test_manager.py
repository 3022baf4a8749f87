"""A whole operator on a real API server: watches, workers, Lease, audit, and its ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cluster.apiserver import ApiServer, api_server
from operator_world import (
    IMAGE,
    Jobs,
    install_crd,
    live,
    remove_crd,
    run_in_loop,
    until,
    wait_until,
    writes,
)

from anneal_operator.cluster.kinds import RAY_JOB, RAY_SERVICE, Kind
from anneal_operator.controller import manager as manager_module
from anneal_operator.controller.manager import KindsChanged, OutOfReach

pytestmark = pytest.mark.integration

MERGE = "application/merge-patch+json"
CHILDREN = {"ConfigMap/reviews-g1", "Job/reviews-g1-a1-prepare"}
_MAIN = """
import sys
from tiny_plan import tiny_plan
from anneal_operator.controller.main import main
sys.exit(main([], plan=tiny_plan))
"""
TESTS = Path(__file__).parents[2]


@pytest.fixture
def jobs(apiserver: ApiServer, namespace: str) -> Jobs:
    install_crd(apiserver)
    return Jobs(apiserver, namespace)


def crd_of(kind: Kind) -> dict[str, Any]:
    """Returns a CRD that takes anything."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": anything},
    }
    names = {"plural": kind.plural, "singular": kind.kind.lower(), "kind": kind.kind}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {"group": kind.group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run_in_loop(scenario())


async def threaded(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    return await asyncio.to_thread(call, *arguments, **options)


async def comes_to_rest(jobs: Jobs, seconds: float = 2.0) -> None:
    """Waits until nothing was written for a while."""
    before, since = -1, time.monotonic()
    deadline = time.monotonic() + 30
    while time.monotonic() - since < seconds:
        now = len(await threaded(writes, jobs.server, jobs.namespace))
        if now != before:
            before, since = now, time.monotonic()
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("everywhere", [False, True], ids=["namespaced", "cluster-wide"])
def test_follows_a_job_from_its_creation_to_its_end(jobs: Jobs, everywhere: bool) -> None:
    async def scenario() -> None:
        watched = () if everywhere else (jobs.namespace,)
        life = live(jobs.server, watched, lease_namespace=jobs.namespace)
        await life.ready()
        await threaded(jobs.create)
        await until(lambda: set(jobs.children()) == CHILDREN)
        await threaded(jobs.complete, "reviews-g1-a1-prepare")
        await until(lambda: jobs.status().get("phase") == "Succeeded")
        await threaded(jobs.edit, {"spec": {"training": {"epochs": 2}}})
        await until(lambda: jobs.status()["observedGeneration"] == 2)
        await until(lambda: set(jobs.children()) == {"ConfigMap/reviews-g2", "Job/reviews-g2-a1-prepare"})
        await threaded(jobs.delete)
        await until(lambda: jobs.children() == {})
        await until(lambda: not list(life.manager._cache.entries("Job")))
        await life.end()

    run(scenario)


def test_a_restart_with_nothing_changed_writes_nothing(jobs: Jobs) -> None:
    async def scenario() -> None:
        for number in range(5):
            await threaded(jobs.create, f"job-{number}")
        life = live(jobs.server, (jobs.namespace,))
        await life.ready()
        await until(lambda: len(jobs.children()) == 10)
        await comes_to_rest(jobs)
        await life.end()
        before = await threaded(writes, jobs.server, jobs.namespace)
        assert len(before) == 5 * 4  # status, ConfigMap, Job, Event

        life = live(jobs.server, (jobs.namespace,))
        await life.ready()
        await asyncio.sleep(3)
        text = life.metrics.text().decode()
        assert 'anneal_operator_reconcile_total{result="steady"} 5.0' in text
        await life.end()
        assert await threaded(writes, jobs.server, jobs.namespace) == before

    run(scenario)


def test_what_others_change_is_put_right_and_what_is_theirs_is_left(jobs: Jobs) -> None:
    async def scenario() -> None:
        await threaded(jobs.create)
        life = live(jobs.server, (jobs.namespace,))
        await life.ready()
        await until(lambda: set(jobs.children()) == CHILDREN)
        change = {"data": {"job.json": "{}", "theirs": "kept"}}
        await threaded(jobs.at, "configmaps/reviews-g1", "PATCH", change, media_type=MERGE)
        # The tiny plan wants these very data, so what is theirs goes here; their label stays.
        await until(lambda: jobs.children()["ConfigMap/reviews-g1"]["data"]["job.json"] != "{}")
        await threaded(
            jobs.at, "batch/v1/jobs/reviews-g1-a1-prepare", "DELETE", {"propagationPolicy": "Background"}
        )
        await until(lambda: set(jobs.children()) == CHILDREN)
        await life.end()

    run(scenario)


def test_kuberay_may_come_later_and_go_again(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager_module, "_DISCOVERY_SECONDS", 0.5)
    monkeypatch.setattr(manager_module, "_DRAIN_SECONDS", 5.0)
    with api_server(tmp_path_factory.mktemp("kuberay")) as server:
        install_crd(server)
        jobs = Jobs(server, "default")
        jobs.create()

        async def scenario() -> None:
            life = live(server, ())
            await life.ready()
            await until(lambda: jobs.status().get("message") == "runs")
            for kind in (RAY_JOB, RAY_SERVICE):
                await threaded(install_crd, server, crd_of(kind))
            with pytest.raises(KindsChanged):
                await life.task
            life = live(server, ())
            # One kind may have been served before the other.
            while (await asyncio.wait([life.task], timeout=2))[0]:
                assert isinstance(life.task.exception(), KindsChanged)
                life = live(server, ())
            await until(lambda: jobs.status().get("message") == "knows KubeRay")
            body = {
                "apiVersion": "ray.io/v1",
                "kind": "RayJob",
                "metadata": {
                    "name": "a",
                    "namespace": "default",
                    "labels": {"app.kubernetes.io/managed-by": "anneal-operator"},
                },
            }
            await threaded(server.request, "POST", "/apis/ray.io/v1/namespaces/default/rayjobs", body)
            await until(lambda: len(list(life.manager._cache.entries("RayJob"))) == 1)
            await threaded(remove_crd, server, "rayjobs.ray.io")
            await asyncio.wait([life.task], timeout=30)
            assert life.task.done()
            # Whether our own look or kopf's 404 comes first is a matter of luck; the process starts again either way.
            assert life.task.exception() is not None

        run(scenario)


def test_waits_for_the_crd(tmp_path_factory: pytest.TempPathFactory) -> None:
    with api_server(tmp_path_factory.mktemp("no-crd")) as server:

        async def scenario() -> None:
            life = live(server, ())
            await asyncio.sleep(1.5)
            assert not life.task.done()
            assert "cache" in life.probes.ready()
            assert life.probes.live() == {}
            await threaded(install_crd, server)
            await life.ready()
            await life.end()

        run(scenario)


def test_an_outage_of_the_server_costs_no_restart_and_no_event_unless_it_lasts(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with api_server(tmp_path_factory.mktemp("outage")) as server:
        install_crd(server)
        jobs = Jobs(server, "default")

        async def scenario() -> None:
            monkeypatch.setattr(manager_module, "_DISCOVERY_SECONDS", 1.0)
            await threaded(jobs.create)
            life = live(server, ())
            await life.ready()
            await until(lambda: set(jobs.children()) == CHILDREN)
            with server.outage():
                await asyncio.sleep(4)
                assert not life.task.done()
            await threaded(jobs.create, "later")
            await until(lambda: jobs.status("later").get("phase") == "Preparing", seconds=60)
            await threaded(jobs.complete, "reviews-g1-a1-prepare")
            await until(lambda: jobs.status().get("phase") == "Succeeded", seconds=60)
            assert not life.task.done()
            # A new process reads address and certificates anew.
            monkeypatch.setattr(manager_module, "_OUT_OF_REACH_SECONDS", 1.0)
            with server.outage():
                await until(life.task.done, seconds=90)
            assert isinstance(life.task.exception(), OutOfReach)

        run(scenario)


@contextmanager
def operator_process(
    server: ApiServer, namespace: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Runs the operator with the tiny plan as a process of its own, and gives the port of its probes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _MAIN],
        env=os.environ
        | {
            "PYTHONPATH": str(TESTS),
            "KUBECONFIG": str(server.kubeconfig),
            "ANNEAL_OPERATOR_IMAGE": IMAGE,
            "ANNEAL_OPERATOR_NAMESPACES": namespace,
            "ANNEAL_OPERATOR_PROBE_PORT": str(port),
            "ANNEAL_OPERATOR_METRICS_PORT": str(port),
            **environment,
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, port
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def test_the_process_answers_probes_logs_json_and_ends_cleanly(jobs: Jobs) -> None:
    jobs.create()
    with operator_process(jobs.server, jobs.namespace) as (process, port):
        wait_until(lambda: asked(port, "/readyz")[0] == 200)
        assert asked(port, "/healthz") == (200, "ok\n")
        wait_until(lambda: set(jobs.children()) == CHILDREN)
        metrics = asked(port, "/metrics")[1]
        assert 'phase="Preparing",task="text-classification"} 1.0' in metrics
        assert "anneal_operator_leader 1.0" in metrics
        assert "anneal_operator_api_requests_total" in metrics
        process.send_signal(signal.SIGTERM)
        _, logged = process.communicate(timeout=30)
    assert process.returncode == 0, logged
    lines = [json.loads(line) for line in logged.splitlines()]
    assert [line for line in lines if line["level"] in {"warning", "error"}] == []
    assert jobs.at("coordination.k8s.io/v1/leases/anneal-operator")[1]["spec"]["holderIdentity"] == ""


def test_the_second_operator_waits_and_the_first_stops_when_it_loses_the_lease(jobs: Jobs) -> None:
    path = "coordination.k8s.io/v1/leases/anneal-operator"
    jobs.create()
    with operator_process(jobs.server, jobs.namespace) as (first, first_port):
        wait_until(lambda: asked(first_port, "/readyz")[0] == 200)
        with operator_process(jobs.server, jobs.namespace) as (second, second_port):
            wait_until(lambda: asked(second_port, "/readyz")[0] != 0)
            wait_until(lambda: set(jobs.children()) == CHILDREN)
            assert asked(second_port, "/healthz")[0] == 200
            wait_until(lambda: asked(second_port, "/readyz")[0] == 200)  # it stands by, with everything read
            assert "anneal_operator_leader 0.0" in asked(second_port, "/metrics")[1]
            assert 'phase="Preparing"' in asked(second_port, "/metrics")[1]
            jobs.at(path, "PATCH", {"spec": {"holderIdentity": "a thief"}}, media_type=MERGE)
            _, logged = first.communicate(timeout=30)
            assert first.returncode == 1
            assert "held by a thief" in logged
            assert second.poll() is None
            second.send_signal(signal.SIGTERM)
            second.communicate(timeout=30)
            assert second.returncode == 0


def test_killed_without_warning_the_next_container_of_the_pod_goes_on_at_once(jobs: Jobs) -> None:
    jobs.create()
    pod = {"ANNEAL_OPERATOR_POD_UID": "pod-1"}
    with operator_process(jobs.server, jobs.namespace, **pod) as (process, port):
        wait_until(lambda: set(jobs.children()) == CHILDREN)
        process.kill()
        process.wait()
    before = jobs.children()
    jobs.create("second")
    began = time.monotonic()
    with operator_process(jobs.server, jobs.namespace, **pod) as (process, port):
        wait_until(lambda: "Job/second-g1-a1-prepare" in jobs.children())
        assert time.monotonic() - began < 15
        assert asked(port, "/readyz")[0] == 200
        assert {name: jobs.children()[name] for name in before} == before


def test_settings_that_cannot_be_used_are_named_and_end_it(jobs: Jobs) -> None:
    with operator_process(jobs.server, jobs.namespace, ANNEAL_OPERATOR_WORKERS="many") as (process, _):
        _, logged = process.communicate(timeout=30)
    assert process.returncode == 3
    (line,) = [json.loads(line) for line in logged.splitlines()]
    assert "ANNEAL_OPERATOR_WORKERS" in line["message"]
