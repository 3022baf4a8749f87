"""What the operator knows when it decides: a snapshot, nothing that changes under its hands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from anneal_operator.settings import Settings

Object = Mapping[str, Any]
"""A Kubernetes object as the API server gives it."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One job, everything that was made for it, and the time.

    Attributes:
        job: The FineTuneJob: metadata, spec, status.
        children: The objects whose controller is this very job (by UID), of all kinds that the operator makes.
        pods: The pods below them.
        warnings: Kubernetes Events of type Warning about children and pods, the newest last.
        foreign: Names, as `Kind/name`, that this job needs and another object holds.
        kuberay: Whether the cluster knows RayJob and RayService.
        now: The time by the API server's clock, aware, UTC.
        settings: The operator's settings.
        confirmed: Kind and name of what was looked at live, and is as told here or not there.
        lasting: Seconds that each fact has held for, by a clock that never jumps; see `liveness.facts`.
    """

    job: Object
    children: tuple[Object, ...]
    pods: tuple[Object, ...]
    warnings: tuple[Object, ...]
    foreign: frozenset[str]
    kuberay: bool
    now: datetime
    settings: Settings
    confirmed: frozenset[tuple[str, str]] = frozenset()
    lasting: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the job."""
        return str(self.job["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Namespace of the job."""
        return str(self.job["metadata"]["namespace"])

    @property
    def uid(self) -> str:
        """UID of the job."""
        return str(self.job["metadata"]["uid"])

    @property
    def generation(self) -> int:
        """Generation of the spec."""
        return int(self.job["metadata"]["generation"])

    @property
    def raw_spec(self) -> Mapping[str, Any]:
        """The spec as it is, valid or not; empty where it is no mapping."""
        spec = self.job.get("spec")
        return spec if isinstance(spec, Mapping) else {}

    @property
    def deleting(self) -> bool:
        """Whether the job is being deleted."""
        return "deletionTimestamp" in self.job["metadata"]

    def lasted(self, fact: str) -> float:
        """Returns the seconds for which a fact of `liveness` has held; 0 where it is new."""
        return self.lasting.get(fact, 0.0)

    def child(self, kind: str, name: str) -> Object | None:
        """Returns the child of a kind and name."""
        found = (c for c in self.children if c["kind"] == kind and c["metadata"]["name"] == name)
        return next(found, None)
