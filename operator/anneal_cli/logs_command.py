"""`anneal logs`: what the pods of a FineTuneJob print.

Standard output gets the log alone; whose log it is goes to standard error.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence

from anneal_api.errors import AnnealError, ExitCode, ObjectNotFound, RequestInvalid
from anneal_cli.cluster_access import Cluster, ClusterChoice
from anneal_cli.console import say
from anneal_cli.job_pods import Choice, Source, choose, how_it_is, why_silent
from anneal_cli.log_part import LogPart
from anneal_cli.pod_logs import followed, followed_together, is_there
from anneal_cli.seen_job import SeenJob
from anneal_cli.wording import printable
from anneal_operator.cluster.errors import Invalid, NotFound
from anneal_operator.cluster.kinds import POD
from anneal_operator.resources.names import UID_LABEL
from anneal_operator.resources.ownership import Object

_POLL_SECONDS = 2.0
_REPLICA_LOGS = "kubectl exec POD -c ray-worker -- sh -c 'tail /tmp/ray/session_latest/logs/serve/*.log'"


def logs(
    name: str,
    *,
    choice: ClusterChoice,
    part: LogPart | None,
    attempt: int | None,
    follow: bool,
    tail: int | None,
) -> ExitCode:
    """Prints the log of the part of a job that runs, or ran last.

    Args:
        name: Name of the job.
        choice: The cluster and the namespace.
        part: Another part.
        attempt: Another attempt.
        follow: Go on until the job is Ready, Succeeded or Failed; of a part that was asked for, until it ends.
        tail: Only so many of the last lines of each pod; None: all.

    Raises:
        RequestInvalid: The part has no attempts.
        ObjectNotFound: The job, or the pod, is not there.
        ResourceUnavailable: The cluster cannot be asked.
    """
    if attempt is not None and part in {LogPart.SERVE, LogPart.PARITY}:
        raise RequestInvalid(
            f"The part {part} belongs to no attempt.", where="--attempt", remedy="Leave --attempt out."
        )
    command = _Logs(Cluster.chosen(choice), name, part, attempt, tail)
    try:
        if follow:
            command.follow()
        else:
            command.print_once()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.OK


class _Logs:
    """Prints the logs of a job."""

    def __init__(
        self, cluster: Cluster, name: str, part: LogPart | None, attempt: int | None, tail: int | None
    ) -> None:
        self._cluster = cluster
        self._name = name
        self._part = part
        self._attempt = attempt
        self._tail = tail
        self._said = ""

    def print_once(self) -> None:
        """Prints what is there."""
        job, choice = self._look()
        if choice is None:
            raise _nothing_yet(job)
        if not choice.sources:
            raise _gone(job, choice)
        several = len(choice.sources) > 1
        silent = 0
        for source in choice.sources:
            self._introduce(choice, source)
            if why := why_silent(source):
                silent += 1
                self._tell(f"{source.name} has printed nothing yet: {why}")
                continue
            with self._cluster.explained(self._name):
                silent += not self._print_log(source, prefixed=several)
        if choice.part is LogPart.SERVE:
            self._tell(f"what replicas log themselves: {_REPLICA_LOGS}")
        if silent == len(choice.sources):
            raise _silent(job, choice)

    def follow(self) -> None:
        """Prints what is there and what comes, until there is nothing more to come."""
        shown: set[str] = set()
        while True:
            job, choice = self._look()
            if choice is not None and choice.part is LogPart.SERVE and (self._part or not shown):
                self._follow_serving()
                return
            source = self._next(choice, shown)
            if choice is not None and source is not None:
                shown.add(source.uid)
                self._introduce(choice, source)
                with self._cluster.explained(self._name):
                    _print(followed(self._cluster.reader, source, tail=self._tail))
                if self._part is not None or self._attempt is not None:
                    return
                continue
            if job.has_settled or (self._attempt is not None and self._is_over(job)):
                if not shown:
                    raise _nothing_yet(job) if choice is None else _gone(job, choice)
                self._tell(f"{job.name} is {job.status.phase.value}: {_first_line(job)}")
                return
            time.sleep(_POLL_SECONDS)

    def _next(self, choice: Choice | None, shown: set[str]) -> Source | None:
        """Returns the container to follow now; None: there is none yet, which is told."""
        if choice is None or not choice.sources:
            self._wait_for("its pod" if choice is None else f"the pod of {choice.words}")
            return None
        source = choice.sources[0]
        if source.uid in shown:
            return None
        if choice.part is LogPart.SERVE:
            self._wait_for("the version to serve")
            return None
        if choice.part is LogPart.TRAIN and choice.remark:
            self._wait_for("the driver: the Ray cluster starts")
            return None
        if why := why_silent(source):
            self._wait_for(f"{source.name} ({choice.words}): {why}")
            return None
        return source

    def _follow_serving(self) -> None:
        def look() -> Sequence[Source]:
            now = SeenJob.of(self._cluster.job(self._name))
            found = choose(now, self._pods(now), LogPart.SERVE, None)
            ready = [source for source in found.sources if not why_silent(source)] if found else []
            if not ready:
                self._wait_for("a replica's pod")
            return ready

        def began(source: Source) -> None:
            self._introduce(Choice(LogPart.SERVE), source)

        with self._cluster.explained(self._name):
            lines = followed_together(self._cluster.reader, look, tail=self._tail, began=began)
            _print(_prefix(line.pod) + line.text for line in lines)

    def _is_over(self, job: SeenJob) -> bool:
        """Whether the attempt that was asked for is behind."""
        run = job.status.run
        return run is not None and self._attempt is not None and self._attempt < run.attempt

    def _look(self) -> tuple[SeenJob, Choice | None]:
        job = SeenJob.of(self._cluster.job(self._name))
        return job, choose(job, self._pods(job), self._part, self._attempt)

    def _pods(self, job: SeenJob) -> list[Object]:
        with self._cluster.explained(self._name):
            return self._cluster.reader.listed(POD, job.namespace, labels=f"{UID_LABEL}={job.uid}")[0]

    def _print_log(self, source: Source, *, prefixed: bool) -> bool:
        """Prints a log, and returns whether it could be read."""
        namespace = source.pod["metadata"]["namespace"]
        lines = self._cluster.reader.log(namespace, source.name, source.container, tail=self._tail)
        try:
            _print((_prefix(source.name) + line for line in lines) if prefixed else lines)
        except NotFound:
            node = is_there(self._cluster.reader, source)
            self._tell(f"the log of {source.name} is gone with its {'node' if node else 'pod'}")
            return False
        except Invalid as error:  # its container waits again since it was looked at
            self._tell(f"the log of {source.name} cannot be read: {error.message}")
            return False
        return True

    def _introduce(self, choice: Choice, source: Source) -> None:
        self._tell(f"{choice.words}: pod {source.name}, container {source.container}, {how_it_is(source)}")
        if choice.remark:
            self._tell(choice.remark)

    def _wait_for(self, what: str) -> None:
        self._tell(f"waiting for {what}")

    def _tell(self, words: str) -> None:
        """Tells a person something, once."""
        line = f"{self._name}: {printable(words, one_line=True)}"
        if line != self._said:
            say(line, color="cyan", err=True)
        self._said = line


def _print(lines: Iterable[bytes]) -> None:
    """Prints a log as it is. Whoever reads it gets each line at once."""
    for line in lines:
        sys.stdout.buffer.write(line if line.endswith(b"\n") else line + b"\n")
        sys.stdout.buffer.flush()


def _prefix(pod: str) -> bytes:
    return f"[{pod}] ".encode()


def _first_line(job: SeenJob) -> str:
    return (job.status.message.splitlines() or [""])[0]


def _nothing_yet(job: SeenJob) -> AnnealError:
    return ObjectNotFound(
        f"Nothing of {job.name} has run yet: {_first_line(job) or 'the operator has not looked at it'}",
        where=f"{job.namespace}/{job.name}",
        remedy=f"`anneal logs {job.name} --follow` waits for it; `anneal status {job.name}` says what it waits for.",
    )


def _silent(job: SeenJob, choice: Choice) -> AnnealError:
    return ObjectNotFound(
        f"There is no log of {choice.words}.",
        where=f"{job.namespace}/{job.name}",
        remedy=(
            f"`anneal status {job.name}` says how it stands; `anneal logs {job.name} --follow` waits for a pod that "
            "is about to start."
        ),
    )


def _gone(job: SeenJob, choice: Choice) -> AnnealError:
    """Returns the error that no pod of a part is there: it has gone, or has not come yet."""
    failed = next(
        (f for f in job.status.failures if f.attempt == choice.attempt and f.generation == choice.generation),
        None,
    )
    known = f" The attempt failed: {printable(failed.message, one_line=True)}" if failed is not None else ""
    return ObjectNotFound(
        f"There is no pod of {choice.words}: it has not been created yet, or is gone and its log with it.{known}",
        where=f"{job.namespace}/{job.name}",
        remedy=(
            f"`anneal status {job.name}` tells what came out. Kubernetes keeps a log only as long as the pod: "
            "collect logs in the cluster to keep them longer."
        ),
    )
