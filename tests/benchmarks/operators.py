"""The operators that take part in B8 and B9: how each is started, when it is ready, and what it costs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.benchmarks.processes import REPOSITORY, ContestantFailed, Server, free_port, python, serving

IMAGE = "anneal:benchmark"

_CLIENT = "kubernetes==36.0.3"

_OK = 200
_LOOK_SECONDS = 0.02
_SAMPLE_SECONDS = 0.1
_REST_SECONDS = 1.0
_BUSY_SHARE = 0.03
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class RunningOperator:
    """An operator at work.

    Attributes:
        server: Its process.
        ready_path: What answers 200 once it is ready.
    """

    server: Server
    ready_path: str

    async def ready(self, *, within: float) -> float:
        """Waits until it is ready, and returns the seconds since it was started.

        Raises:
            ContestantFailed: It does not get ready.
        """
        while time.monotonic() - self.server.started < within:
            if self.get(self.ready_path):
                return time.monotonic() - self.server.started
            self.must_run()
            await asyncio.sleep(_LOOK_SECONDS)
        raise ContestantFailed(f"{self.server.log.stem} is not ready after {within:.0f} s.")

    async def rest(self, *, within: float) -> float:
        """Waits until it does nothing for a second, and returns when that began, in seconds since it was started.

        Raises:
            ContestantFailed: It does not come to rest.
        """
        since, used = time.monotonic(), self.cpu_seconds
        deadline = since + within
        while time.monotonic() < deadline:
            await asyncio.sleep(_SAMPLE_SECONDS)
            now, used_now = time.monotonic(), self.cpu_seconds
            if used_now - used > _BUSY_SHARE * _REST_SECONDS:
                since, used = now, used_now
            elif now - since >= _REST_SECONDS:
                return since - self.server.started
        raise ContestantFailed(f"{self.server.log.stem} does not come to rest within {within:.0f} s.")

    def must_run(self) -> None:
        """Looks whether it still runs.

        Raises:
            ContestantFailed: It has ended.
        """
        if self.server.process.poll() is not None:
            tail = self.server.log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise ContestantFailed(f"{self.server.log.stem} has ended:\n{tail}")

    @property
    def cpu_seconds(self) -> float:
        """Processor time that it has used."""
        times = psutil.Process(self.server.process.pid).cpu_times()
        return float(times.user + times.system)

    @property
    def rss_mb(self) -> float:
        """Memory that it holds, in MB."""
        return float(psutil.Process(self.server.process.pid).memory_info().rss) / 1e6

    def get(self, path: str) -> str:
        """Returns what it answers; empty where it does not, or not with 200."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.server.port}{path}", timeout=_ANSWER_SECONDS
            ) as answer:
                return str(answer.read().decode()) if answer.status == _OK else ""
        except (urllib.error.URLError, OSError):
            return ""


@dataclass(frozen=True)
class OperatorContestant:
    """An operator that can be started.

    Attributes:
        name: What the table calls it.
        module: The module that is run; `{port}` in arguments and environment is filled in,
            and `{client}` in the environment.
        ready_path: What answers 200 on that port once it is ready.
        arguments: Its arguments.
        environment: Variables that it needs.
    """

    name: str
    module: str
    ready_path: str
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def running(self, kubeconfig: Path, logs: Path, client: Path) -> Iterator[RunningOperator]:
        """Starts it and ends it.

        Args:
            kubeconfig: Leads it to the API server.
            logs: Where its log goes.
            client: A folder with the official client.
        """
        port = free_port()
        environment = {
            name: value.format(port=port, client=client) for name, value in self.environment.items()
        }
        # This checkout's operator, and without what helps the harness to find the tests' own modules.
        paths = [environment.get("PYTHONPATH", ""), str(REPOSITORY / "operator")]
        environment |= {"KUBECONFIG": str(kubeconfig), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        command = python(self.module, *(part.format(port=port) for part in self.arguments))
        with serving(command, port=port, log=logs / f"{self.name}.log", environment=environment) as server:
            yield RunningOperator(server, self.ready_path)


def official_client(cache: Path) -> Path:
    """Returns a folder with the official client; installs it there where it is not yet.

    It has a folder of its own, for kopf loads it wherever it is installed, and our operator comes without it.

    Raises:
        ContestantFailed: It cannot be installed.
    """
    folder = cache / _CLIENT
    if not (folder / "kubernetes").is_dir():
        lock = REPOSITORY / ".ci" / "requirements.lock"
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
        done = subprocess.run(
            [*command, "--target", folder, "--constraint", lock, _CLIENT],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ContestantFailed(f"{_CLIENT} cannot be installed: {done.stderr}")
    return folder


ANNEAL = OperatorContestant(
    "anneal",
    "anneal_operator",
    "/readyz",
    environment={
        "ANNEAL_OPERATOR_IMAGE": IMAGE,
        "ANNEAL_OPERATOR_PROBE_PORT": "{port}",
        "ANNEAL_OPERATOR_METRICS_PORT": "{port}",
    },
)
KOPF_HANDLERS = OperatorContestant(
    "kopf",
    "kopf",
    "/healthz",
    arguments=(
        "run",
        "--module=tests.benchmarks.contestants.kopf_handlers",
        "--all-namespaces",
        "--standalone",
        "--liveness=http://127.0.0.1:{port}/healthz",
    ),
    environment={"IMAGE": IMAGE, "PYTHONPATH": "{client}"},
)
BY_NAME = {contestant.name: contestant for contestant in (ANNEAL, KOPF_HANDLERS)}
