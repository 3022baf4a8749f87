"""The course of a generation's work: which attempt runs, what it needs next, and when another one takes its place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from anneal_api.attempt import Part, PartReport, PublishedResult
from anneal_api.errors import ArtifactInvalid
from anneal_api.job import FineTuneJobSpec
from anneal_api.report import Verdict
from anneal_api.status import FailedAttempt, Phase, Run, StatusReason, VersionStatus
from anneal_operator.plan import attempts, shaping
from anneal_operator.plan import versions as known
from anneal_operator.plan.actions import Action, Apply, Create
from anneal_operator.plan.confirmation import place_of, require_live
from anneal_operator.plan.leftovers import at_work, deletions, still_going, why_it_stays
from anneal_operator.plan.memory import Memory
from anneal_operator.plan.moments import moment_of, written
from anneal_operator.plan.observed import Object, Observed
from anneal_operator.plan.parts import (
    KUBERAY_RETRY_SECONDS,
    PartStand,
    Stand,
    part_body,
    part_pods,
    part_stand,
    require_live_run,
)
from anneal_operator.plan.standing import PHASE_OF_PART, Standing, has_failed, waits
from anneal_operator.plan.stores import pinned, store_for
from anneal_operator.plan.trouble import Trouble, trouble
from anneal_operator.plan.waiting import why_held
from anneal_operator.plan.workloads import ended_at, has_begun, has_driver, images_of, status_of
from anneal_operator.resources.attempt import attempt_objects
from anneal_operator.resources.intent import differs
from anneal_operator.resources.manifest import manifest_configmap
from anneal_operator.resources.names import generation_name
from anneal_operator.resources.places import version_folder
from anneal_operator.resources.rayjobs import train_rayjob
from anneal_operator.resources.step_jobs import step_job

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
class Course:
    """How the work of a generation goes.

    Attributes:
        run: The attempt under way, or the last one.
        failures: Attempts that failed, the newest last.
        versions: The published versions, the newest last.
        standing: Where the job stands; None: what the spec asks for is published, and serving says the rest.
        actions: What to do.
        look_again: Seconds until time alone may change something.
        worker_seconds: Training that has come to its end just now: seconds, times workers.
    """

    run: Run | None
    failures: tuple[FailedAttempt, ...]
    versions: tuple[VersionStatus, ...]
    standing: Standing | None = None
    actions: tuple[Action, ...] = ()
    look_again: tuple[float, ...] = ()
    worker_seconds: float = 0.0


def course_of(observed: Observed, memory: Memory, spec: FineTuneJobSpec) -> Course:
    """Returns how the work that a spec asks for goes on.

    Args:
        observed: What is known.
        memory: What is known of the past.
        spec: The spec.
    """
    course = Course(memory.run, tuple(memory.status.failures), memory.versions)
    run = course.run
    if known.asked_for(course.versions, spec, observed) is not None:
        return _stopped(observed, spec, course, None)
    if run is not None and not run.part.is_known:
        what = f"A newer release of anneal began attempt {run.attempt}, which is at its part {run.part}."
        hint = "It is left alone. Upgrade the operator again, or delete the job and create it anew."
        return replace(
            course, standing=waits(Phase.PENDING, trouble(StatusReason.INTERNAL, what, hint), run.part)
        )
    works = run is not None and shaping.works_for(run, spec, observed)
    if spec.suspend:
        part = run.part if run is not None and works else Part.PREPARE
        what = "The job is suspended."
        held = Standing(Phase.SUSPENDED, StatusReason.SUSPENDED, what, part=part, going=False)
        return _stopped(observed, spec, course, held)
    if run is None or not works:
        return _next(observed, spec, _stopped(observed, spec, course, None), None)
    return _gone_on(observed, spec, course, run)


def _gone_on(observed: Observed, spec: FineTuneJobSpec, course: Course, run: Run) -> Course:
    """Returns the course of an attempt whose work is what the spec asks for."""
    failure = attempts.failure_of(run, course.failures)
    if run.retry_at is not None:
        return _retried(observed, spec, course, failure)
    if failure is None:
        return _advanced(observed, spec, replace(course, run=_raised(run, observed)))
    if (run.for_generation or run.generation) < observed.generation:
        # It failed for good, and its manifest has been edited since: that is how a person says: again.
        return _next(observed, spec, _stopped(observed, spec, course, None), None)
    why = Trouble(failure.reason, failure.message, failure.hint)
    return replace(course, standing=has_failed(why, failure.part), actions=deletions(at_work(observed)))


def _raised(run: Run, observed: Observed) -> Run:
    newest = max(run.for_generation or run.generation, observed.generation)
    return run.model_copy(update={"for_generation": newest})


def _stopped(observed: Observed, spec: FineTuneJobSpec, course: Course, standing: Standing | None) -> Course:
    """Returns the course after everything that works for the job was told to stop."""
    run, spent = course.run, course.worker_seconds
    if run is not None and not _has_published(run, course.versions):
        stopped = attempts.stopped(run, course.failures, observed.now)
        spent += _worker_seconds(observed, spec, run) if stopped != run else 0.0
        run = stopped
    actions = (*course.actions, *deletions(at_work(observed)))
    return replace(course, run=run, standing=standing, actions=actions, worker_seconds=spent)


def _has_published(run: Run, versions: tuple[VersionStatus, ...]) -> bool:
    return run.part is Part.FINISH and any(version.generation == run.generation for version in versions)


def _retried(
    observed: Observed, spec: FineTuneJobSpec, course: Course, failure: FailedAttempt | None
) -> Course:
    """Returns the course of an attempt that failed, or was stopped, and is to be followed by another."""
    run = course.run
    assert run is not None
    course = replace(course, run=_raised(run, observed), actions=deletions(at_work(observed)))
    overdue = _overdue(observed, spec, course)
    if overdue is not None:
        return overdue
    due = moment_of(run.retry_at) or observed.now
    left = (due - observed.now).total_seconds()
    if left <= 0 or failure is None:
        return _next(observed, spec, course, run)
    what = f"Attempt {run.attempt} failed: {failure.message} The next one starts at {run.retry_at}."
    phase = PHASE_OF_PART[run.part]
    standing = Standing(phase, StatusReason.RETRYING, what, failure.hint, run.part, shown=failure.reason)
    return replace(course, standing=standing, look_again=(*course.look_again, left))


def _next(observed: Observed, spec: FineTuneJobSpec, course: Course, last: Run | None) -> Course:
    """Returns the course with the next attempt begun, once nothing of the one before works any more."""
    part = last.part if last is not None else Part.PREPARE
    phase = PHASE_OF_PART[part] if last is not None else Phase.PENDING
    before = at_work(observed)
    if before or still_going(observed):
        what = "Waits until the pods of the attempt before are gone."
        stays = why_it_stays(observed, before)
        standing = Standing(phase, StatusReason.NOT_YET, what, part=part)
        standing = waits(phase, stays, part) if stays is not None else standing
        return replace(course, standing=standing, look_again=(*course.look_again, STOPPING_SECONDS))
    if not observed.kuberay:
        what = "The cluster does not know RayJobs: KubeRay is not installed."
        standing = waits(phase, trouble(StatusReason.KUBERAY_MISSING, what), part)
        return replace(course, standing=standing, look_again=(*course.look_again, KUBERAY_RETRY_SECONDS))
    if last is not None and part_body(observed, last) is None:
        # That nothing of it is there may be news that has not come yet.
        require_live_run(observed, last)
    store = store_for(course.run, course.versions, spec, observed.settings)
    run = attempts.begun(observed, spec, last, store)
    return _advanced(observed, spec, replace(course, run=run))


def _advanced(observed: Observed, spec: FineTuneJobSpec, course: Course) -> Course:
    """Returns the course of an attempt that is under way, one step on."""
    run = course.run
    assert run is not None
    others = at_work(observed, but=run)
    course = replace(course, actions=(*course.actions, *deletions(others)))
    stand = part_stand(observed, run)
    if stand.stand is Stand.SUCCEEDED:
        return _after_success(observed, spec, course, stand)
    if stand.stand is Stand.FAILED:
        assert stand.trouble is not None
        return _after_failure(observed, spec, course, stand.trouble, stand.report)
    overdue = _overdue(observed, spec, course)
    if overdue is not None:
        return overdue
    return _going(observed, spec, course, stand, blocked=bool(others))


def _going(
    observed: Observed, spec: FineTuneJobSpec, course: Course, stand: PartStand, *, blocked: bool
) -> Course:
    run, body = course.run, stand.body
    assert run is not None
    actions = [*course.actions, *_surroundings(observed, run)]
    look_again = list(course.look_again)
    if stand.look_again is not None:
        look_again.append(stand.look_again)
    deadline = attempts.deadline_of(run, spec)
    if deadline is not None:
        look_again.append((deadline - observed.now).total_seconds())
    if stand.stand is Stand.ABSENT and not blocked:
        actions.append(Create(_part_object(observed, spec, run)))
    elif stand.remove and body is not None:
        actions += deletions([body])
    elif body is not None and stand.stand is not Stand.LEAVING and has_begun(body):
        run = run.model_copy(update={"part_seen": True})
    if body is not None and _has_better_image(observed, spec, run, stand):
        # Its pods never started, so the attempt is not lost: it starts with the image that the operator has now.
        run = run.model_copy(update={"part_seen": False, "image": observed.settings.image})
        actions += deletions([body])
    standing = _standing_of(run, stand)
    return replace(course, run=run, standing=standing, actions=tuple(actions), look_again=tuple(look_again))


def _standing_of(run: Run, stand: PartStand) -> Standing:
    phase = PHASE_OF_PART[run.part]
    if stand.stand is Stand.HELD and stand.body is not None:
        what, hint = why_held(stand.body)
        return Standing(Phase.QUEUED, StatusReason.QUEUED, what, hint, run.part)
    if stand.trouble is not None:
        return waits(phase, stand.trouble, run.part)
    attempt = f" (attempt {run.attempt})" if run.attempt > 1 else ""
    return Standing(phase, StatusReason.RUNNING, f"{_DOES[run.part]}{attempt}.", part=run.part)


def _has_better_image(observed: Observed, spec: FineTuneJobSpec, run: Run, stand: PartStand) -> bool:
    cannot_pull = stand.trouble is not None and stand.trouble.reason is StatusReason.IMAGE_PULL
    if stand.stand is not Stand.WAITING or not cannot_pull:
        return False
    anew = _part_object(observed, spec, run.model_copy(update={"image": observed.settings.image}))
    if set(images_of(anew)) == set(images_of(stand.body)):
        return False
    require_live(observed, *map(place_of, part_pods(observed, run)))
    return True


def _after_success(observed: Observed, spec: FineTuneJobSpec, course: Course, stand: PartStand) -> Course:
    run = course.run
    assert run is not None
    spent = course.worker_seconds + _worker_seconds(observed, spec, run)
    course = replace(course, worker_seconds=spent)
    following = _NEXT.get(run.part)
    if following is not None:
        run = attempts.at_part(run, following, observed.now)
        return _advanced(observed, spec, replace(course, run=run))
    published = stand.report.published if stand.report is not None else None
    if published is None:
        what = "The finish part reported success without a result."
        return _after_failure(observed, spec, course, trouble(StatusReason.INTERNAL, what), stand.report)
    if published.version is None:
        return _after_failure(observed, spec, course, _gate_not_passed(published), stand.report)
    made_from = shaping.spec_of(observed, run.generation) or spec
    version = known.version_of(published, run, shaping.of_result(made_from), observed.now)
    wrong = _wrong_with(version, spec, observed)
    if wrong:
        why = trouble(StatusReason.ARTIFACT_INVALID, wrong)
        return _after_failure(observed, spec, course, why, stand.report)
    return replace(course, versions=known.with_version(course.versions, version))


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


def _gate_not_passed(published: PublishedResult) -> Trouble:
    failed = [f"{row.metric}: {row.message}" for row in published.gate.rows if row.verdict is Verdict.FAILED]
    return trouble(StatusReason.GATE_NOT_PASSED, f"The gate is not passed. {' '.join(failed)}".strip())


def _after_failure(
    observed: Observed, spec: FineTuneJobSpec, course: Course, why: Trouble, report: PartReport | None
) -> Course:
    run = course.run
    assert run is not None
    if report is not None and report.published is not None and report.published.version is None:
        why = _gate_not_passed(report.published)
    spent = course.worker_seconds + _worker_seconds(observed, spec, run)
    if why.reason is StatusReason.DEADLINE and not _is_late(observed, spec, run):
        # Its Job or RayJob has the deadline of when it was made, which has been raised since.
        anew = run.model_copy(update={"retry_at": written(observed.now)})
        return _retried(observed, spec, replace(course, run=anew, worker_seconds=spent), None)
    run, failure = attempts.failed(observed, run, why, course.failures)
    failures = attempts.with_failure(course.failures, failure)
    course = replace(course, run=run, failures=failures, worker_seconds=spent)
    if run.retry_at is not None:
        return _retried(observed, spec, course, failure)
    actions = (*course.actions, *deletions(at_work(observed)))
    why = replace(why, hint=failure.hint)
    return replace(course, standing=has_failed(why, run.part), actions=actions)


def _is_late(observed: Observed, spec: FineTuneJobSpec, run: Run) -> bool:
    deadline = attempts.deadline_of(run, spec)
    return deadline is not None and observed.now >= deadline


def _overdue(observed: Observed, spec: FineTuneJobSpec, course: Course) -> Course | None:
    run = course.run
    assert run is not None
    # An edit after the attempt ended gives the next one its whole time again.
    begins_anew = run.retry_at is not None and run.generation != observed.generation
    if not _is_late(observed, spec, run) or begins_anew:
        return None
    what = f"Nothing is published {spec.deadline} after the first attempt began (spec.deadline)."
    why = trouble(StatusReason.DEADLINE, what)
    known_failure = attempts.failure_of(run, course.failures)
    if known_failure is None:
        require_live_run(observed, run)
        return _after_failure(observed, spec, course, why, None)
    # Between two attempts: the record of the last one becomes that of the whole generation.
    last = known_failure.model_copy(
        update={"reason": why.reason, "message": why.message, "hint": why.hint, "at": written(observed.now)}
    )
    failures = tuple(last if failure == known_failure else failure for failure in course.failures)
    run = run.model_copy(update={"retry_at": None})
    return replace(course, run=run, failures=failures, standing=has_failed(why, run.part))


def _surroundings(observed: Observed, run: Run) -> list[Action]:
    """Returns what makes the manifest, the report's place and the rights of an attempt be there."""
    actions: list[Action] = []
    if observed.child("ConfigMap", generation_name(observed.name, run.generation)) is None:
        actions.append(Create(manifest_configmap(_as_of(observed.job, run.generation))))
    for body in attempt_objects(observed.job, run):
        live = observed.child(body["kind"], body["metadata"]["name"])
        if live is None:
            # Created, and not applied: that costs the API server half, and finds out by itself what is there.
            actions.append(Create(body))
        elif body["kind"] != "ConfigMap" and differs(live, body):  # what pods wrote into that is theirs
            actions.append(Apply(body))
    return actions


def _part_object(observed: Observed, spec: FineTuneJobSpec, run: Run) -> dict[str, Any]:
    build = train_rayjob if run.part is Part.TRAIN else step_job
    spec, settings = pinned(spec, observed.settings, run.store)
    return build(observed.job, spec, run, settings)


def _as_of(job: Object, generation: int) -> dict[str, Any]:
    """Returns a job as it was in an earlier generation, as far as that attempt's work goes."""
    return {**job, "metadata": {**job["metadata"], "generation": generation}}


def _worker_seconds(observed: Observed, spec: FineTuneJobSpec, run: Run) -> float:
    """Returns how long the training that ends now took, times its workers; 0 where none ends."""
    body = part_body(observed, run) if run.part is Part.TRAIN else None
    if body is None:
        return 0.0
    status = status_of(body)
    begin = moment_of((status.get("rayJobInfo") or {}).get("startTime") or status.get("startTime"))
    if begin is None or not has_driver(body):
        return 0.0
    end = ended_at(body) or observed.now
    as_it_was = shaping.spec_of(observed, run.generation) or spec
    return max((end - begin).total_seconds(), 0.0) * as_it_was.resources.workers
