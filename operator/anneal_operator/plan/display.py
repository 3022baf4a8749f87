"""What people see of a job beside its conditions: progress, stages, scores, the gate table, the columns' words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from anneal_api.attempt import Part, PartReport, PublishedResult
from anneal_api.report import GateRow, VariantReport
from anneal_api.status import (
    DroppedRowsStatus,
    FineTuneJobStatus,
    GateLine,
    Phase,
    Progress,
    StageStatus,
    VariantStatus,
    VersionState,
    VersionStatus,
)
from anneal_operator.plan.standing import Standing
from anneal_operator.plan.trouble import shortened

_STAGES = ("preflight", "prepare", "train", "evaluate", "compress", "gate", "publish")
_BEGINS_AT = {Part.PREPARE: 1, Part.TRAIN: 10, Part.FINISH: 80}
_ENDS_AT = {Part.PREPARE: 10, Part.TRAIN: 80, Part.FINISH: 95}
_PERCENT_OF_PHASE = {Phase.DEPLOYING: 95, Phase.READY: 100, Phase.SUCCEEDED: 100}
_MOST_LINES = 64
_MOST_VARIANTS = 32
_MOST_STAGES = 32
_MOST_DROPPED = 20
_LONGEST_WORDS = 256
_LONGEST_NAME = 64
_MOST = 2**53


def progress_of(standing: Standing, report: PartReport | None, before: Progress | None) -> Progress | None:
    """Returns how far a job is.

    Args:
        standing: Where it stands.
        report: What the part that it is at last reported.
        before: What was shown so far.
    """
    if standing.phase in _PERCENT_OF_PHASE:
        return Progress(percent=_PERCENT_OF_PHASE[standing.phase])
    if standing.failed or standing.part is None:
        return before
    if report is None:
        idle = standing.phase in {Phase.PENDING, Phase.SUSPENDED} or not standing.part.is_known
        return (before or Progress(percent=0)) if idle else Progress(percent=_BEGINS_AT[standing.part])
    return reported_progress(standing.part, report)


def reported_progress(part: Part, report: PartReport) -> Progress:
    """Returns how far a job is by what the part that it is at reports.

    Args:
        part: The part.
        report: What it last reported.
    """
    stage = shortened(report.stage, _LONGEST_NAME)
    training = report.progress if report.part is Part.TRAIN else None
    if training is None:
        return Progress(percent=_percent(part, _share_of_stages(report)), stage=stage)
    step, total = count(training.step), count(training.total_steps)
    return Progress(
        percent=_percent(part, step / total if total else 0.0),
        stage=stage,
        step=step,
        totalSteps=total,
        loss=_finite(training.loss),
        tokensPerSecond=_finite(training.tokens_per_second),
        etaSeconds=_whole(training.eta_seconds),
    )


def stages_of(reports: Iterable[PartReport], before: Sequence[StageStatus]) -> list[StageStatus]:
    """Returns the stages that are done, in their order: what reports tell, and what was known already."""
    found = {stage.name: stage for stage in before}
    for report in reports:
        for stage in report.stages:
            seconds = _finite(stage.seconds) or 0.0
            name = shortened(stage.name, _LONGEST_NAME)
            found[name] = StageStatus(name=name, reused=stage.reused, seconds=seconds)
    order = {name: index for index, name in enumerate(_STAGES)}
    return sorted(found.values(), key=lambda stage: (order.get(stage.name, len(order)), stage.name))[
        :_MOST_STAGES
    ]


def dropped_rows_of(
    reports: Iterable[PartReport], before: Sequence[DroppedRowsStatus]
) -> list[DroppedRowsStatus]:
    """Returns the rows that preflight left out: what reports tell, else what was known already."""
    told = [report for report in reports if any(stage.name == "preflight" for stage in report.stages)]
    if not told:
        return list(before)
    return [
        DroppedRowsStatus(
            split=shortened(each.split, _LONGEST_NAME),
            reason=shortened(each.reason, _LONGEST_NAME),
            rows=count(each.rows),
            where=shortened(each.where, _LONGEST_WORDS),
        )
        for each in told[-1].dropped[:_MOST_DROPPED]
    ]


def with_result(status: FineTuneJobStatus, published: PublishedResult | None) -> FineTuneJobStatus:
    """Returns a status with the result of a finish part; as it is where there is none."""
    if published is None:
        return status
    metric = published.leading_metric
    score = _finite(published.metrics.get(metric))
    return status.model_copy(
        update={
            "metrics": {
                shortened(name, _LONGEST_NAME): value
                for name, value in list(published.metrics.items())[:_MOST_LINES]
            },
            "score": f"{shortened(metric, _LONGEST_NAME)} {score:.4f}" if score is not None else "",
            "gate": [_gate_line(row) for row in published.gate.rows[:_MOST_LINES]],
            "variants": [_variant(variant, metric) for variant in published.variants[:_MOST_VARIANTS]],
        }
    )


def served_words(versions: Iterable[VersionStatus]) -> tuple[str, str]:
    """Returns the words of the columns VERSION and TRAFFIC: `v3`, and `v2 90%, v3 10% (unproven)`."""
    answering = [version for version in versions if version.traffic > 0]
    main = max(answering, key=lambda version: version.traffic, default=None)
    traffic = ", ".join(f"v{v.version} {v.traffic}%{_standing_of(v)}" for v in answering)
    return (f"v{main.version}" if main is not None else ""), traffic


def _standing_of(version: VersionStatus) -> str:
    if version.refused is not None:
        return " (refused)"
    return " (unproven)" if version.state is VersionState.CANDIDATE else ""


def count(number: int) -> int:
    """Returns a number of things as it can stand in a status: what a pod reports may be any number."""
    return min(max(number, 0), _MOST)


def _percent(part: Part, share: float) -> int:
    begin, end = _BEGINS_AT[part], _ENDS_AT[part]
    return begin + int((end - begin) * min(max(share, 0.0), 1.0))


def _share_of_stages(report: PartReport) -> float:
    of_part = {Part.PREPARE: 2, Part.TRAIN: 1, Part.FINISH: 4}[report.part]
    return len(report.stages) / of_part


def _gate_line(row: GateRow) -> GateLine:
    return GateLine(
        metric=shortened(row.metric, _LONGEST_WORDS),
        direction=row.direction.value,
        rule=shortened(row.rule, _LONGEST_WORDS),
        bar=_finite(row.bar),
        candidate=_finite(row.candidate),
        incumbent=_finite(row.incumbent),
        verdict=row.verdict.value,
    )


def _variant(variant: VariantReport, metric: str) -> VariantStatus:
    return VariantStatus(
        name=shortened(variant.name, _LONGEST_WORDS),
        bytes=count(variant.bytes),
        latencyMsP50=_finite(variant.latency_ms_p50) or 0.0,
        score=_finite(variant.validation.get(metric)),
        verdict=shortened(("selected: " if variant.selected else "") + variant.why, _LONGEST_WORDS),
    )


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _whole(number: float | None) -> int | None:
    finite = _finite(number)
    return None if finite is None else count(round(finite))
