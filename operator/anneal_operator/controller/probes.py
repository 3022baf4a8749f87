"""What kubelet and Prometheus ask: `/healthz`, `/readyz`, `/metrics`.

kopf could answer `/healthz` itself, but only while it runs, and an operator that waits for its Lease is healthy too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from anneal_operator.controller.metrics import CONTENT_TYPE, Metrics

Check = Callable[[], str]
"""Returns what is wrong, in a sentence; empty: nothing."""

_NO_CONTENT_PROBLEM = "ok\n"


class Probes:
    """Whether the operator is alive and ready: checks that the parts of the operator add as they start."""

    def __init__(self) -> None:
        self._live: dict[str, Check] = {}
        self._ready: dict[str, Check] = {}

    def must_live(self, name: str, check: Check) -> None:
        """Adds a check whose failure only a restart can mend."""
        self._live[name] = check

    def must_be_ready(self, name: str, check: Check) -> None:
        """Adds a check that fails while the operator cannot do its work."""
        self._ready[name] = check

    def live(self) -> dict[str, str]:
        """Returns what is wrong by the checks of life; empty: nothing."""
        return _failed(self._live)

    def ready(self) -> dict[str, str]:
        """Returns what is wrong by the checks of readiness; empty: nothing."""
        return _failed(self._ready) if self._ready else {"start": "the operator is starting"}


@asynccontextmanager
async def serve(
    probes: Probes, metrics: Metrics, *, probe_port: int, metrics_port: int
) -> AsyncIterator[None]:
    """Answers probes and metrics while the block runs.

    Args:
        probes: The checks.
        metrics: The metrics.
        probe_port: Port of `/healthz` and `/readyz`; 0: none.
        metrics_port: Port of `/metrics`; 0: none.

    Raises:
        OSError: A port is taken.
    """

    async def healthz(_: web.Request) -> web.Response:
        return _answer(probes.live())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(probes.ready())

    async def metrics_(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    routes = {
        probe_port: [web.get("/healthz", healthz), web.get("/readyz", readyz)],
        metrics_port: [web.get("/metrics", metrics_)],
    }
    if probe_port == metrics_port:
        routes = {
            probe_port: [
                web.get("/healthz", healthz),
                web.get("/readyz", readyz),
                web.get("/metrics", metrics_),
            ]
        }
    runners: list[web.AppRunner] = []
    try:
        for port, found in routes.items():
            if port:
                app = web.Application()
                app.add_routes(found)
                runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
                runners.append(runner)
                await runner.setup()
                await web.TCPSite(runner, port=port).start()
        yield
    finally:
        for runner in runners:
            await runner.cleanup()


def _failed(checks: Mapping[str, Check]) -> dict[str, str]:
    return {name: problem for name, check in checks.items() if (problem := check())}


def _answer(problems: Mapping[str, str]) -> web.Response:
    text = "".join(f"{name}: {problem}\n" for name, problem in problems.items()) or _NO_CONTENT_PROBLEM
    return web.Response(text=text, status=503 if problems else 200)
