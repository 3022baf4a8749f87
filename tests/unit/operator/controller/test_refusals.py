"""A refusal shows in the status in one of the closed set of reasons, and nothing else changes."""

from __future__ import annotations

import pytest

from anneal_api.status import (
    Condition,
    ConditionStatus,
    ConditionType,
    FineTuneJobStatus,
    Phase,
    StatusReason,
)
from anneal_operator.cluster.errors import ApiError, Forbidden, Invalid, QuotaExceeded, Unavailable
from anneal_operator.controller.refusals import Refusal, diagnosis_of, with_refusal


@pytest.mark.parametrize(
    ("error", "reason", "hint"),
    [
        (QuotaExceeded("exceeded quota: q, requested: cpu=4"), StatusReason.QUOTA_EXCEEDED, "ResourceQuota"),
        (Invalid('admission webhook "x" denied the request'), StatusReason.REJECTED, "message names"),
        (
            Forbidden('rayjobs.ray.io is forbidden: User "sa" cannot create resource "rayjobs"'),
            StatusReason.REJECTED,
            "service account",
        ),
        (
            Unavailable('Internal error occurred: failed calling webhook "x": connection refused', code=500),
            StatusReason.REJECTED,
            "webhook",
        ),
    ],
)
def test_says_what_and_what_to_do(error: ApiError, reason: StatusReason, hint: str) -> None:
    found = diagnosis_of(Refusal(("RayJob", "a-g1-a1"), error))
    assert found.reason is reason
    assert "RayJob a-g1-a1" in found.message
    assert error.message in found.message
    assert hint in found.hint


def test_a_refusal_in_other_words_is_the_same_refusal() -> None:
    first = Refusal(("Job", "a"), QuotaExceeded("exceeded quota: q, used: cpu=4"))
    assert first.resembles(Refusal(("Job", "a"), QuotaExceeded("exceeded quota: q, used: cpu=5")))
    assert not first.resembles(Refusal(("Job", "b"), first.error))
    assert not first.resembles(Refusal(("Job", "a"), Forbidden("denied")))
    assert not first.resembles(None)


def test_changes_the_words_and_no_time_or_state() -> None:
    conditions = [
        Condition(
            type=kind,
            status=ConditionStatus.TRUE,
            reason=StatusReason.RUNNING,
            message="runs",
            lastTransitionTime="2026-01-01T00:00:00Z",
            observedGeneration=2,
        )
        for kind in (ConditionType.VALID, ConditionType.PROGRESSING)
    ]
    status = FineTuneJobStatus(phase=Phase.PREPARING, conditions=conditions)
    told = with_refusal(status, diagnosis_of(Refusal(("Job", "a"), QuotaExceeded("exceeded quota"))))
    assert told.phase is Phase.PREPARING
    assert told.reason is StatusReason.QUOTA_EXCEEDED
    valid, progressing = told.conditions
    assert valid == conditions[0]
    assert progressing.status is ConditionStatus.TRUE
    assert progressing.reason is StatusReason.QUOTA_EXCEEDED
    assert progressing.last_transition_time == "2026-01-01T00:00:00Z"
    assert with_refusal(told, diagnosis_of(Refusal(("Job", "a"), QuotaExceeded("exceeded quota")))) == told
