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
from contextlib import contextmanager

import typer

from anneal_api.errors import AnnealError, ExitCode, Problem


@contextmanager
def errors_explained() -> Iterator[None]:
    """Ends the process with a clean message and the right exit code, whatever goes wrong inside.

    An AnnealError says what, where and what to do. Any other exception is a mistake of ours: its traceback
    goes to a file, and the message names the file. Ctrl-C ends with 130.

    Raises:
        SystemExit: Something went wrong, and it has been told.
    """
    try:
        yield
    except AnnealError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        say("Interrupted.", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - nobody above would explain it
        print_error(_internal_error(error))
        sys.exit(ExitCode.INTERNAL)


def say(text: str, *, color: str | None = None, bold: bool = False, err: bool = False) -> None:
    """Writes a line, in color where the output is a terminal and NO_COLOR is not set.

    Args:
        text: The line.
        color: Its color.
        bold: Whether it is bold.
        err: Write to standard error instead of standard output.
    """
    typer.secho(
        text, fg=color, bold=bold or None, err=err, color=False if os.environ.get("NO_COLOR") else None
    )


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


def _internal_error(error: Exception) -> AnnealError:
    with tempfile.NamedTemporaryFile(
        "w", prefix="anneal-error-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
    ) as file:
        file.writelines(traceback.format_exception(error))
    first_line = (str(error).splitlines() or [""])[0]
    return AnnealError(
        f"Something went wrong inside anneal: {type(error).__name__}: {first_line}",
        where=file.name,
        remedy="The file has the details. Please report it, with the command and the manifest.",
    )
