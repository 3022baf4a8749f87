"""One round with one operator on a fresh API server: jobs are applied, the operator starts again, jobs go their way.

    PYTHONPATH=tests python -m tests.benchmarks.operator_round --operator anneal --jobs 1000 --client FOLDER \
        --out figures.json

A process of its own, so that the server ends with it whatever happens. It applies jobs, plays KubeRay and Kubernetes'
Job controller, and reads what came of it from the audit log.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from cluster.apiserver import ApiServer, api_server
from crd_cases import good_manifest
from kuberay_simulator import KubeRaySimulator, install_kuberay_crds
from operator_world import install_crd
from tests.benchmarks.audit_trail import AuditLog, Trail, percentile
from tests.benchmarks.interleaving import Figures
from tests.benchmarks.operator_check import (
    first_children,
    verdict,
    wrong_with_children,
    wrong_with_status,
)
from tests.benchmarks.operators import BY_NAME, OperatorContestant, RunningOperator
from tests.benchmarks.processes import ContestantFailed

from anneal_operator.cluster.kinds import FINE_TUNE_JOB, JOB, OURS, WATCHED, kind_named

NAMESPACE = "bench"

_WARM_UP = "warm-up"
_APPLIER, _SIMULATOR = "benchmark", "simulator"
_CONNECTIONS = 16
_SIMULATED_REQUESTS = 32
_START_SECONDS = 120.0
_ONE_SECONDS = 60.0
_SECONDS_PER_JOB = 1.0
_LOOK_SECONDS = 0.25
_LATE_SECONDS = 5.0
_IDLE_SECONDS = 30.0
_PAGE = 500


class Round:
    """What is there during one round.

    Args:
        server: The API server.
        contestant: The operator.
        names: Names of the jobs that are applied.
        logs: Where logs go.
        client: A folder with the official client.
    """

    def __init__(
        self, server: ApiServer, contestant: OperatorContestant, names: list[str], logs: Path, client: Path
    ) -> None:
        self.server = server
        self.contestant = contestant
        self.names = names
        self.figures: Figures = {}
        self.problems: list[str] = []
        self.within = _ONE_SECONDS + _SECONDS_PER_JOB * len(names)
        self._logs = logs
        self._client = client
        self._log = AuditLog(server.audit_log)
        self._children = {name: first_children(good_manifest(name), NAMESPACE) for name in (_WARM_UP, *names)}
        expected = {
            name: {(kind_named(kind).plural, child) for kind, child in children}
            for name, children in self._children.items()
        }
        self.trail = Trail(NAMESPACE, (_APPLIER, _SIMULATOR), expected)
        self._servers = [psutil.Process(process.pid) for process in server._running.values()]

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[RunningOperator]:
        """Starts the operator and waits until it is ready."""
        with self.contestant.running(self.server.kubeconfig, self._logs, self._client) as running:
            self.figures["start s"] = await running.ready(within=_START_SECONDS)
            yield running

    def server_cpu_seconds(self) -> float:
        """Returns the processor time that API server and etcd have used."""
        return sum(sum(process.cpu_times()[:2]) for process in self._servers)

    async def complete(self, names: Iterable[str], running: RunningOperator, pause: float) -> None:
        """Waits until jobs have all that they must get first."""
        names, deadline = list(names), time.monotonic() + self.within
        while not self.trail.are_complete(names):
            running.must_run()
            if time.monotonic() > deadline:
                late = [name for name in names if self.trail.jobs[name].complete is None]
                example = f"{late[0]} lacks {sorted(self.trail.jobs[late[0]].missing)}"
                raise ContestantFailed(f"{len(late)} jobs are not begun in time; {example}.")
            await asyncio.sleep(pause)
            self.trail.read(self._log.new())

    def writes(self) -> int:
        """Returns how many writes the operator has sent so far."""
        self.trail.read(self._log.new())
        return len(self.trail.by_operator)

    def check(self) -> None:
        """Looks whether the jobs, which were just begun, have their children and a true status."""
        jobs = self.all_of(FINE_TUNE_JOB.path(NAMESPACE))
        children = [
            {"kind": kind.kind, **item}
            for kind in WATCHED
            if kind.child
            for item in self.all_of(kind.path(NAMESPACE), f"&labelSelector={OURS}")
        ]
        self.problems += wrong_with_children(jobs, children, self._children)
        self.problems += [problem for job in jobs for problem in wrong_with_status(job)]
        self.problems += [
            f"{' '.join(place)} was created more than once" for place in self.trail.created_twice()
        ]

    def all_of(self, path: str, query: str = "") -> list[dict[str, Any]]:
        """Returns all objects of a list."""
        found: list[dict[str, Any]] = []
        more = ""
        while True:
            status, page = self.server.request("GET", f"{path}?limit={_PAGE}{query}{more}")
            assert status == 200, page
            found += page["items"]
            if not page["metadata"].get("continue"):
                return found
            more = f"&continue={page['metadata']['continue']}"


async def measure(asked: argparse.Namespace, server: ApiServer) -> dict[str, Any]:
    """Goes through the round and returns its figures and what was checked."""
    install_crd(server)
    install_kuberay_crds(server)
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    assert server.request("POST", "/api/v1/namespaces", body)[0] == 201
    names = [f"job-{number:05d}" for number in range(asked.jobs)]
    this = Round(server, BY_NAME[asked.operator], names, asked.out.parent, asked.client)
    pods = asyncio.Event()
    simulator = KubeRaySimulator(
        server, NAMESPACE, pace=0.0, requests=_SIMULATED_REQUESTS, held={"prepare": pods}
    )
    async with this.operator() as running, _applier(server) as session:
        await _warmed_up(this, running, session)
        await _applied(this, running, session, asked.pattern)
        this.check()
    async with simulator.running():
        if asked.restart:
            await _started_again_beside_running_jobs(this)
        if asked.way:
            await _gone_all_the_way(this, pods)
    this.figures.pop("start s")
    what = "every job has its children once, and a true status"
    return {"figures": this.figures, "check": verdict(this.problems, what)}


async def _warmed_up(this: Round, running: RunningOperator, session: aiohttp.ClientSession) -> None:
    # The first job pays for what is loaded at first use, and shows that the watches are up.
    await _apply(session, [_WARM_UP])
    await this.complete([_WARM_UP], running, 0.1)
    await running.rest(within=_START_SECONDS)
    this.figures["RSS MB without jobs"] = running.rss_mb


async def _applied(
    this: Round, running: RunningOperator, session: aiohttp.ClientSession, pattern: str
) -> None:
    """Applies the jobs in a pattern, waits until all are begun, and takes account."""
    before = this.writes()
    cpu, server_cpu = running.cpu_seconds, this.server_cpu_seconds()
    if pattern == "one by one":
        for name in this.names:
            await _apply(session, [name])
            await this.complete([name], running, 0.02)
            await asyncio.sleep(_LOOK_SECONDS)
    else:
        await _apply(session, this.names, rate=float(pattern) if pattern != "at once" else None)
        await this.complete(this.names, running, _LOOK_SECONDS)
    await running.rest(within=this.within)
    jobs, trails = len(this.names), [this.trail.jobs[name] for name in this.names]
    applied = [trail.applied or 0.0 for trail in trails]
    complete = [trail.complete or 0.0 for trail in trails]
    child = [(trail.first_child or 0.0) - start for trail, start in zip(trails, applied, strict=True)]
    begun = [end - start for end, start in zip(complete, applied, strict=True)]
    writes = this.writes() - before
    this.figures |= {
        "jobs/s": jobs / (max(complete) - min(applied)),
        "first child s, median": percentile(child, 0.5),
        "first child s, p99": percentile(child, 0.99),
        "begun s, median": percentile(begun, 0.5),
        "begun s, p99": percentile(begun, 0.99),
        "writes a job": writes / jobs,
        "operator CPU ms a job": (running.cpu_seconds - cpu) / jobs * 1000,
        "API server CPU ms a job": (this.server_cpu_seconds() - server_cpu) / jobs * 1000,
        "RSS MB": running.rss_mb,
        "RSS KB a job": (running.rss_mb - this.figures["RSS MB without jobs"]) / jobs * 1000,
    }


async def _started_again_beside_running_jobs(this: Round) -> None:
    """Starts the operator, lets the pods of the first part come up, and starts it again when nothing changes."""
    prepares = len(this.names) + 1
    async with this.operator() as running:
        while _ready_jobs(this) < prepares:
            running.must_run()
            await asyncio.sleep(2 * _LOOK_SECONDS)
        await running.rest(within=this.within)
    this.figures |= await _restarted(this, "restart")


async def _restarted(this: Round, what: str) -> Figures:
    """Starts the operator beside jobs of which nothing changes, and returns what it took."""
    before, server_cpu = this.writes(), this.server_cpu_seconds()
    async with this.operator() as running:
        rest = await running.rest(within=this.within)
        jobs, cpu = len(this.names) + 1, running.cpu_seconds
        server_cpu = this.server_cpu_seconds() - server_cpu
        await asyncio.sleep(_LATE_SECONDS)
        return {
            f"{what}: ready s": this.figures["start s"],
            f"{what}: at rest s": rest,
            f"{what}: operator CPU s": cpu,
            f"{what}: API server CPU s": server_cpu,
            f"{what}: writes": float(this.writes() - before),
            f"{what}: RSS MB": running.rss_mb,
            f"{what}: jobs": float(jobs),
        }


async def _gone_all_the_way(this: Round, pods: asyncio.Event) -> None:
    """Lets all jobs go on at once until their models are served, and starts the operator again beside them."""
    async with this.operator() as running:
        await running.rest(within=this.within)
        before, started = this.writes(), time.monotonic()
        cpu, server_cpu = running.cpu_seconds, this.server_cpu_seconds()
        own = psutil.Process().cpu_times()
        pods.set()
        deadline = started + this.within
        while not _all_ready(this):
            running.must_run()
            if time.monotonic() > deadline:
                raise ContestantFailed(f"The jobs are not ready within {this.within:.0f} s.")
            await asyncio.sleep(1.0)
        seconds, jobs = time.monotonic() - started, len(this.names) + 1
        simulator = sum(psutil.Process().cpu_times()[:2]) - sum(own[:2])
        await running.rest(within=this.within)
        this.figures |= {
            "whole way: jobs/s": jobs / seconds,
            "whole way: writes a job": (this.writes() - before) / jobs,
            "whole way: operator CPU ms a job": (running.cpu_seconds - cpu) / jobs * 1000,
            "whole way: API server CPU ms a job": (this.server_cpu_seconds() - server_cpu) / jobs * 1000,
            "whole way: simulator CPU ms a job": simulator / jobs * 1000,
            "whole way: RSS MB": running.rss_mb,
        }
    if twice := this.trail.created_twice():
        this.problems.append(f"created more than once: {twice}")
    this.figures |= await _restarted(this, "restart, all served")
    async with this.operator() as running:
        await running.rest(within=this.within)
        calls = _calls(running)
        await asyncio.sleep(_IDLE_SECONDS)
        this.figures["calls a minute at rest"] = (_calls(running) - calls) / _IDLE_SECONDS * 60


def _ready_jobs(this: Round) -> int:
    jobs = this.all_of(JOB.path(NAMESPACE))
    return sum(bool((job.get("status") or {}).get("ready")) for job in jobs)


def _all_ready(this: Round) -> bool:
    jobs = this.all_of(FINE_TUNE_JOB.path(NAMESPACE))
    return all((job.get("status") or {}).get("phase") == "Ready" for job in jobs)


def _calls(running: RunningOperator) -> float:
    """Returns how many calls to the API server the operator counts, its watches and its Lease left out."""
    lines = running.get("/metrics").splitlines()
    counts = [line for line in lines if line.startswith("anneal_operator_api_requests_total")]
    return sum(float(line.split()[-1]) for line in counts if 'verb="update"' not in line)


@asynccontextmanager
async def _applier(server: ApiServer) -> AsyncIterator[aiohttp.ClientSession]:
    """Gives a session of whoever applies jobs."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(server.ca)))
    headers = {"Authorization": f"Bearer {server.token}", "User-Agent": _APPLIER}
    async with aiohttp.ClientSession(server.url, connector=connector, headers=headers) as session:
        yield session


async def _apply(session: aiohttp.ClientSession, names: Iterable[str], *, rate: float | None = None) -> None:
    """Creates jobs: as fast as they are taken, or a number a second."""
    waiting, started = asyncio.Semaphore(_CONNECTIONS), time.monotonic()

    async def create(index: int, name: str) -> None:
        if rate is not None:
            await asyncio.sleep(max(0.0, started + index / rate - time.monotonic()))
        path = FINE_TUNE_JOB.path(NAMESPACE)
        async with waiting, session.post(path, json=good_manifest(name)) as answer:
            assert answer.status == 201, await answer.text()

    await asyncio.gather(*(create(index, name) for index, name in enumerate(names)))


def main() -> int:
    """Measures and writes what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--operator", choices=list(BY_NAME), required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--pattern", default="at once", help="`at once`, `one by one`, or a number a second")
    parser.add_argument("--restart", action="store_true", help="start it again beside running jobs")
    parser.add_argument("--way", action="store_true", help="let the jobs go on until they are served")
    parser.add_argument("--client", type=Path, required=True, help="a folder with the official client")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="anneal-bench-operator-") as folder,
        api_server(Path(folder) / "server", audit=True) as server,
    ):
        found = asyncio.run(measure(asked, server))
    asked.out.write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
