"""What a person sees while a cluster comes up: plain lines, how long each step took, and why one failed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

Say = Callable[[str], None]

_TAIL_LINES = 15


class ClusterError(Exception):
    """A cluster, or a part of one, cannot be had; the message says why and what helps."""


def say(text: str) -> None:
    """Prints a line at once, on standard error: standard output is for what programs read."""
    print(text, file=sys.stderr, flush=True)


@dataclass
class Steps:
    """The steps taken so far.

    Attributes:
        say: Gets a line for each step.
        seconds: Duration by step, in their order.
    """

    say: Say = say
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Names what is being done, and takes its time."""
        self.say(f"==> {name}")
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started
        self.say(f"    {self.seconds[name]:.0f} s")

    def table(self) -> str:
        """Returns the durations as lines, with their sum."""
        rows = [*self.seconds.items(), ("altogether", sum(self.seconds.values()))]
        return "\n".join(f"  {seconds:6.1f} s  {name}" for name, seconds in rows)


def logged(
    command: Sequence[str | Path],
    *,
    log: Path,
    what: str,
    remedy: str = "",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Runs a command and appends what it prints to a log.

    Args:
        command: What to run.
        log: Gets its output.
        what: What fails if it fails, as the beginning of a sentence: "Building etcd".
        remedy: What helps then.
        cwd: Its working folder.
        env: Its whole environment; by default that of this process.

    Raises:
        ClusterError: It failed; the message ends with the last lines of its output.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as output:
        print("$", *command, file=output, flush=True)
        try:
            done = subprocess.run(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=env,
                check=False,
            )
        except FileNotFoundError as error:
            raise ClusterError(
                f"{what} needs the program {command[0]}, which is not there. {remedy}"
            ) from error
    if done.returncode != 0:
        raise ClusterError(f"{what} failed. {remedy}\n{tail(log)}\n(All of it: {log})")


def tail(log: Path) -> str:
    """Returns the last lines of a log, indented."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"  | {line}" for line in lines[-_TAIL_LINES:])
