"""What Prometheus and kubelet are told."""

from __future__ import annotations

import asyncio
import socket

import aiohttp

from anneal_operator.cluster.cache import Cache
from anneal_operator.controller.metrics import Metrics
from anneal_operator.controller.probes import Probes, serve


def job(name: str, phase: str | None, task: str = "text-classification") -> dict[str, object]:
    return {
        "kind": "FineTuneJob",
        "metadata": {"name": name, "namespace": "ns", "uid": name, "resourceVersion": "1"},
        "spec": {"task": task},
        "status": {"phase": phase} if phase else {},
    }


def test_counts_what_it_is_told() -> None:
    metrics = Metrics("1.2.3")
    metrics.called("apply", 200, 0.1)
    metrics.called("apply", 200, 0.1)
    metrics.called("get", 0, 5.0)
    metrics.lost("RayJob")
    metrics.retried("conflict")
    metrics.reconciled("steady", 0.2, 0.01)
    depth = [3]
    metrics.gauge("queue_depth", "Jobs ready.", lambda: depth[0])
    text = metrics.text().decode()
    for line in (
        'anneal_operator_api_requests_total{code="200",verb="apply"} 2.0',
        'anneal_operator_api_requests_total{code="0",verb="get"} 1.0',
        'anneal_operator_cache_audit_differences_total{kind="RayJob"} 1.0',
        'anneal_operator_retries_total{reason="conflict"} 1.0',
        'anneal_operator_reconcile_total{result="steady"} 1.0',
        "anneal_operator_reconcile_seconds_count 1.0",
        "anneal_operator_queue_latency_seconds_count 1.0",
        "anneal_operator_queue_depth 3.0",
        'anneal_operator_build_info{version="1.2.3"} 1.0',
    ):
        assert line in text


def test_counts_jobs_when_asked_without_their_names() -> None:
    metrics, cache = Metrics("1"), Cache()
    metrics.count_jobs(cache)
    for body in (job("a", "Ready"), job("b", "Ready"), job("c", None)):
        cache.put(body)
    available = job("d", "Deploying")
    available["status"]["conditions"] = [{"type": "Available", "status": "False", "reason": "Unavailable"}]
    cache.put(available)
    text = metrics.text().decode()
    assert 'anneal_operator_jobs{namespace="ns",phase="Ready",task="text-classification"} 2.0' in text
    assert 'anneal_operator_jobs{namespace="ns",phase="Pending",task="text-classification"} 1.0' in text
    assert 'anneal_operator_models{available="False",namespace="ns"} 1.0' in text


def test_answers_kubelet_and_prometheus() -> None:
    def free_port() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    async def main() -> None:
        probes, metrics = Probes(), Metrics("1")
        probe_port, metrics_port = free_port(), free_port()

        async def ask(port: int, path: str) -> tuple[int, str]:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{port}{path}") as answer,
            ):
                return answer.status, await answer.text()

        async with serve(probes, metrics, probe_port=probe_port, metrics_port=metrics_port):
            assert await ask(probe_port, "/healthz") == (200, "ok\n")
            status, text = await ask(probe_port, "/readyz")
            assert (status, "starting" in text) == (503, True)
            wrong = [""]
            probes.must_live("workers", lambda: wrong[0])
            probes.must_be_ready("lease", lambda: wrong[0])
            assert (await ask(probe_port, "/readyz"))[0] == 200
            wrong[0] = "a worker has ended"
            assert await ask(probe_port, "/healthz") == (503, "workers: a worker has ended\n")
            assert (await ask(probe_port, "/readyz"))[0] == 503
            wrong[0] = ""
            assert (await ask(probe_port, "/healthz"))[0] == 200
            assert "anneal_operator_build_info" in (await ask(metrics_port, "/metrics"))[1]
            assert (await ask(metrics_port, "/healthz"))[0] == 404

        both = free_port()
        async with serve(probes, metrics, probe_port=both, metrics_port=both):
            assert (await ask(both, "/healthz"))[0] == 200
            assert (await ask(both, "/metrics"))[0] == 200

    asyncio.run(main())
