"""Manifest files: read, checked, and every problem with its file and line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anneal_api.errors import ManifestInvalid, Problem
from anneal_api.job import FineTuneJob
from anneal_api.support import Place
from anneal_api.validation import validate
from anneal_cli.yaml_lines import LocatedProblem, Mark, UnreadableError, read_documents

MAX_BYTES = 2**20
"""Largest manifest file. Kubernetes stores no larger object either."""


EVERYWHERE = tuple(Place)
"""The places that a manifest may be for where nothing else is said; the first one counts where none accepts it."""


@dataclass(frozen=True, slots=True)
class CheckedJob:
    """A job of a file that at least one place accepts.

    Attributes:
        job: The job.
        places: The places that accept it, of those that were asked.
    """

    job: FineTuneJob
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What came of checking one file.

    Attributes:
        path: The file, as it was named.
        jobs: The jobs in it that are valid.
        problems: Everything to mend, from top to bottom.
    """

    path: Path
    jobs: tuple[CheckedJob, ...]
    problems: tuple[LocatedProblem, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        """The places that accept the whole file."""
        if self.problems:
            return ()
        return tuple(place for place in Place if all(place in checked.places for checked in self.jobs))

    def place(self, located: LocatedProblem) -> str:
        """Returns where a problem is, as editors and terminals understand it: `file:line:column`."""
        mark = located.mark
        return f"{self.path}:{mark.line}:{mark.column}" if mark else str(self.path)


def check_file(path: Path, places: Sequence[Place] = EVERYWHERE) -> FileCheck:
    """Reads a file and checks every job in it. Nothing that stands in a file makes this raise.

    Args:
        path: The file.
        places: Where the jobs may run. A job is valid if one place accepts it; where none does, the problems told are
            those of the place that has fewest, the first one where they have equally many.
    """
    jobs: list[CheckedJob] = []
    problems: list[LocatedProblem] = []
    documents = 0
    try:
        for document in read_documents(_read_text(path)):
            documents += 1
            problems += document.problems
            told = {located.problem.where for located in document.problems}
            found = {place: validate(document.content, place) for place in places}
            validation = min(found.values(), key=lambda each: len(each.problems))
            problems += [
                LocatedProblem(problem, document.mark_of(problem.where))
                for problem in validation.problems
                if problem.where not in told
            ]
            if validation.job is not None and not document.problems:
                accepting = tuple(place for place, each in found.items() if each.job is not None)
                jobs.append(CheckedJob(validation.job, accepting))
    except UnreadableError as error:
        problems.append(error.located)
    else:
        if not documents:
            empty = Problem("The file is empty.", remedy="Start from the example in docs/manifest.md.")
            problems.append(LocatedProblem(empty, None))
    return FileCheck(path, tuple(jobs), tuple(sorted(problems, key=_order)))


def load_jobs(path: Path, place: Place = Place.MACHINE) -> list[FineTuneJob]:
    """Returns all jobs of a file.

    Args:
        path: The file.
        place: Where the jobs are to run.

    Raises:
        ManifestInvalid: The file cannot be read or has problems, each of which is told with its line.
    """
    check = check_file(path, [place])
    if not check.problems:
        return [checked.job for checked in check.jobs]
    problems = [
        Problem(each.problem.what, f"{check.place(each)} {each.problem.where}".rstrip(), each.problem.remedy)
        for each in check.problems
    ]
    if len(problems) == 1:
        raise ManifestInvalid(problems[0].what, where=problems[0].where, remedy=problems[0].remedy)
    raise ManifestInvalid(f"The manifest has {len(problems)} problems.", where=str(path), problems=problems)


def load_job(path: Path, place: Place = Place.MACHINE) -> FineTuneJob:
    """Returns the job of a file that holds one.

    Args:
        path: The file.
        place: Where the job is to run.

    Raises:
        ManifestInvalid: As `load_jobs`, or the file holds several jobs.
    """
    jobs = load_jobs(path, place)
    if len(jobs) > 1:
        names = ", ".join(job.metadata.name for job in jobs)
        what = f"The file holds {len(jobs)} jobs: {names}."
        raise ManifestInvalid(what, where=str(path), remedy="Put the one to use into a file of its own.")
    return jobs[0]


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise UnreadableError(Problem("There is no such file.", remedy="Check the path.")) from error
    except IsADirectoryError as error:
        raise UnreadableError(Problem("This is a folder.", remedy="Name the manifest in it.")) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        remedy = "Check the path and its permissions."
        raise UnreadableError(Problem(f"The file cannot be read: {reason}.", remedy=remedy)) from error
    if len(content) > MAX_BYTES:
        what = f"The file is larger than {MAX_BYTES // 1024} KiB, too large for a manifest."
        raise UnreadableError(Problem(what, remedy="Check that this is the right file."))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        mark = Mark(before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        what = f"The file is not UTF-8: it has the byte 0x{content[error.start]:02x} here."
        raise UnreadableError(Problem(what, remedy="Save it as UTF-8."), mark) from error


def _order(located: LocatedProblem) -> tuple[int, int]:
    return (located.mark.line, located.mark.column) if located.mark else (0, 0)
