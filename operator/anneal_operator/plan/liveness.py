"""How long things have been as they are, told without comparing anybody's clock with another one's.

Nodes, pods and API servers write times that may be minutes off, and so may the operator's own. What is judged by age,
a pod's silence above all, is timed by the operator itself, from when it first saw things so, with a clock that never
jumps. A newly started operator therefore waits once more: it may find out late that something is dead, and never
takes for dead what is alive.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

from anneal_api.attempt import Part
from anneal_operator.plan import observations
from anneal_operator.plan.confirmation import ref_of
from anneal_operator.plan.observed import Object, Observed
from anneal_operator.resources.names import attempt_name

_DIGEST_LENGTH = 16
_PARTS = frozenset(part.value for part in Part)


class Timers:
    """Since when each fact has held."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[str, float]] = {}

    def update(self, facts: Mapping[str, str], monotonic: float) -> dict[str, float]:
        """Takes note of the facts that hold, and forgets those that no longer do.

        Args:
            facts: What each fact says; one that says something new begins anew.
            monotonic: Seconds of a clock that never jumps.

        Returns:
            The seconds that each has held for.
        """
        since = {}
        for name, value in facts.items():
            known = self._since.get(name)
            since[name] = known if known is not None and known[0] == value else (value, monotonic)
        self._since = since
        return {name: monotonic - begin for name, (_, begin) in since.items()}


def facts(observed: Observed) -> dict[str, str]:
    """Returns everything that the plan judges by its age, as it is now."""
    found = dict(_of_status(observed))
    for child in observed.children:
        if child["kind"] in {"Job", "RayJob"}:
            pods = observations.pods_with(observations.labels_of(child), observed.pods)
            found.update(_of_workload(child, pods))
        elif child["kind"] == "ConfigMap":
            found.update(_of_reports(child))
    terminating = filter(observations.is_leaving, (*observed.children, *observed.pods))
    return found | {leaving(body): _uid(body) for body in terminating}


def leaving(body: Object) -> str:
    """Names the fact that an object is being deleted."""
    return f"{_place(body)} is leaving"


def ended(body: Object) -> str:
    """Names the fact that a Job or RayJob has come to its end."""
    return f"{_place(body)} has ended"


def unfinished(body: Object) -> str:
    """Names the fact that a Job or RayJob is there and has not come to its end."""
    return f"{_place(body)} is unfinished"


def untouched(body: Object) -> str:
    """Names the fact that no controller has taken a Job or RayJob up."""
    return f"{_place(body)} is untouched"


def waiting(body: Object) -> str:
    """Names the fact that the code of a Job or RayJob does not run, though no queue or person holds it back."""
    return f"{_place(body)} is waiting"


def alive(body: Object) -> str:
    """Names the fact that the code of a Job or RayJob runs."""
    return f"{_place(body)} is alive"


def reported(job: str, generation: int, attempt: int, part: Part) -> str:
    """Names the fact that a part of an attempt has last reported what it has."""
    return _reported(attempt_name(job, generation, attempt), part)


PROGRESS_SHOWN = "the progress is shown"
"""The fact that the status shows the progress that it does."""


def deploying(version: object) -> str:
    """Names the fact that a version is to serve and does not yet."""
    return f"v{version} is deploying"


def _of_workload(body: Object, pods: tuple[Object, ...]) -> Iterator[tuple[str, str]]:
    uid = _uid(body)
    if observations.has_ended(body):
        yield ended(body), uid
        return
    yield unfinished(body), uid
    if not observations.is_held(body):
        if not observations.has_begun(body):
            yield untouched(body), uid
        since = observations.alive_since(body, pods)
        if since is None:
            yield waiting(body), uid
        else:
            # A container or a driver that was started again has just begun.
            yield alive(body), f"{uid} {since.isoformat()}"


def _of_reports(board: Object) -> Iterator[tuple[str, str]]:
    for key, text in (board.get("data") or {}).items():
        part = key.removesuffix(".json")
        if isinstance(text, str) and part in _PARTS:
            digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
            yield _reported(board["metadata"]["name"], part), f"{_uid(board)} {digest}"


def _of_status(observed: Observed) -> Iterator[tuple[str, str]]:
    status = observed.job.get("status")
    if isinstance(status, Mapping) and status.get("progress"):
        yield PROGRESS_SHOWN, json.dumps(status["progress"], sort_keys=True, default=str)
    versions = status.get("versions") if isinstance(status, Mapping) else None
    for version in versions if isinstance(versions, list) else ():
        if isinstance(version, Mapping) and isinstance(version.get("deployingSince"), str):
            yield deploying(version.get("version")), version["deployingSince"]


def _reported(board: str, part: str) -> str:
    return f"{board} {part}"


def _place(body: Object) -> str:
    return "/".join(ref_of(body))


def _uid(body: Object) -> str:
    return str(body["metadata"]["uid"])
