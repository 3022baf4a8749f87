"""Where a job stands, in one record, from which conditions, phase and message are all derived."""

from __future__ import annotations

from dataclasses import dataclass

from anneal_api.attempt import Part
from anneal_api.status import Phase, StatusReason
from anneal_operator.plan.trouble import Trouble

FINE = frozenset(
    {
        StatusReason.ACCEPTED,
        StatusReason.NOT_YET,
        StatusReason.RUNNING,
        StatusReason.DONE,
        StatusReason.DEPLOYING,
        StatusReason.SERVING,
        StatusReason.NOT_ASKED_FOR,
        StatusReason.OLD_VERSION_SERVES,
        StatusReason.UNPROVEN_VERSION_SERVES,
    }
)
"""Reasons of conditions that nobody has to do anything about."""

PHASE_OF_PART = {Part.PREPARE: Phase.PREPARING, Part.TRAIN: Phase.TRAINING, Part.FINISH: Phase.FINISHING}
"""What a job does while a part runs."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a job stands.

    Attributes:
        phase: One word for people.
        why: Why, for the condition that is about it.
        message: The same in a sentence.
        hint: What to do about it.
        part: The part that the way is at; None: what the spec asks for is published, or, where the manifest is
            invalid, nothing is on its way.
        shown: Reason for the status itself; None: as `why`, where that is anything to act on.
        going: Whether the job moves on by itself.
    """

    phase: Phase
    why: StatusReason
    message: str
    hint: str = ""
    part: Part | None = None
    shown: StatusReason | None = None
    going: bool = True

    @property
    def failed(self) -> bool:
        """Whether the job failed."""
        return self.phase is Phase.FAILED

    @property
    def published(self) -> bool:
        """Whether what the spec asks for is published."""
        return self.part is None and self.why is not StatusReason.MANIFEST_INVALID

    @property
    def reason(self) -> StatusReason | None:
        """The reason that the status shows; None where there is nothing to tell."""
        shown = self.shown or self.why
        return None if shown in FINE else shown


def waits(phase: Phase, what: Trouble, part: Part | None) -> Standing:
    """Returns the standing of a job that something keeps from going on."""
    return Standing(phase, what.reason, what.message, what.hint, part)


def has_failed(why: Trouble, part: Part | None) -> Standing:
    """Returns the standing of a job that failed."""
    return Standing(Phase.FAILED, why.reason, why.message, why.hint, part, going=False)
