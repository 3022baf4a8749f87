"""A FineTuneJob as the API server gives it, read for a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anneal_api.errors import ExitCode
from anneal_api.status import FineTuneJobStatus, Phase, StatusReason
from anneal_api.status_reading import read_status
from anneal_operator.resources.ownership import Object

FINAL = frozenset({Phase.READY, Phase.SUCCEEDED, Phase.FAILED})
"""Phases in which nothing more comes of a job by itself."""

_CODES = {
    StatusReason.MANIFEST_INVALID: ExitCode.MANIFEST_INVALID,
    StatusReason.DATA_INVALID: ExitCode.DATA_INVALID,
    StatusReason.MODEL_NOT_FOUND: ExitCode.MODEL_NOT_FOUND,
    StatusReason.GATE_NOT_PASSED: ExitCode.GATE_NOT_PASSED,
    StatusReason.OUT_OF_MEMORY: ExitCode.TRAINING_FAILED,
    StatusReason.DISK_FULL: ExitCode.TRAINING_FAILED,
    StatusReason.COLLECTIVE: ExitCode.TRAINING_FAILED,
    StatusReason.USER_CODE: ExitCode.TRAINING_FAILED,
    StatusReason.ARTIFACT_INVALID: ExitCode.ARTIFACT_INVALID,
}


@dataclass(frozen=True, slots=True)
class SeenJob:
    """A job as it was at some moment.

    Attributes:
        name: Its name.
        namespace: Its namespace.
        uid: Its UID.
        task: What its model answers.
        generation: Generation of its spec.
        created_at: When it was created, RFC 3339.
        leaving: Whether it is being deleted.
        status: Its status.
        unreadable: Fields of the status that only a newer anneal can read.
        raw: The status as it is in the cluster.
    """

    name: str
    namespace: str
    uid: str
    task: str
    generation: int
    created_at: str
    leaving: bool
    status: FineTuneJobStatus
    unreadable: tuple[str, ...]
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, body: Object) -> SeenJob:
        """Returns a job as an object of the API server tells of it."""
        metadata, raw = body["metadata"], body.get("status") or {}
        status, unreadable = read_status(raw)
        return cls(
            name=metadata["name"],
            namespace=metadata["namespace"],
            uid=metadata["uid"],
            task=str((body.get("spec") or {}).get("task") or ""),
            generation=int(metadata.get("generation") or 1),
            created_at=str(metadata.get("creationTimestamp") or ""),
            leaving="deletionTimestamp" in metadata,
            status=status,
            unreadable=unreadable,
            raw=raw,
        )

    @property
    def is_new(self) -> bool:
        """Whether the operator has not looked at the job at all."""
        return self.status.observed_generation == 0 and not self.raw

    @property
    def is_edited(self) -> bool:
        """Whether the status is about an earlier generation of the spec."""
        return self.status.observed_generation < self.generation

    @property
    def has_settled(self) -> bool:
        """Whether what the newest generation asks for has come to its end, good or bad."""
        return not self.is_edited and not self.leaving and self.status.phase in FINAL

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that says how the job stands: where it failed, the one of `anneal run` for that failure."""
        if self.is_edited or self.status.phase is not Phase.FAILED:
            return ExitCode.OK
        reason = self.status.reason
        return _CODES.get(reason, ExitCode.JOB_FAILED) if reason is not None else ExitCode.JOB_FAILED

    def as_record(self) -> dict[str, Any]:
        """Returns the job for programs: the status as the operator wrote it, and what it is about."""
        return {
            "name": self.name,
            "namespace": self.namespace,
            "task": self.task,
            "generation": self.generation,
            "createdAt": self.created_at,
            "status": dict(self.raw),
        }
