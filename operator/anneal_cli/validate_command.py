"""`anneal validate`: every problem of every manifest, at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from anneal_api.errors import ExitCode, Problem
from anneal_api.support import Place
from anneal_cli.console import print_problem, say
from anneal_cli.manifest_file import EVERYWHERE, CheckedJob, FileCheck, check_file


def validate(files: Sequence[Path], *, place: Place | None, as_json: bool) -> ExitCode:
    """Checks manifests and prints what was found to standard output.

    Args:
        files: The manifests.
        place: Where the jobs are to run; None: on a machine or on a cluster.
        as_json: Print one JSON object for programs instead of text for people.

    Returns:
        `MANIFEST_INVALID` where any file has a problem.
    """
    checks = [check_file(path, [place] if place else EVERYWHERE) for path in files]
    if as_json:
        sys.stdout.write(f"{json.dumps(_as_record(checks), indent=2)}\n")
    else:
        for check in checks:
            _print_check(check, tell_place=place is None)
    valid = not any(check.problems for check in checks)
    return ExitCode.OK if valid else ExitCode.MANIFEST_INVALID


def _print_check(check: FileCheck, *, tell_place: bool) -> None:
    if not check.problems:
        names = ", ".join(_name(checked, tell_place=tell_place) for checked in check.jobs)
        say(f"OK  {check.path}  {names}", color="green")
        return
    count = f"{len(check.problems)} problem{'s' * (len(check.problems) > 1)}"
    say(f"INVALID  {check.path}  {count}", color="red", bold=True)
    for located in check.problems:
        problem = located.problem
        where = f"{check.place(located)}  {problem.where}".rstrip()
        print_problem(Problem(problem.what, where, problem.remedy))


def _name(checked: CheckedJob, *, tell_place: bool) -> str:
    name = checked.job.metadata.name
    return f"{name} ({checked.places[0]} only)" if tell_place and len(checked.places) == 1 else name


def _as_record(checks: Sequence[FileCheck]) -> dict[str, object]:
    return {
        "valid": not any(check.problems for check in checks),
        "files": [
            {
                "file": str(check.path),
                "valid": not check.problems,
                "jobs": [checked.job.metadata.name for checked in check.jobs],
                "runsOn": [place.value for place in check.places],
                "problems": [
                    {
                        "path": each.problem.where,
                        "line": each.mark.line if each.mark else None,
                        "column": each.mark.column if each.mark else None,
                        "what": each.problem.what,
                        "remedy": each.problem.remedy,
                    }
                    for each in check.problems
                ],
            }
            for check in checks
        ],
    }
