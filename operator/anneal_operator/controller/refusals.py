"""How a refusal of the API server shows in a job's status: what was refused, why, and what to do about it.

The plan says what should be; only carrying it out shows that a quota, an admission rule or a schema is against it. As
long as that lasts, the status says so instead of what the plan expects to happen.
"""

from __future__ import annotations

from dataclasses import dataclass

from anneal_api.status import ConditionType, FineTuneJobStatus, StatusReason
from anneal_operator.cluster.errors import ApiError, Forbidden, QuotaExceeded, Unavailable
from anneal_operator.plan.diagnosis.reasons import Diagnosis, diagnose

_WEBHOOK_DOWN = "failed calling webhook"  # no reason of its own: every client goes by these words


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that the API server refused.

    Attributes:
        place: Kind and name of the object.
        error: What the server said.
    """

    place: tuple[str, str]
    error: ApiError

    def resembles(self, other: Refusal | None) -> bool:
        """Returns whether this is another one's repetition. The words may differ: they may count, or bear a number."""
        return other is not None and (self.place, type(self.error)) == (other.place, type(other.error))


def is_webhook_down(error: ApiError) -> bool:
    """Returns whether a write failed because an admission webhook did not answer, which may last."""
    return isinstance(error, Unavailable) and _WEBHOOK_DOWN in error.message


def diagnosis_of(refusal: Refusal) -> Diagnosis:
    """Returns what is wrong where the API server refused an object."""
    (kind, name), error = refusal.place, refusal.error
    if isinstance(error, QuotaExceeded):
        return diagnose(StatusReason.QUOTA_EXCEEDED, f"The {kind} {name} cannot be created: {error.message}")
    hint = ""
    if is_webhook_down(error):
        hint = "See that the admission webhook that the message names answers, or have it removed."
    if type(error) is Forbidden and "cannot" in error.message and "admission" not in error.message:
        # RBAC says `User "..." cannot create resource "..."`; a person who edits the manifest cannot mend that.
        hint = "Give the operator's service account the rights of the chart's roles."
    return diagnose(StatusReason.REJECTED, f"The API server refuses the {kind} {name}: {error.message}", hint)


def with_refusal(status: FineTuneJobStatus, refused: Diagnosis) -> FineTuneJobStatus:
    """Returns a status that tells of a refusal.

    Args:
        status: What the plan says.
        refused: What is wrong.
    """
    told = {"reason": refused.reason, "message": refused.message}
    # Whether the job progresses is the plan's to say, with the time of the change; only the words change.
    conditions = [
        condition.model_copy(update=told) if condition.type is ConditionType.PROGRESSING else condition
        for condition in status.conditions
    ]
    return status.model_copy(update={**told, "hint": refused.hint, "conditions": conditions})
