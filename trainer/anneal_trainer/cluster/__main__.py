"""`python -m anneal_trainer.cluster prepare | train | finish | cleanup`: the command of a job's pods."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from anneal_api.attempt import Part, PublishedResult
from anneal_api.errors import ExitCode
from anneal_trainer.cluster.configmap import ApiAccess, ConfigMapKey
from anneal_trainer.cluster.environment import (
    Assignment,
    job_file,
    read_assignment,
    read_folders,
    read_job,
    read_metadata,
    read_serving_versions,
)
from anneal_trainer.cluster.failures import Ending, ending_of, interruption
from anneal_trainer.cluster.report import Reporter

_CLEANUP = "cleanup"
_logger = logging.getLogger("anneal_trainer.cluster")


def main(arguments: Sequence[str] | None = None) -> ExitCode:
    """Runs what the command line says, as the environment says; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m anneal_trainer.cluster", description=__doc__)
    parser.add_argument("part", choices=[*(part.value for part in Part), _CLEANUP], help="what this pod does")
    chosen: str = parser.parse_args(arguments).part
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        if chosen == _CLEANUP:
            _clean_up(os.environ)
            return ExitCode.OK
        assignment = read_assignment(Part(chosen), os.environ)
        with Reporter(assignment, _writer(assignment, os.environ)) as reporter:
            return _reported(assignment, os.environ, reporter)
    except Exception as error:  # noqa: BLE001  every end has an exit code and a sentence
        return _explained(ending_of(error), error)


def _clean_up(environment: Mapping[str, str]) -> None:
    from anneal_trainer.cluster.cleanup import clean_up  # noqa: PLC0415  it needs none of what the parts load

    clean_up(read_metadata(environment), read_folders(environment))


def _reported(assignment: Assignment, environment: Mapping[str, str], reporter: Reporter) -> ExitCode:
    stop = _Stop(reporter)
    signal.signal(signal.SIGTERM, stop.handle)
    try:
        with stop.heard():
            published = _work(assignment, environment, reporter)
    except BaseException as error:  # noqa: BLE001  KeyboardInterrupt and SystemExit are how training ends on a signal
        ending = interruption() if stop.came else ending_of(error)
        reporter.failed(ending.failure)
        return _explained(ending, error)
    if stop.came:
        return ExitCode.INTERRUPTED
    reporter.succeeded(published)
    _logger.info("%s: succeeded", assignment.part)
    return ExitCode.OK


def _work(
    assignment: Assignment, environment: Mapping[str, str], reporter: Reporter
) -> PublishedResult | None:
    path = job_file(environment)
    job = read_job(path, assignment)
    folders = read_folders(environment)
    # Read when the hub's client is imported. A base model is downloaded once, to where all pods of the job see it:
    # the workers get its path, and a cache in the home folder is this pod's alone.
    os.environ["HF_HOME"] = str(folders.work / "hub")
    from anneal_trainer.cluster.parts import run_part  # noqa: PLC0415  after the line above

    return run_part(
        assignment.part,
        job,
        folders,
        base_folder=path.parent,
        reporter=reporter,
        serving=read_serving_versions(environment),
    )


def _writer(assignment: Assignment, environment: Mapping[str, str]) -> Callable[[str], None]:
    key = f"{assignment.part.value}.json"
    found: list[ConfigMapKey] = []

    def write(report: str) -> None:
        # Inside, so that a pod without an API server does its work all the same, and says so in its log.
        if not found:
            access = ApiAccess.of_pod(environment)
            found.append(
                ConfigMapKey(
                    access,
                    namespace=assignment.namespace,
                    name=assignment.configmap,
                    key=key,
                    owner_uid=assignment.uid,
                )
            )
        found[0].write(report)

    return write


def _explained(ending: Ending, error: BaseException) -> ExitCode:
    failure = ending.failure
    place = f"{failure.where}: " if failure.where else ""
    _logger.error(
        "%s: %s%s %s",
        failure.reason,
        place,
        failure.message,
        failure.hint,
        exc_info=error if ending.unexpected else None,
    )
    return ending.exit_code


class _Stop:
    """What a SIGTERM does: the operator is told at once, then the work ends as on Ctrl-C, which Ray Train understands.

    Args:
        reporter: Tells the operator.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._listening = False
        self.came = False

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Lets the signal end the work inside; outside of it there is none to end."""
        self._listening = True
        try:
            yield
        finally:
            self._listening = False

    def handle(self, _signal: int, _frame: object) -> None:
        """Handles the signal."""
        first = not self.came
        self.came = True
        if first:
            self._reporter.interrupted(interruption().failure)
            if self._listening:
                signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
