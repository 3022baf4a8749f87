"""The pipeline of a generation's work: which attempt runs, what it needs next, and when another one takes its place."""

from __future__ import annotations

from dataclasses import dataclass, replace

from anneal_api.attempt import Part, PartReport, PublishedResult
from anneal_api.errors import ArtifactInvalid
from anneal_api.job import FineTuneJobSpec
from anneal_api.report import Verdict
from anneal_api.status import FailedAttempt, Phase, Run, StatusReason, VersionStatus
from anneal_operator.plan import retries, spec_digest
from anneal_operator.plan.actions import Action, Create
from anneal_operator.plan.attempt_objects import step_object, surroundings
from anneal_operator.plan.conditions import PHASE_OF_PART, JobState, has_failed, waits
from anneal_operator.plan.confirmation import ref_of, require_live
from anneal_operator.plan.diagnosis.pending import why_held
from anneal_operator.plan.diagnosis.reasons import Diagnosis, diagnose
from anneal_operator.plan.garbage import active_workloads, deletions, has_running_pods, why_terminating
from anneal_operator.plan.observations import ended_at, has_begun, has_driver, images_of, status_of
from anneal_operator.plan.observed import Observed
from anneal_operator.plan.recovered import Recorded
from anneal_operator.plan.rollout import versions as known
from anneal_operator.plan.steps import (
    KUBERAY_RETRY_SECONDS,
    StepState,
    StepView,
    require_live_run,
    step_body,
    step_pods,
    step_view,
)
from anneal_operator.plan.stores import pinned, store_for
from anneal_operator.plan.timestamps import format_time, parse_time
from anneal_operator.resources.places import version_folder

STOPPING_SECONDS = 5.0
"""How often pods that were told to go are looked at."""

_HIGHEST_VERSION = 999_999
_LONGEST_PATH = 1024
_NEXT = {Part.PREPARE: Part.TRAIN, Part.TRAIN: Part.FINISH}
_DOES = {
    Part.PREPARE: "Checks data and plan, and prepares the rows",
    Part.TRAIN: "Trains",
    Part.FINISH: "Evaluates, makes the variants, reads the gate and publishes",
}


@dataclass(frozen=True, slots=True)
class PipelineState:
    """How the work of a generation goes.

    Attributes:
        run: The attempt under way, or the last one.
        failures: Attempts that failed, the newest last.
        versions: The published versions, the newest last.
        job_state: Where the job stands; None: what the spec asks for is published, and serving says the rest.
        actions: What to do.
        requeue_after: Seconds until time alone may change something.
        worker_seconds: Training that has come to its end just now: seconds, times workers.
    """

    run: Run | None
    failures: tuple[FailedAttempt, ...]
    versions: tuple[VersionStatus, ...]
    job_state: JobState | None = None
    actions: tuple[Action, ...] = ()
    requeue_after: tuple[float, ...] = ()
    worker_seconds: float = 0.0


def pipeline_state(observed: Observed, recorded: Recorded, spec: FineTuneJobSpec) -> PipelineState:
    """Returns how the work that a spec asks for goes on.

    Args:
        observed: What is known.
        recorded: What is known of the past.
        spec: The spec.
    """
    pipeline = PipelineState(recorded.run, tuple(recorded.status.failures), recorded.versions)
    run = pipeline.run
    if known.asked_for(pipeline.versions, spec, observed) is not None:
        return _stopped(observed, spec, pipeline, None)
    if run is not None and not run.part.is_known:
        what = f"A newer release of anneal began attempt {run.attempt}, which is at its part {run.part}."
        hint = "It is left alone. Upgrade the operator again, or delete the job and create it anew."
        return replace(
            pipeline, job_state=waits(Phase.PENDING, diagnose(StatusReason.INTERNAL, what, hint), run.part)
        )
    works = run is not None and spec_digest.works_for(run, spec, observed)
    if spec.suspend:
        part = run.part if run is not None and works else Part.PREPARE
        what = "The job is suspended."
        held = JobState(Phase.SUSPENDED, StatusReason.SUSPENDED, what, part=part, going=False)
        return _stopped(observed, spec, pipeline, held)
    if run is None or not works:
        return _next(observed, spec, _stopped(observed, spec, pipeline, None), None)
    return _gone_on(observed, spec, pipeline, run)


def _gone_on(observed: Observed, spec: FineTuneJobSpec, pipeline: PipelineState, run: Run) -> PipelineState:
    """Returns the pipeline of an attempt whose work is what the spec asks for."""
    failure = retries.failure_of(run, pipeline.failures)
    if run.retry_at is not None:
        return _retried(observed, spec, pipeline, failure)
    if failure is None:
        return _advanced(observed, spec, replace(pipeline, run=_raised(run, observed)))
    if (run.for_generation or run.generation) < observed.generation:
        # It failed for good, and its manifest has been edited since: that is how a person says: again.
        return _next(observed, spec, _stopped(observed, spec, pipeline, None), None)
    why = Diagnosis(failure.reason, failure.message, failure.hint)
    return replace(
        pipeline, job_state=has_failed(why, failure.part), actions=deletions(active_workloads(observed))
    )


def _raised(run: Run, observed: Observed) -> Run:
    newest = max(run.for_generation or run.generation, observed.generation)
    return run.model_copy(update={"for_generation": newest})


def _stopped(
    observed: Observed, spec: FineTuneJobSpec, pipeline: PipelineState, job_state: JobState | None
) -> PipelineState:
    """Returns the pipeline after everything that works for the job was told to stop."""
    run, spent = pipeline.run, pipeline.worker_seconds
    if run is not None and not _has_published(run, pipeline.versions):
        stopped = retries.stopped(run, pipeline.failures, observed.now)
        spent += _worker_seconds(observed, spec, run) if stopped != run else 0.0
        run = stopped
    actions = (*pipeline.actions, *deletions(active_workloads(observed)))
    return replace(pipeline, run=run, job_state=job_state, actions=actions, worker_seconds=spent)


def _has_published(run: Run, versions: tuple[VersionStatus, ...]) -> bool:
    return run.part is Part.FINISH and any(version.generation == run.generation for version in versions)


def _retried(
    observed: Observed, spec: FineTuneJobSpec, pipeline: PipelineState, failure: FailedAttempt | None
) -> PipelineState:
    """Returns the pipeline of an attempt that failed, or was stopped, and is to be followed by another."""
    run = pipeline.run
    assert run is not None
    pipeline = replace(pipeline, run=_raised(run, observed), actions=deletions(active_workloads(observed)))
    overdue = _overdue(observed, spec, pipeline)
    if overdue is not None:
        return overdue
    due = parse_time(run.retry_at) or observed.now
    left = (due - observed.now).total_seconds()
    if left <= 0 or failure is None:
        return _next(observed, spec, pipeline, run)
    what = f"Attempt {run.attempt} failed: {failure.message} The next one starts at {run.retry_at}."
    phase = PHASE_OF_PART[run.part]
    job_state = JobState(phase, StatusReason.RETRYING, what, failure.hint, run.part, shown=failure.reason)
    return replace(pipeline, job_state=job_state, requeue_after=(*pipeline.requeue_after, left))


def _next(
    observed: Observed, spec: FineTuneJobSpec, pipeline: PipelineState, last: Run | None
) -> PipelineState:
    """Returns the pipeline with the next attempt begun, once nothing of the one before works any more."""
    part = last.part if last is not None else Part.PREPARE
    phase = PHASE_OF_PART[part] if last is not None else Phase.PENDING
    before = active_workloads(observed)
    if before or has_running_pods(observed):
        what = "Waits until the pods of the attempt before are gone."
        stays = why_terminating(observed, before)
        job_state = JobState(phase, StatusReason.PENDING, what, part=part)
        job_state = waits(phase, stays, part) if stays is not None else job_state
        return replace(
            pipeline, job_state=job_state, requeue_after=(*pipeline.requeue_after, STOPPING_SECONDS)
        )
    if not observed.kuberay:
        what = "The cluster does not know RayJobs: KubeRay is not installed."
        job_state = waits(phase, diagnose(StatusReason.KUBERAY_MISSING, what), part)
        return replace(
            pipeline, job_state=job_state, requeue_after=(*pipeline.requeue_after, KUBERAY_RETRY_SECONDS)
        )
    if last is not None and step_body(observed, last) is None:
        # That nothing of it is there may be news that has not come yet.
        require_live_run(observed, last)
    store = store_for(pipeline.run, pipeline.versions, spec, observed.settings)
    run = retries.begun(observed, spec, last, store)
    return _advanced(observed, spec, replace(pipeline, run=run))


def _advanced(observed: Observed, spec: FineTuneJobSpec, pipeline: PipelineState) -> PipelineState:
    """Returns the pipeline of an attempt that is under way, one step on."""
    run = pipeline.run
    assert run is not None
    others = active_workloads(observed, but=run)
    pipeline = replace(pipeline, actions=(*pipeline.actions, *deletions(others)))
    step = step_view(observed, run)
    if step.state is StepState.SUCCEEDED:
        return _after_success(observed, spec, pipeline, step)
    if step.state is StepState.FAILED:
        assert step.diagnosis is not None
        return _after_failure(observed, spec, pipeline, step.diagnosis, step.report)
    overdue = _overdue(observed, spec, pipeline)
    if overdue is not None:
        return overdue
    return _going(observed, spec, pipeline, step, blocked=bool(others))


def _going(
    observed: Observed, spec: FineTuneJobSpec, pipeline: PipelineState, step: StepView, *, blocked: bool
) -> PipelineState:
    run, body = pipeline.run, step.body
    assert run is not None
    actions = [*pipeline.actions, *surroundings(observed, run)]
    requeue_after = list(pipeline.requeue_after)
    if step.requeue_after is not None:
        requeue_after.append(step.requeue_after)
    deadline = retries.deadline_of(run, spec)
    if deadline is not None:
        requeue_after.append((deadline - observed.now).total_seconds())
    if step.state is StepState.ABSENT and not blocked:
        actions.append(Create(step_object(observed, spec, run)))
    elif step.remove and body is not None:
        actions += deletions([body])
    elif body is not None and step.state is not StepState.LEAVING and has_begun(body):
        run = run.model_copy(update={"part_seen": True})
    if body is not None and _has_better_image(observed, spec, run, step):
        # Its pods never started, so the attempt is not lost: it starts with the image that the operator has now.
        run = run.model_copy(update={"part_seen": False, "image": observed.settings.image})
        actions += deletions([body])
    job_state = _state_at(run, step)
    return replace(
        pipeline, run=run, job_state=job_state, actions=tuple(actions), requeue_after=tuple(requeue_after)
    )


def _state_at(run: Run, step: StepView) -> JobState:
    phase = PHASE_OF_PART[run.part]
    if step.state is StepState.HELD and step.body is not None:
        what, hint = why_held(step.body)
        return JobState(Phase.QUEUED, StatusReason.QUEUED, what, hint, run.part)
    if step.diagnosis is not None:
        return waits(phase, step.diagnosis, run.part)
    attempt = f" (attempt {run.attempt})" if run.attempt > 1 else ""
    return JobState(phase, StatusReason.RUNNING, f"{_DOES[run.part]}{attempt}.", part=run.part)


def _has_better_image(observed: Observed, spec: FineTuneJobSpec, run: Run, step: StepView) -> bool:
    cannot_pull = step.diagnosis is not None and step.diagnosis.reason is StatusReason.IMAGE_PULL
    if step.state is not StepState.WAITING or not cannot_pull:
        return False
    anew = step_object(observed, spec, run.model_copy(update={"image": observed.settings.image}))
    if set(images_of(anew)) == set(images_of(step.body)):
        return False
    require_live(observed, *map(ref_of, step_pods(observed, run)))
    return True


def _after_success(
    observed: Observed, spec: FineTuneJobSpec, pipeline: PipelineState, step: StepView
) -> PipelineState:
    run = pipeline.run
    assert run is not None
    spent = pipeline.worker_seconds + _worker_seconds(observed, spec, run)
    pipeline = replace(pipeline, worker_seconds=spent)
    following = _NEXT.get(run.part)
    if following is not None:
        run = retries.at_step(run, following, observed.now)
        return _advanced(observed, spec, replace(pipeline, run=run))
    published = step.report.published if step.report is not None else None
    if published is None:
        what = "The finish part reported success without a result."
        return _after_failure(observed, spec, pipeline, diagnose(StatusReason.INTERNAL, what), step.report)
    if published.version is None:
        return _after_failure(observed, spec, pipeline, _gate_not_passed(published), step.report)
    made_from = spec_digest.spec_of(observed, run.generation) or spec
    version = known.version_of(published, run, spec_digest.result_digest(made_from), observed.now)
    wrong = _wrong_with(version, spec, observed)
    if wrong:
        why = diagnose(StatusReason.ARTIFACT_INVALID, wrong)
        return _after_failure(observed, spec, pipeline, why, step.report)
    return replace(pipeline, versions=known.with_version(pipeline.versions, version))


def _wrong_with(version: VersionStatus, spec: FineTuneJobSpec, observed: Observed) -> str:
    """Returns what is wrong with a version that a pod reports, which is not taken on trust; empty where nothing is."""
    if not 1 <= version.version <= _HIGHEST_VERSION:
        return f"The version's number is {version.version}."
    if len(version.path) > _LONGEST_PATH or len(version.digest) > _LONGEST_PATH:
        return "The version's path or digest is too long."
    try:
        spec, settings = pinned(spec, observed.settings, version.store)
        version_folder(spec, version, settings)
    except ArtifactInvalid as error:
        return error.what
    return ""


def _gate_not_passed(published: PublishedResult) -> Diagnosis:
    failed = [f"{row.metric}: {row.message}" for row in published.gate.rows if row.verdict is Verdict.FAILED]
    return diagnose(StatusReason.GATE_NOT_PASSED, f"The gate is not passed. {' '.join(failed)}".strip())


def _after_failure(
    observed: Observed,
    spec: FineTuneJobSpec,
    pipeline: PipelineState,
    why: Diagnosis,
    report: PartReport | None,
) -> PipelineState:
    run = pipeline.run
    assert run is not None
    if report is not None and report.published is not None and report.published.version is None:
        why = _gate_not_passed(report.published)
    spent = pipeline.worker_seconds + _worker_seconds(observed, spec, run)
    if why.reason is StatusReason.DEADLINE and not _is_late(observed, spec, run):
        # Its Job or RayJob has the deadline of when it was made, which has been raised since.
        anew = run.model_copy(update={"retry_at": format_time(observed.now)})
        return _retried(observed, spec, replace(pipeline, run=anew, worker_seconds=spent), None)
    run, failure = retries.failed(observed, run, why, pipeline.failures)
    failures = retries.with_failure(pipeline.failures, failure)
    pipeline = replace(pipeline, run=run, failures=failures, worker_seconds=spent)
    if run.retry_at is not None:
        return _retried(observed, spec, pipeline, failure)
    actions = (*pipeline.actions, *deletions(active_workloads(observed)))
    why = replace(why, hint=failure.hint)
    return replace(pipeline, job_state=has_failed(why, run.part), actions=actions)


def _is_late(observed: Observed, spec: FineTuneJobSpec, run: Run) -> bool:
    deadline = retries.deadline_of(run, spec)
    return deadline is not None and observed.now >= deadline


def _overdue(observed: Observed, spec: FineTuneJobSpec, pipeline: PipelineState) -> PipelineState | None:
    run = pipeline.run
    assert run is not None
    # An edit after the attempt ended gives the next one its whole time again.
    begins_anew = run.retry_at is not None and run.generation != observed.generation
    if not _is_late(observed, spec, run) or begins_anew:
        return None
    what = f"Nothing is published {spec.deadline} after the first attempt began (spec.deadline)."
    why = diagnose(StatusReason.DEADLINE, what)
    known_failure = retries.failure_of(run, pipeline.failures)
    if known_failure is None:
        require_live_run(observed, run)
        return _after_failure(observed, spec, pipeline, why, None)
    # Between two attempts: the record of the last one becomes that of the whole generation.
    last = known_failure.model_copy(
        update={
            "reason": why.reason,
            "message": why.message,
            "hint": why.hint,
            "at": format_time(observed.now),
        }
    )
    failures = tuple(last if failure == known_failure else failure for failure in pipeline.failures)
    run = run.model_copy(update={"retry_at": None})
    return replace(pipeline, run=run, failures=failures, job_state=has_failed(why, run.part))


def _worker_seconds(observed: Observed, spec: FineTuneJobSpec, run: Run) -> float:
    """Returns how long the training that ends now took, times its workers; 0 where none ends."""
    body = step_body(observed, run) if run.part is Part.TRAIN else None
    if body is None:
        return 0.0
    status = status_of(body)
    begin = parse_time((status.get("rayJobInfo") or {}).get("startTime") or status.get("startTime"))
    if begin is None or not has_driver(body):
        return 0.0
    end = ended_at(body) or observed.now
    as_it_was = spec_digest.spec_of(observed, run.generation) or spec
    return max((end - begin).total_seconds(), 0.0) * as_it_was.resources.workers
