"""`anneal logs`: what a pod of a FineTuneJob prints.

Standard output gets the log alone; whose log it is goes to standard error.
"""

from __future__ import annotations

import sys
import time

from anneal_api.errors import AnnealError, ExitCode, ObjectNotFound, RequestInvalid, ResourceUnavailable
from anneal_api.status import Phase
from anneal_cli.cluster_access import Cluster, ClusterChoice
from anneal_cli.console import say
from anneal_cli.job_pods import Choice, Source, choose
from anneal_cli.log_part import LogPart
from anneal_cli.seen_job import SeenJob
from anneal_cli.wording import printable
from anneal_operator.cluster.errors import Invalid, NotFound, Unavailable
from anneal_operator.cluster.kinds import POD
from anneal_operator.resources.names import PART_LABEL, UID_LABEL

_POLL_SECONDS = 2.0
_LOOKS_AT_AN_END = 5
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
        if choice.source is None:
            raise _gone(job, choice)
        self._introduce(job, choice, choice.source)
        if why := choice.source.why_silent:
            self._tell(f"{choice.source.name} has printed nothing yet: {why}")
        elif self._print_log(choice.source, follow=False):
            return
        raise _silent(job, choice)

    def follow(self) -> None:
        """Prints what is there and what comes, until there is nothing more to come."""
        shown: set[str] = set()
        while True:
            job, choice = self._look()
            source = self._next(choice, shown)
            if choice is not None and source is not None:
                shown.add(source.uid)
                self._introduce(job, choice, source)
                printed = self._print_log(source, follow=True)
                if self._part is not None or self._attempt is not None or choice.part is LogPart.SERVE:
                    if not printed:
                        raise _silent(job, choice)
                    return
                continue
            serves = choice is not None and choice.part is LogPart.SERVE and job.status.phase is Phase.READY
            if (shown or not serves) and (job.has_settled or self._is_over(job)):
                if not shown:
                    raise _nothing_yet(job) if choice is None else _gone(job, choice)
                self._tell(f"{job.name} is {job.status.phase.value}: {_first_line(job)}")
                return
            time.sleep(_POLL_SECONDS)

    def _next(self, choice: Choice | None, shown: set[str]) -> Source | None:
        """Returns the container to follow now; None: there is none yet, which is told."""
        if choice is None or choice.source is None:
            self._tell(f"waiting for {'its pod' if choice is None else f'the pod of {choice.words}'}")
            return None
        source = choice.source
        if source.uid in shown:
            return None
        if choice.part is LogPart.SERVE and shown:
            self._tell("waiting for the version to serve")
        elif choice.part is LogPart.TRAIN and choice.remark:
            self._tell("waiting for the driver: the Ray cluster starts")
        elif choice.part is LogPart.SERVE and choice.remark:
            self._tell("waiting for a replica's pod")
        elif why := source.why_silent:
            self._tell(f"waiting for {source.name} ({choice.words}): {why}")
        else:
            return source
        return None

    def _is_over(self, job: SeenJob) -> bool:
        """Whether the attempt that was asked for is behind."""
        run = job.status.run
        return run is not None and self._attempt is not None and self._attempt < run.attempt

    def _look(self) -> tuple[SeenJob, Choice | None]:
        job = SeenJob.of(self._cluster.job(self._name))
        with self._cluster.explained(self._name):
            pods, _ = self._cluster.reader.listed(POD, job.namespace, labels=f"{UID_LABEL}={job.uid}")
        return job, choose(job, pods, self._part, self._attempt)

    def _print_log(self, source: Source, *, follow: bool) -> bool:
        """Prints a log, and returns whether it could be read."""
        reader, begun = self._cluster.reader, False
        with self._cluster.explained(self._name):
            try:
                for line in reader.log(
                    source.namespace, source.name, source.container, follow=follow, tail=self._tail
                ):
                    begun = True
                    sys.stdout.buffer.write(line if line.endswith(b"\n") else line + b"\n")
                    sys.stdout.buffer.flush()  # whoever reads it gets each line at once
            except NotFound:
                node = self._now(source) is not None
                self._tell(f"the log of {source.name} is gone with its {'node' if node else 'pod'}")
                return False
            except Invalid as error:  # its container waits again since it was looked at
                self._tell(f"the log of {source.name} cannot be read: {error.message}")
                return False
            except Unavailable as error:
                if not begun:
                    raise
                raise _broken_off(source, f": {error.message}") from error
            if follow and self._goes_on(source):
                raise _broken_off(source)
        return True

    def _goes_on(self, source: Source) -> bool:
        """Whether a container runs on although its log has ended. That it has ended, its pod tells somewhat late."""
        for _ in range(_LOOKS_AT_AN_END):
            now = self._now(source)
            if now is None or now.is_over or not source.running or now.running != source.running:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _now(self, source: Source) -> Source | None:
        """Returns a container as it is now; None: its pod is gone."""
        try:
            pod = self._cluster.reader.get(POD, source.namespace, source.name)
        except NotFound:
            return None
        now = Source(pod, source.container)
        return now if now.uid == source.uid else None

    def _introduce(self, job: SeenJob, choice: Choice, source: Source) -> None:
        self._tell(f"{choice.words}: pod {source.name}, container {source.container}, {source.standing}")
        if choice.remark:
            self._tell(choice.remark)
        if choice.pods > 1:
            selector = f"{UID_LABEL}={job.uid},{PART_LABEL}={choice.part}"
            all_of_them = f"kubectl logs -n {job.namespace} -l {selector} -f --prefix"
            self._tell(f"the newest of {choice.pods} replicas; all of them: {all_of_them}")
        if choice.part is LogPart.SERVE:
            self._tell(f"what replicas log themselves: {_REPLICA_LOGS}")

    def _tell(self, words: str) -> None:
        """Tells a person something, once."""
        line = f"{self._name}: {printable(words, one_line=True)}"
        if line != self._said:
            say(line, color="cyan", err=True)
        self._said = line


def _first_line(job: SeenJob) -> str:
    return (job.status.message.splitlines() or [""])[0]


def _broken_off(source: Source, why: str = "") -> AnnealError:
    return ResourceUnavailable(
        f"The log of {source.name} broke off while its container runs{why}.",
        where=f"{source.namespace}/{source.name}",
        remedy="Run the same command again, with --tail 100 to begin near the end.",
    )


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
