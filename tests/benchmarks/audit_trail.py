"""What an operator wrote and when, by the API server's own log and clock. Pure, but for reading the log.

Latency and throughput are read here and not by a client that watches: a watcher would take processor time from what
is measured, and its clock starts when the server gets round to telling it.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

Place = tuple[str, str]
"""Resource and name of an object in the namespace."""

STATUS = "finetunejobs/status"

_JOBS = "finetunejobs"
_NO_CHILDREN = frozenset({"events", "leases", _JOBS, STATUS})
_FIRST_ERROR = 300
_CREATED = 201


@dataclass(frozen=True, slots=True)
class Write:
    """A request that changes something, or was to.

    Attributes:
        at: When it was answered, in seconds.
        resource: Resource, with its subresource.
        name: Name of the object.
        agent: Who sent it.
        code: HTTP status.
    """

    at: float
    resource: str
    name: str
    agent: str
    code: int

    @property
    def done(self) -> bool:
        """Whether it was carried out."""
        return self.code < _FIRST_ERROR


@dataclass(slots=True)
class JobTrail:
    """What was written about one job, in seconds; None: that has not come about.

    Attributes:
        missing: What it must get first and has not yet.
        applied: When it was created.
        first_child: When the first child was.
        complete: When all expected children were, and the first status was written.
    """

    missing: set[Place]
    applied: float | None = None
    first_child: float | None = None
    complete: float | None = None


class Trail:
    """What was written in a namespace.

    Args:
        namespace: The namespace.
        makers: User agents of those who are not the operator: who applies jobs, and who plays the cluster.
        expected: Resources and names of the children that each job must get first, by the job's name.
    """

    def __init__(
        self, namespace: str, makers: Iterable[str], expected: Mapping[str, Iterable[Place]]
    ) -> None:
        self.jobs = {job: JobTrail({*places, (STATUS, job)}) for job, places in expected.items()}
        self.writes: list[Write] = []
        self._namespace = namespace
        self._makers = frozenset(makers)

    def read(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Takes note of further lines of the audit log."""
        for event in events:
            about = event.get("objectRef") or {}
            if about.get("namespace") == self._namespace and event.get("stage") == "ResponseComplete":
                self._take(_write_of(event))

    @property
    def by_operator(self) -> list[Write]:
        """The operator's writes, those of its Lease left out."""
        return [write for write in self.writes if self._is_operators(write) and write.resource != "leases"]

    def are_complete(self, jobs: Iterable[str]) -> bool:
        """Returns whether jobs have all that they must get first."""
        return all(self.jobs[job].complete is not None for job in jobs)

    def created_twice(self) -> list[Place]:
        """Returns what the operator created more often than once."""
        created = Counter(
            (write.resource, write.name) for write in self.by_operator if write.code == _CREATED
        )
        return sorted(place for place, count in created.items() if count > 1)

    def _is_operators(self, write: Write) -> bool:
        return write.agent not in self._makers

    def _take(self, write: Write) -> None:
        self.writes.append(write)
        if not write.done:
            return
        if not self._is_operators(write):
            if write.resource == _JOBS and write.code == _CREATED and write.name in self.jobs:
                self.jobs[write.name].applied = write.at
            return
        if write.resource in _NO_CHILDREN - {STATUS}:
            return
        job = next((name for name in _ancestors(write.name) if name in self.jobs), None)
        if job is None:
            return
        trail = self.jobs[job]
        if write.resource != STATUS and trail.first_child is None:
            trail.first_child = write.at
        trail.missing.discard((write.resource, write.name))
        if not trail.missing and trail.complete is None:
            trail.complete = write.at


class AuditLog:
    """An audit log that grows.

    Args:
        file: Where the API server writes it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0

    def new(self) -> list[dict[str, Any]]:
        """Returns the lines that were added since the last call."""
        if not self._file.exists():
            return []
        with self._file.open("rb") as log:
            log.seek(self._offset)
            whole, newline, _ = log.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return [json.loads(line) for line in whole.splitlines()]


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the least value that at least a share of all values do not exceed."""
    # What a product of the two lacks of a whole number, or has too much, is rounding.
    return sorted(values)[max(0, math.ceil(round(len(values) * share, 6)) - 1)]


def _ancestors(child: str) -> Iterable[str]:
    """Yields the names that a child's name may have been made from: `a-b-c`, `a-b`, `a`."""
    parts = child.split("-")
    for length in range(len(parts), 0, -1):
        yield "-".join(parts[:length])


def _write_of(event: Mapping[str, Any]) -> Write:
    about = event["objectRef"]
    resource = "/".join(part for part in (about["resource"], about.get("subresource")) if part)
    return Write(
        at=datetime.fromisoformat(event["stageTimestamp"]).timestamp(),
        resource=resource,
        name=about.get("name", ""),
        agent=event.get("userAgent", ""),
        code=(event.get("responseStatus") or {}).get("code", 0),
    )
