"""Makes a status and a plan of what was decided."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from anneal_api.attempt import Part, PartReport, PublishedResult
from anneal_api.job import FineTuneJobSpec
from anneal_api.report import GateRow, VariantReport
from anneal_api.status import (
    ConditionStatus,
    DroppedRowsStatus,
    FineTuneJobStatus,
    GateLine,
    Phase,
    Progress,
    Run,
    StageStatus,
    StatusReason,
    VariantStatus,
    VersionState,
    VersionStatus,
)
from anneal_operator.plan.actions import Action, Plan
from anneal_operator.plan.conditions import JobState, Says, conditions_of
from anneal_operator.plan.diagnosis.reasons import shortened
from anneal_operator.plan.events import events
from anneal_operator.plan.liveness import PROGRESS_SHOWN
from anneal_operator.plan.observations import reports_of
from anneal_operator.plan.observed import Observed
from anneal_operator.plan.pipeline import PipelineState
from anneal_operator.plan.recovered import Recorded
from anneal_operator.plan.rollout import versions as known
from anneal_operator.plan.rollout.service import Service, is_available_now, with_traffic
from anneal_operator.plan.timestamps import format_time

_SECONDS_PER_HOUR = 3600.0
_PROGRESS_SECONDS = 60.0
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was decided about a job.

    Attributes:
        spec: Its spec; None: it is invalid.
        pipeline: How the work goes.
        service: How serving goes.
        job_state: Where the job stands.
        target: The version that the spec asks for; None: it is not made yet.
        actions: What to do.
        requeue_after: Seconds until time alone may change something.
    """

    spec: FineTuneJobSpec | None
    pipeline: PipelineState
    service: Service
    job_state: JobState
    target: VersionStatus | None = None
    actions: tuple[Action, ...] = ()
    requeue_after: tuple[float, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the generation has come to its end, good or bad. A service that fails later is no new begin."""
        serves = self.target is not None and self.target.state is VersionState.SERVING
        return self.job_state.failed or self.job_state.phase is Phase.SUCCEEDED or serves


def build_plan(observed: Observed, recorded: Recorded, outcome: Outcome) -> Plan:
    """Returns the plan: the status that tells what was decided, what to do, and what to announce."""
    status = _status(observed, recorded, outcome)
    requeue_after = min(outcome.requeue_after, default=None)
    return Plan(
        status,
        outcome.actions,
        events(recorded.status, status),
        max(requeue_after, 0.0) if requeue_after is not None else None,
    )


def finished_at(observed: Observed, recorded: Recorded, outcome: Outcome) -> str | None:
    """Returns when the job came to its end; None where it has not."""
    if not outcome.finished:
        return None
    before = recorded.status
    same_end = (before.phase is Phase.FAILED) == outcome.job_state.failed
    return before.finished_at if before.finished_at is not None and same_end else format_time(observed.now)


def _status(observed: Observed, recorded: Recorded, outcome: Outcome) -> FineTuneJobStatus:
    before, pipeline, service, job_state = (
        recorded.status,
        outcome.pipeline,
        outcome.service,
        outcome.job_state,
    )
    run = pipeline.run
    reports = reports_of(observed, run.generation, run.attempt) if run is not None else {}
    finish = reports.get(Part.FINISH)
    versions = with_traffic(observed, service.versions)
    served, traffic = served_words(versions)
    generation_goes_on = _same_generation(run, before.run)
    spec = outcome.spec
    update: dict[str, Any] = {
        "observed_generation": observed.generation,
        "phase": job_state.phase,
        "reason": job_state.reason,
        "message": job_state.message,
        "hint": job_state.hint if job_state.reason is not None else "",
        "conditions": conditions_of(
            job_state,
            _ready(outcome),
            _available(observed, outcome, versions, traffic),
            serves=_serves(observed, spec),
            generation=observed.generation,
            known=before.conditions,
            now=observed.now,
        ),
        "attempt": run.attempt if run is not None else 0,
        "resumed_from": _resumed_from(run, before, reports.get(Part.TRAIN)),
        "run": run,
        "failures": list(pipeline.failures),
        "progress": _throttled(
            progress_of(
                job_state,
                reports.get(job_state.part) if job_state.part is not None else None,
                before.progress if generation_goes_on else None,
            ),
            before.progress,
            observed.lasted(PROGRESS_SHOWN),
        ),
        "stages": stages_of(reports.values(), before.stages if generation_goes_on else ()),
        "dropped_rows": dropped_rows_of(reports.values(), before.dropped_rows if generation_goes_on else ()),
        "versions": list(versions),
        "served_version": served,
        "traffic": traffic,
        "url": service.url,
        "finished_at": finished_at(observed, recorded, outcome),
    }
    if pipeline.worker_seconds and spec is not None:
        gpu_seconds = pipeline.worker_seconds * spec.resources.gpus_per_worker
        update["worker_seconds"] = before.worker_seconds + pipeline.worker_seconds
        update["gpu_hours"] = before.gpu_hours + gpu_seconds / _SECONDS_PER_HOUR
    return with_result(before.model_copy(update=update), finish.published if finish is not None else None)


def _throttled(progress: Progress | None, shown: Progress | None, seconds: float) -> Progress | None:
    """Returns the progress to show: the last one, until a percent or a minute has passed.

    A report comes every few seconds, and each status that is written costs the API server as much as all else that the
    operator does. The report has what is newer.
    """
    if progress is None or shown is None or seconds >= _PROGRESS_SECONDS:
        return progress
    return shown if (progress.percent, progress.stage) == (shown.percent, shown.stage) else progress


def _same_generation(run: Run | None, before: Run | None) -> bool:
    return run is None or before is None or run.generation == before.generation


def _resumed_from(run: Run | None, before: FineTuneJobStatus, report: PartReport | None) -> int | None:
    if report is not None:
        return None if report.resumed_from is None else count(report.resumed_from)
    was = before.run
    if run is None or was is None or (run.generation, run.attempt) != (was.generation, was.attempt):
        return None
    return before.resumed_from


def _serves(observed: Observed, spec: FineTuneJobSpec | None) -> bool:
    if spec is not None:
        return spec.serving is not None
    return observed.raw_spec.get("serving") is not None


def _available(observed: Observed, outcome: Outcome, versions: Sequence[VersionStatus], traffic: str) -> Says:
    """Returns what `Available` says: whether any version answers, whichever the spec asks for."""
    if not _serves(observed, outcome.spec):
        return Says(ConditionStatus.FALSE, StatusReason.NOT_REQUESTED, "The manifest asks for no serving.")
    available = is_available_now(observed)
    if available is None:
        what = "The cluster does not know RayServices, so nobody can say whether the model answers."
        return Says(ConditionStatus.UNKNOWN, StatusReason.KUBERAY_MISSING, what)
    if available:
        proven = any(version.traffic and version.state is not VersionState.CANDIDATE for version in versions)
        reason = StatusReason.SERVING if proven else StatusReason.UNPROVEN_VERSION_SERVES
        return Says(
            ConditionStatus.TRUE, reason, f"Answers requests: {traffic or 'a version not told of here'}."
        )
    if known.serving(outcome.service.versions) is None:
        return Says(ConditionStatus.FALSE, StatusReason.PENDING, "No version has served yet.")
    job_state, service = outcome.job_state, outcome.service
    why = service.diagnosis.message if service.diagnosis is not None else job_state.message
    return Says(ConditionStatus.FALSE, StatusReason.UNAVAILABLE, f"No version answers. {why}")


def _ready(outcome: Outcome) -> Says:
    """Returns what `Ready` says: it is about the version that the spec's generation asks for, and no other."""
    job_state, target = outcome.job_state, outcome.target
    serving = known.serving(outcome.service.versions)
    other = serving if serving is not None and (target is None or serving.version != target.version) else None
    goes_on = f" v{other.version} goes on serving." if other is not None else ""
    if outcome.spec is not None and outcome.spec.serving is None:
        return Says(ConditionStatus.FALSE, StatusReason.NOT_REQUESTED, "The manifest asks for no serving.")
    if job_state.phase is Phase.READY:
        return Says(ConditionStatus.TRUE, StatusReason.SERVING, job_state.message)
    if job_state.failed or target is not None:
        return Says(ConditionStatus.FALSE, job_state.why, f"{job_state.message}{goes_on}")
    if other is not None:
        what = f"v{other.version} serves until a version of this generation does."
        return Says(ConditionStatus.FALSE, StatusReason.OLD_VERSION_SERVES, what)
    return Says(ConditionStatus.FALSE, StatusReason.PENDING, "No version is published yet.")


def progress_of(job_state: JobState, report: PartReport | None, before: Progress | None) -> Progress | None:
    """Returns how far a job is.

    Args:
        job_state: Where it stands.
        report: What the part that it is at last reported.
        before: What was shown so far.
    """
    if job_state.phase in _PERCENT_OF_PHASE:
        return Progress(percent=_PERCENT_OF_PHASE[job_state.phase])
    if job_state.failed or job_state.part is None:
        return before
    if report is None:
        idle = job_state.phase in {Phase.PENDING, Phase.SUSPENDED} or not job_state.part.is_known
        return (before or Progress(percent=0)) if idle else Progress(percent=_BEGINS_AT[job_state.part])
    return reported_progress(job_state.part, report)


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
    telling = [report for report in reports if any(stage.name == "preflight" for stage in report.stages)]
    if not telling:
        return list(before)
    return [
        DroppedRowsStatus(
            split=shortened(each.split, _LONGEST_NAME),
            reason=shortened(each.reason, _LONGEST_NAME),
            rows=count(each.rows),
            where=shortened(each.where, _LONGEST_WORDS),
        )
        for each in telling[-1].dropped[:_MOST_DROPPED]
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
    traffic = ", ".join(f"v{v.version} {v.traffic}%{_remark_on(v)}" for v in answering)
    return (f"v{main.version}" if main is not None else ""), traffic


def _remark_on(version: VersionStatus) -> str:
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
