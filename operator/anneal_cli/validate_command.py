"""`anneal validate`: every problem of every manifest, at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from anneal_api.errors import ExitCode, Problem
from anneal_cli.console import print_problem, say
from anneal_cli.manifest_file import FileCheck, check_file


def validate(files: Sequence[Path], *, as_json: bool) -> ExitCode:
    """Checks manifests and prints what was found to standard output.

    Args:
        files: The manifests.
        as_json: Print one JSON object for programs instead of text for people.

    Returns:
        `MANIFEST_INVALID` where any file has a problem.
    """
    checks = [check_file(path) for path in files]
    if as_json:
        sys.stdout.write(f"{json.dumps(_as_record(checks), indent=2)}\n")
    else:
        for check in checks:
            _print_check(check)
    valid = not any(check.problems for check in checks)
    return ExitCode.OK if valid else ExitCode.MANIFEST_INVALID


def _print_check(check: FileCheck) -> None:
    if not check.problems:
        say(f"OK  {check.path}  {', '.join(job.metadata.name for job in check.jobs)}", color="green")
        return
    count = f"{len(check.problems)} problem{'s' * (len(check.problems) > 1)}"
    say(f"INVALID  {check.path}  {count}", color="red", bold=True)
    for located in check.problems:
        problem = located.problem
        where = f"{check.place(located)}  {problem.where}".rstrip()
        print_problem(Problem(problem.what, where, problem.remedy))


def _as_record(checks: Sequence[FileCheck]) -> dict[str, object]:
    return {
        "valid": not any(check.problems for check in checks),
        "files": [
            {
                "file": str(check.path),
                "valid": not check.problems,
                "jobs": [job.metadata.name for job in check.jobs],
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
