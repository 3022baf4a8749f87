"""Which pod of a job has the log that a person asks for. Pure: a job and its pods go in, a choice comes out.

The driver of training runs in the head of its Ray cluster, which keeps the driver's output in a file. The submitter
(`K8sJobMode` of KubeRay) follows that output and prints it, and it stays when the Ray cluster is gone. What the head
prints itself is Ray's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anneal_api.attempt import Part
from anneal_api.status import Phase, StatusReason
from anneal_cli.log_part import LogPart
from anneal_cli.seen_job import SeenJob
from anneal_operator.plan.observations import labels_of, number, status_of
from anneal_operator.resources.names import ATTEMPT_LABEL, GENERATION_LABEL, PART_LABEL
from anneal_operator.resources.ownership import Object

_NODE_TYPE = "ray.io/node-type"
_OURS = frozenset({"prepare", "finish", "parity", "submitter", "ray-head", "ray-worker"})
_OF_ATTEMPTS = (LogPart.PREPARE, LogPart.TRAIN, LogPart.FINISH)


@dataclass(frozen=True, slots=True)
class Source:
    """A container whose log is asked for.

    Attributes:
        pod: The pod.
        container: Name of the container.
    """

    pod: Object
    container: str

    @property
    def name(self) -> str:
        """Name of the pod."""
        return str(self.pod["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Namespace of the pod."""
        return str(self.pod["metadata"]["namespace"])

    @property
    def uid(self) -> str:
        """UID of the pod."""
        return str(self.pod["metadata"]["uid"])

    @property
    def running(self) -> Mapping[str, Any]:
        """Since when the container runs; empty: it does not run."""
        return self._state.get("running") or {}

    @property
    def is_over(self) -> bool:
        """Whether nothing in the pod runs any more, of which its containers need not know where its node is gone."""
        return status_of(self.pod).get("phase") in {"Succeeded", "Failed"}

    @property
    def why_silent(self) -> str:
        """Why the container has no log yet; empty where it has one."""
        before = (self._status.get("lastState") or {}).get("terminated")  # it is about to be started again
        if self.running or self._state.get("terminated") or before:
            return ""
        status, waiting = status_of(self.pod), self._state.get("waiting") or {}
        if not waiting:
            for condition in status.get("conditions") or ():
                if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                    waiting = condition
        words = ": ".join(str(waiting[key]) for key in ("reason", "message") if waiting.get(key))
        return words or str(status.get("phase") or "Pending")

    @property
    def standing(self) -> str:
        """How the container is doing, for people: `running`, or how it ended."""
        if ended := self._state.get("terminated"):
            reason = ended.get("reason")
            why = f" ({reason})" if reason and reason not in {"Completed", "Error"} else ""
            return f"ended with exit code {ended.get('exitCode', '?')}{why}"
        return "running" if self.running else str(status_of(self.pod).get("phase") or "Pending").lower()

    @property
    def _status(self) -> Mapping[str, Any]:
        statuses = status_of(self.pod).get("containerStatuses") or ()
        return next((each for each in statuses if each.get("name") == self.container), {})

    @property
    def _state(self) -> Mapping[str, Any]:
        return self._status.get("state") or {}


@dataclass(frozen=True, slots=True)
class Choice:
    """Whose log is shown.

    Attributes:
        part: The part.
        generation: Generation that the attempt belongs to; None: the part belongs to no attempt.
        attempt: Number of the attempt; None: the part belongs to none.
        source: The container; None: no pod of it is there.
        remark: Why this is not the container that one would expect; empty: it is.
        pods: How many there are that answer requests; the container is of the newest.
    """

    part: LogPart
    generation: int | None = None
    attempt: int | None = None
    source: Source | None = None
    remark: str = ""
    pods: int = 1

    @property
    def words(self) -> str:
        """The part, for people: `train, attempt 2`."""
        return self.part.value if self.attempt is None else f"{self.part.value}, attempt {self.attempt}"


def choose(job: SeenJob, pods: Iterable[Object], part: LogPart | None, attempt: int | None) -> Choice | None:
    """Returns whose log to show.

    Args:
        job: The job.
        pods: Its pods.
        part: The part that was asked for; None: the one that runs, or ran last.
        attempt: The attempt that was asked for; None: the newest one that has the part.

    Returns:
        The choice; None where nothing of the job has run yet.
    """
    pods = tuple(pods)
    if part is None and attempt is None:
        part = part_at_work(job, pods)
        attempt = job.status.run.attempt if job.status.run is not None and part in _OF_ATTEMPTS else None
    elif part is None:
        part = _part_of_attempt(job, pods, attempt)
    if part is None:
        return None
    if part is LogPart.SERVE:
        return _serving(pods)
    if part is LogPart.PARITY:
        return Choice(part, source=_newest(_of_part(pods, part)))
    return _of_attempt(job, pods, part, attempt)


def part_at_work(job: SeenJob, pods: Sequence[Object]) -> LogPart | None:
    """Returns the part that a job is at, or that it failed in; None where nothing has run yet."""
    status = job.status
    newest = status.versions[-1] if status.versions else None
    refused = newest.refused if newest is not None else None
    failed_serving = (
        status.phase is Phase.FAILED
        and refused is not None
        and refused.generation == status.observed_generation
    )
    if failed_serving and refused is not None:
        return LogPart.PARITY if refused.reason is StatusReason.PARITY_FAILED else LogPart.SERVE
    if status.phase is Phase.DEPLOYING:
        probing = any(_runs(pod) for pod in _of_part(pods, LogPart.PARITY))
        return LogPart.PARITY if probing else LogPart.SERVE
    if status.phase is Phase.READY:
        return LogPart.SERVE
    return _log_part(status.run.part) if status.run is not None else None


def _log_part(part: Part) -> LogPart | None:
    """Returns the part of the log; None where only a newer anneal knows that part."""
    return LogPart(part.value) if part.is_known else None


def _serving(pods: Iterable[Object]) -> Choice:
    """Returns the pod that answers requests: a worker of the Ray cluster. Its head answers none."""
    serving = _of_part(pods, LogPart.SERVE)
    workers = [pod for pod in serving if labels_of(pod).get(_NODE_TYPE) == "worker"]
    if workers or not serving:
        return Choice(LogPart.SERVE, source=_newest(workers), pods=len(workers))
    remark = "No replica's pod is there yet; this is the head of the Ray cluster."
    return Choice(LogPart.SERVE, source=_newest(serving), remark=remark)


def _of_attempt(job: SeenJob, pods: Iterable[Object], part: LogPart, attempt: int | None) -> Choice:
    run = job.status.run
    found = _of_part(pods, part)
    if attempt is not None:
        wanted = (run.generation if run is not None else 0, attempt)
        found = [pod for pod in found if _attempt(pod) == wanted]
    if not found:
        return Choice(part, run.generation if run is not None else None, attempt)
    newest = max(map(_attempt, found))
    found = [pod for pod in found if _attempt(pod) == newest]
    if part is not LogPart.TRAIN:
        return Choice(part, *newest, _newest(found))
    submitters = [pod for pod in found if _NODE_TYPE not in labels_of(pod)]
    if submitters:
        return Choice(part, *newest, _newest(submitters))
    heads = [pod for pod in found if labels_of(pod).get(_NODE_TYPE) == "head"]
    remark = "The driver's own output is not there: its pod has not been created yet, or is gone. This is Ray's head."
    return Choice(part, *newest, _newest(heads), remark if heads else "")


def _part_of_attempt(job: SeenJob, pods: Iterable[Object], attempt: int | None) -> LogPart | None:
    """Returns the last part of an attempt that something is known of."""
    run = job.status.run
    if run is None:
        return None
    if run.attempt == attempt:
        return _log_part(run.part)
    for failure in job.status.failures:
        if (failure.generation, failure.attempt) == (run.generation, attempt):
            return _log_part(failure.part)
    there = {labels_of(pod).get(PART_LABEL) for pod in pods if _attempt(pod) == (run.generation, attempt)}
    return next((part for part in reversed(_OF_ATTEMPTS) if part.value in there), LogPart.TRAIN)


def _of_part(pods: Iterable[Object], part: LogPart) -> list[Object]:
    return [pod for pod in pods if labels_of(pod).get(PART_LABEL) == part.value]


def _newest(pods: Iterable[Object]) -> Source | None:
    """Returns our container in the pod that was created last; None where there is no pod."""
    created = {
        (str(pod["metadata"].get("creationTimestamp")), str(pod["metadata"]["name"])): pod for pod in pods
    }
    if not created:
        return None
    pod = created[max(created)]
    names = [str(each.get("name")) for each in (pod.get("spec") or {}).get("containers") or ()]
    # Others may have put a container before ours.
    return Source(pod, next((name for name in names if name in _OURS), names[0] if names else ""))


def _runs(pod: Object) -> bool:
    return status_of(pod).get("phase") in {"Pending", "Running"}


def _attempt(pod: Object) -> tuple[int, int]:
    """Returns generation and attempt that a pod belongs to; 0 where it says none."""
    labels = labels_of(pod)
    return number(labels, GENERATION_LABEL) or 0, number(labels, ATTEMPT_LABEL) or 0
