"""What the command line says: results to standard output, errors to standard error.

Short texts go through typer.secho, which drops colors where the output is no terminal: rich takes longer to
import than a manifest takes to check, and is left to the commands that draw tables and progress.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import typer

from anneal_api.errors import AnnealError, ExitCode, Interrupted, Problem
from anneal_api.system_errors import chain, unavailable
from anneal_cli.stopping import Stopping


@contextmanager
def errors_explained() -> Iterator[None]:
    """Ends the process with a clean message and the right exit code, whatever goes wrong inside.

    An AnnealError says what, where and what to do, and so does what the operating system refuses. Any other exception
    is a mistake of ours: its traceback goes to a file, and the message names the file. Ctrl-C, SIGTERM and SIGHUP end
    with 130.

    Raises:
        SystemExit: Something went wrong, and it has been told.
    """
    _open_standard_streams()
    stopping = Stopping()
    try:
        with stopping.listening():
            yield
            sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - nobody above would explain it
        stopping.over()
        sys.exit(_explained(error, interrupted=stopping.came))


def _explained(error: BaseException, *, interrupted: bool) -> int | str | None:
    """Says what ended the process, and returns its exit code."""
    code: int | str | None
    if isinstance(error, SystemExit):  # typer answers these two with it, without a word
        error = next((e for e in chain(error) if isinstance(e, KeyboardInterrupt | BrokenPipeError)), error)
    match error:
        case Interrupted():
            code = _say_interrupted(error)
        # After a signal, Ray's processes are gone too, and whatever that leads to is no news.
        case _ if interrupted or isinstance(error, KeyboardInterrupt):
            code = _say_interrupted(None)
        case SystemExit():
            code = error.code
        case BrokenPipeError():
            code = ExitCode.OUTPUT_CLOSED
        case AnnealError():
            print_error(error)
            code = error.exit_code
        case _:
            told = unavailable(error) or _internal_error(error)
            print_error(told)
            code = told.exit_code
    _leave_no_output_behind()
    return code


def _say_interrupted(error: Interrupted | None) -> ExitCode:
    say(f"Interrupted. {error.what} {error.remedy}".rstrip() if error else "Interrupted.", err=True)
    return ExitCode.INTERRUPTED


def _open_standard_streams() -> None:
    """Puts something in place of streams that were closed: the next file to be opened would be taken for one."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115  for as long as the process is there
            setattr(sys, name, stream)


def _leave_no_output_behind() -> None:
    """Drops what a broken stream still holds: Python would fail at it, with a trace, when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                silent = os.open(os.devnull, os.O_WRONLY)
                os.dup2(silent, stream.fileno())
                os.close(silent)


def say(text: str, *, color: str | None = None, bold: bool = False, err: bool = False) -> None:
    """Writes a line, in color where the output is a terminal and NO_COLOR is not set.

    Args:
        text: The line.
        color: Its color.
        bold: Whether it is bold.
        err: Write to standard error instead of standard output.
    """
    colored = False if os.environ.get("NO_COLOR") else None
    # What cannot be said on standard error cannot be said at all; the exit code is left.
    with suppress(OSError) if err else nullcontext():
        typer.secho(text, fg=color, bold=bold or None, err=err, color=colored)


def print_error(error: AnnealError) -> None:
    """Writes an error, and each of its problems, to standard error."""
    say(f"error ({error.reason.value})", color="red", bold=True, err=True)
    for problem in (Problem(error.what, error.where, error.remedy), *error.problems):
        print_problem(problem, err=True)


def print_problem(problem: Problem, *, err: bool = False) -> None:
    """Writes a problem: its place on a line of its own, then what is wrong, then what to do."""
    if problem.where:
        say(f"  {problem.where}", color="cyan", err=err)
    say(f"    {problem.what}", err=err)
    if problem.remedy:
        say(f"    {problem.remedy}", color="green", err=err)


def _internal_error(error: BaseException) -> AnnealError:
    first_line = (str(error).splitlines() or [""])[0]
    what = f"Something went wrong inside anneal: {type(error).__name__}: {first_line}"
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="anneal-error-",
            suffix=".txt",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",
        ) as file:
            file.writelines(traceback.format_exception(error))
    except OSError:
        remedy = "Let TMPDIR name a folder that can be written, and run again: the details will be there."
        return AnnealError(what, remedy=remedy)
    return AnnealError(
        what,
        where=file.name,
        remedy="The file has the details. Please report it, with the command and the manifest.",
    )
