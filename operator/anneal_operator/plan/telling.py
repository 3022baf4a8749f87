"""Makes a status and a plan of what was decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anneal_api.attempt import Part, PartReport
from anneal_api.job import FineTuneJobSpec
from anneal_api.status import (
    ConditionStatus,
    FineTuneJobStatus,
    Phase,
    Progress,
    Run,
    StatusReason,
    VersionState,
    VersionStatus,
)
from anneal_operator.plan import versions as known
from anneal_operator.plan.actions import Action, Plan
from anneal_operator.plan.announcing import announcements
from anneal_operator.plan.conditions import Says, conditions_of
from anneal_operator.plan.course import Course
from anneal_operator.plan.display import (
    count,
    dropped_rows_of,
    progress_of,
    served_words,
    stages_of,
    with_result,
)
from anneal_operator.plan.liveness import PROGRESS_SHOWN
from anneal_operator.plan.memory import Memory
from anneal_operator.plan.moments import written
from anneal_operator.plan.observed import Observed
from anneal_operator.plan.reports import reports_of
from anneal_operator.plan.serving import Service, is_available_now, with_traffic
from anneal_operator.plan.standing import Standing

_SECONDS_PER_HOUR = 3600.0
_PROGRESS_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was decided about a job.

    Attributes:
        spec: Its spec; None: it is invalid.
        course: How the work goes.
        service: How serving goes.
        standing: Where the job stands.
        target: The version that the spec asks for; None: it is not made yet.
        actions: What to do.
        look_again: Seconds until time alone may change something.
    """

    spec: FineTuneJobSpec | None
    course: Course
    service: Service
    standing: Standing
    target: VersionStatus | None = None
    actions: tuple[Action, ...] = ()
    look_again: tuple[float, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the generation has come to its end, good or bad. A service that fails later is no new begin."""
        serves = self.target is not None and self.target.state is VersionState.SERVING
        return self.standing.failed or self.standing.phase is Phase.SUCCEEDED or serves


def told(observed: Observed, memory: Memory, outcome: Outcome) -> Plan:
    """Returns the plan: the status that tells what was decided, what to do, and what to announce."""
    status = _status(observed, memory, outcome)
    look_again = min(outcome.look_again, default=None)
    return Plan(
        status,
        outcome.actions,
        announcements(memory.status, status),
        max(look_again, 0.0) if look_again is not None else None,
    )


def finished_at(observed: Observed, memory: Memory, outcome: Outcome) -> str | None:
    """Returns when the job came to its end; None where it has not."""
    if not outcome.finished:
        return None
    before = memory.status
    same_end = (before.phase is Phase.FAILED) == outcome.standing.failed
    return before.finished_at if before.finished_at is not None and same_end else written(observed.now)


def _status(observed: Observed, memory: Memory, outcome: Outcome) -> FineTuneJobStatus:
    before, course, service, standing = memory.status, outcome.course, outcome.service, outcome.standing
    run = course.run
    reports = reports_of(observed, run.generation, run.attempt) if run is not None else {}
    finish = reports.get(Part.FINISH)
    versions = with_traffic(observed, service.versions)
    served, traffic = served_words(versions)
    generation_goes_on = _same_generation(run, before.run)
    spec = outcome.spec
    update: dict[str, Any] = {
        "observed_generation": observed.generation,
        "phase": standing.phase,
        "reason": standing.reason,
        "message": standing.message,
        "hint": standing.hint if standing.reason is not None else "",
        "conditions": conditions_of(
            standing,
            _ready(outcome),
            _available(observed, outcome, traffic),
            serves=_serves(observed, spec),
            generation=observed.generation,
            known=before.conditions,
            now=observed.now,
        ),
        "attempt": run.attempt if run is not None else 0,
        "resumed_from": _resumed_from(run, before, reports.get(Part.TRAIN)),
        "run": run,
        "failures": list(course.failures),
        "progress": _throttled(
            progress_of(
                standing,
                reports.get(standing.part) if standing.part is not None else None,
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
        "finished_at": finished_at(observed, memory, outcome),
    }
    if course.worker_seconds and spec is not None:
        gpu_seconds = course.worker_seconds * spec.resources.gpus_per_worker
        update["worker_seconds"] = before.worker_seconds + course.worker_seconds
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


def _available(observed: Observed, outcome: Outcome, traffic: str) -> Says:
    """Returns what `Available` says: whether any version answers, whichever the spec asks for."""
    if not _serves(observed, outcome.spec):
        return Says(ConditionStatus.FALSE, StatusReason.NOT_ASKED_FOR, "The manifest asks for no serving.")
    available = is_available_now(observed)
    if available is None:
        what = "The cluster does not know RayServices, so nobody can say whether the model answers."
        return Says(ConditionStatus.UNKNOWN, StatusReason.KUBERAY_MISSING, what)
    versions = with_traffic(observed, outcome.service.versions)
    if available:
        proven = any(version.traffic and version.state is not VersionState.CANDIDATE for version in versions)
        reason = StatusReason.SERVING if proven else StatusReason.UNPROVEN_VERSION_SERVES
        return Says(
            ConditionStatus.TRUE, reason, f"Answers requests: {traffic or 'a version not told of here'}."
        )
    if known.serving(outcome.service.versions) is None:
        return Says(ConditionStatus.FALSE, StatusReason.NOT_YET, "No version has served yet.")
    standing, service = outcome.standing, outcome.service
    why = service.trouble.message if service.trouble is not None else standing.message
    return Says(ConditionStatus.FALSE, StatusReason.UNAVAILABLE, f"No version answers. {why}")


def _ready(outcome: Outcome) -> Says:
    """Returns what `Ready` says: it is about the version that the spec's generation asks for, and no other."""
    standing, target = outcome.standing, outcome.target
    serving = known.serving(outcome.service.versions)
    other = serving if serving is not None and (target is None or serving.version != target.version) else None
    goes_on = f" v{other.version} goes on serving." if other is not None else ""
    if outcome.spec is not None and outcome.spec.serving is None:
        return Says(ConditionStatus.FALSE, StatusReason.NOT_ASKED_FOR, "The manifest asks for no serving.")
    if standing.phase is Phase.READY:
        return Says(ConditionStatus.TRUE, StatusReason.SERVING, standing.message)
    if standing.failed or target is not None:
        return Says(ConditionStatus.FALSE, standing.why, f"{standing.message}{goes_on}")
    if other is not None:
        what = f"v{other.version} serves until a version of this generation does."
        return Says(ConditionStatus.FALSE, StatusReason.OLD_VERSION_SERVES, what)
    return Says(ConditionStatus.FALSE, StatusReason.NOT_YET, "No version is published yet.")
