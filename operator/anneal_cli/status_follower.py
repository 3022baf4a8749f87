"""What a person sees while a job goes on: a bar that moves, or, where nobody looks, a line for each step of the way."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from anneal_api.status import Phase
from anneal_cli.seen_job import SeenJob
from anneal_cli.status_view import progress_words, standing
from anneal_cli.wording import printable
from anneal_operator.cluster.errors import ApiError

_BAR_WIDTH = 32
_PERCENT_PER_LINE = 5


class Follower(Protocol):
    """Shows a job as it goes on."""

    def saw(self, job: SeenJob) -> None:
        """Shows how the job is now."""

    def lost(self, error: ApiError | None) -> None:
        """Shows that the connection is lost, or, with None, that it is there."""


class LiveFollower:
    """Keeps the newest state on the screen. It is what rich draws several times a second.

    Args:
        console: Where to show it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._job: SeenJob | None = None
        self._seen_at = 0.0
        self._lost: ApiError | None = None
        self._spinner = Spinner("dots")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keeps the moving parts on the screen while the block runs, and takes them away after it."""
        with Live(console=self._console, get_renderable=self._view, refresh_per_second=4, transient=True):
            yield

    def saw(self, job: SeenJob) -> None:
        """Shows how the job is now."""
        if self._job is None or job.status.progress != self._job.status.progress:
            self._seen_at = time.monotonic()
        self._job = job

    def lost(self, error: ApiError | None) -> None:
        """Shows that the connection is lost, or that it is there."""
        self._lost = error

    def _view(self) -> RenderableType:
        if self._job is None:
            return Text("")
        parts: list[RenderableType] = [standing(self._job)]
        progress = self._job.status.progress
        if progress is not None and self._job.status.phase is not Phase.SUSPENDED:
            row = Table.grid(padding=(0, 1))
            words = progress_words(progress, spent=time.monotonic() - self._seen_at)
            bar = ProgressBar(total=100, completed=progress.percent, width=_BAR_WIDTH)
            row.add_row(self._spinner, bar, Text(f"{progress.percent:>3} %"), Text(words))
            parts += ["", row]
        if self._lost is not None:
            parts.append(
                Text(f"The cluster does not answer ({_reason(self._lost)}). Trying again.", "yellow")
            )
        return Group(*parts)


class LineFollower:
    """Prints a line whenever something happens, and for every few percent of progress.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: tuple[object, ...] = ()
        self._is_lost = False

    def saw(self, job: SeenJob) -> None:
        """Prints how the job is now, if that is news."""
        status = job.status
        progress = status.progress
        stage, percent = (progress.stage, progress.percent) if progress is not None else ("", 0)
        tells = (
            job.is_edited,
            status.phase,
            status.reason,
            status.message,
            stage,
            percent // _PERCENT_PER_LINE,
        )
        if tells == self._told:
            return
        self._told = tells
        if job.is_edited:
            words = "the operator has not looked at it yet"
        else:
            words = f"{status.phase.value:<11}  {percent:>3} %"
            words += f"  {status.reason.value}:" if status.reason is not None else ""
            words += f"  {status.message}" if status.message else ""
            if progress is not None and (more := progress_words(progress)):
                words += f"  ({more})"
        self._print(words)

    def lost(self, error: ApiError | None) -> None:
        """Prints that the connection is lost, or is there again."""
        if error is not None and not self._is_lost:
            self._print(f"the cluster does not answer ({_reason(error)}); trying again")
        elif error is None and self._is_lost:
            self._print("the cluster answers again")
        self._is_lost = error is not None

    def _print(self, words: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._console.file.write(f"{now}  {printable(words, one_line=True)}\n")
        self._console.file.flush()


class JsonFollower:
    """Prints the job as one line of JSON whenever it has changed.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def saw(self, job: SeenJob) -> None:
        """Prints the job."""
        self._console.file.write(f"{json.dumps(job.as_record(), separators=(',', ':'))}\n")
        self._console.file.flush()

    def lost(self, error: ApiError | None) -> None:
        """Prints nothing: programs wait."""


def _reason(error: ApiError) -> str:
    return printable(error.message, one_line=True)
