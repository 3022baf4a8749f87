"""What the pods of an attempt have reported."""

from __future__ import annotations

from pydantic import ValidationError

from anneal_api.attempt import Part, PartReport
from anneal_operator.plan.observed import Object, Observed
from anneal_operator.resources.names import attempt_name


def report_of(observed: Observed, generation: int, attempt: int, part: Part) -> PartReport | None:
    """Returns what a part of an attempt last reported; None where nothing that counts is there.

    Only a report that names the very job, generation, attempt and part counts.
    """
    board = observed.child("ConfigMap", attempt_name(observed.name, generation, attempt))
    return report_in(board, observed.uid, generation, attempt, part) if board is not None else None


def report_in(board: Object, uid: str, generation: int, attempt: int, part: Part) -> PartReport | None:
    """Returns what a part of an attempt last wrote into the attempt's ConfigMap; None where nothing of it counts.

    Args:
        board: The ConfigMap.
        uid: UID of the job.
        generation: Generation that the attempt belongs to.
        attempt: Number of the attempt.
        part: The part.
    """
    report = _read(board, part)
    if report is None:
        return None
    told = (report.job_uid, report.generation, report.attempt, report.part)
    return report if told == (uid, generation, attempt, part) else None


def reports_of(observed: Observed, generation: int, attempt: int) -> dict[Part, PartReport]:
    """Returns what the parts of an attempt last reported, by part."""
    found = {part: report_of(observed, generation, attempt, part) for part in Part}
    return {part: report for part, report in found.items() if report is not None}


def _read(board: Object, part: Part) -> PartReport | None:
    text = (board.get("data") or {}).get(f"{part.value}.json")
    if not isinstance(text, str):
        return None
    try:
        # A trainer that is newer than the operator may say more than the operator knows.
        return PartReport.model_validate_json(text, extra="ignore")
    except ValidationError:
        return None
