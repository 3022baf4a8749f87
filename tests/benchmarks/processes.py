"""Contestants as processes: started alone, bounded in time, ended by pid with everything they started."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from tests.benchmarks.load import NoAnswer, wait_until_answers
from tests.benchmarks.loopback_only import enter_command, join_command, wait_until_apart

REPOSITORY = Path(__file__).resolve().parents[2]
_LOG_TAIL = 2000
_GRACE_SECONDS = 20.0
_PORTS = range(20_000, 30_000)

_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "NO_COLOR": "1",
    "COLUMNS": "160",
    "PYTHONWARNINGS": "ignore",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # Ray gives its workers a lower priority than the others' processes have
}


class ContestantFailed(Exception):
    """A contestant ended badly or took too long."""


def python(module: str, *arguments: object) -> list[str]:
    """Returns the command that runs a module."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def run(
    command: Sequence[str], *, log: Path, within: float, environment: dict[str, str] | None = None
) -> float:
    """Runs a contestant to its end and returns its wall time in seconds.

    Args:
        command: What to run.
        log: Gets its output.
        within: Seconds after which it is ended.
        environment: Variables beside the usual ones.

    Raises:
        ContestantFailed: It ended badly or took too long.
    """
    started = time.perf_counter()
    process = _start(command, log, environment)
    try:
        code = process.wait(timeout=within)
    except subprocess.TimeoutExpired:
        raise ContestantFailed(f"{command[2]} took longer than {within:.0f} s.{_tail(log)}") from None
    finally:
        end_tree(process)
    if code != 0:
        raise ContestantFailed(f"{command[2]} ended with {code}.{_tail(log)}")
    return time.perf_counter() - started


@dataclass(frozen=True)
class Server:
    """A contestant that answers requests.

    Attributes:
        process: It.
        port: Where it listens, on 127.0.0.1.
        started: When it was started, on the clock of `time.monotonic`.
        log: Its output.
        apart: Whether it runs in a network namespace of its own.
    """

    process: subprocess.Popen[bytes]
    port: int
    started: float
    log: Path
    apart: bool

    def load(self, *arguments: object, within: float) -> dict[str, Any]:
        """Runs the load generator against it and returns what that prints.

        Raises:
            ContestantFailed: It did not answer.
        """
        prefix = join_command(self.process.pid) if self.apart else []
        command = python("tests.benchmarks.load", "--port", self.port, *arguments)
        try:
            done = subprocess.run(
                [*prefix, *command],
                cwd=REPOSITORY,
                capture_output=True,
                text=True,
                timeout=within,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ContestantFailed(
                f"The load generator took longer than {within:.0f} s.{_tail(self.log)}"
            ) from None
        if done.returncode != 0:
            raise ContestantFailed(f"{done.stderr[-_LOG_TAIL:]}{_tail(self.log)}")
        figures: dict[str, Any] = json.loads(done.stdout or "{}")
        return figures

    def wait_for_answer(self, text: str, *, within: float, pause: float) -> float:
        """Asks until it answers, and returns the seconds from its start until then.

        Raises:
            ContestantFailed: It did not answer.
        """
        try:
            return wait_until_answers(self.port, text, within=within, pause=pause) - self.started
        except NoAnswer as error:
            raise ContestantFailed(f"{error}{_tail(self.log)}") from error

    def memory(self) -> dict[str, float]:
        """Returns what the whole process tree holds, in MB.

        `RSS MB` counts shared pages in every process that maps them, `PSS MB` shares them out. `replica RSS MB` is
        the part of the process that holds the model, where Ray runs others beside it.
        """
        processes = [
            psutil.Process(self.process.pid),
            *psutil.Process(self.process.pid).children(recursive=True),
        ]
        rss = pss = replica = 0.0
        for process in processes:
            try:
                memory = process.memory_full_info()
                name = " ".join(process.cmdline())
            except psutil.NoSuchProcess:
                continue
            rss += memory.rss
            pss += memory.pss
            if "ServeReplica" in name:
                replica += memory.rss
        return {
            "RSS MB": rss / 1e6,
            "PSS MB": pss / 1e6,
            "replica RSS MB": (replica or rss) / 1e6,
            "processes": float(len(processes)),
        }


@contextmanager
def serving(
    command: Sequence[str],
    *,
    port: int,
    log: Path,
    apart: bool = False,
    environment: dict[str, str] | None = None,
) -> Iterator[Server]:
    """Starts a server and ends it, with everything it started.

    Args:
        command: What to run.
        port: Where it will listen.
        log: Gets its output.
        apart: Run it in a network namespace that has a loopback only.
        environment: Variables beside the usual ones.
    """
    started = time.monotonic()
    process = _start([*(enter_command() if apart else []), *command], log, environment)
    try:
        if apart:
            wait_until_apart(process.pid)
        yield Server(process, port, started, log, apart)
    finally:
        end_tree(process)


def free_port() -> int:
    """Returns a port of 127.0.0.1 that nothing listens on now.

    It lies below the range that the system hands out by itself: Ray opens dozens of ports of that range before the
    server gets to its own.
    """
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ContestantFailed("There is no free port.")


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """Asks a process to end, then makes it and everything it started end."""
    tree = _tree(process.pid)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            tree |= _tree(process.pid)  # what it started meanwhile
            time.sleep(0.1)
    left = [member for member in tree if member.is_running()]
    for member in left:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=10)
    process.wait(timeout=10)


def _tree(pid: int) -> set[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return {root, *root.children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def _start(command: Sequence[str], log: Path, environment: dict[str, str] | None) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return subprocess.Popen(
            list(command),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_ENVIRONMENT, **(environment or {})},
        )


def _tail(log: Path) -> str:
    return f" Its last words:\n{log.read_text(encoding='utf-8', errors='replace')[-_LOG_TAIL:]}"
