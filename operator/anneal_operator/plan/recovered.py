"""What is known of a job's past: its status, or, where that is lost or old, what its children tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from anneal_api.attempt import Part
from anneal_api.status import (
    ConditionStatus,
    ConditionType,
    FailedAttempt,
    FineTuneJobStatus,
    Phase,
    Run,
    StatusReason,
    VersionState,
    VersionStatus,
)
from anneal_api.status_reading import read_status
from anneal_operator.plan import spec_digest
from anneal_operator.plan.diagnosis.failed import kind_of
from anneal_operator.plan.diagnosis.reasons import shortened
from anneal_operator.plan.observations import has_succeeded, images_of, labels_of, number, report_of
from anneal_operator.plan.observed import Object, Observed
from anneal_operator.plan.retries import failure_of, with_failure
from anneal_operator.plan.rollout.versions import serving, version_of
from anneal_operator.plan.timestamps import format_time
from anneal_operator.resources.names import (
    ATTEMPT_LABEL,
    GENERATION_LABEL,
    generation_name,
    part_name,
    probe_name,
)

_PARTS = tuple(Part)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is known of a job's past.

    Attributes:
        status: The status as last written, less what cannot be read.
        run: The attempt under way, or the last one.
        versions: The published versions, the newest last.
    """

    status: FineTuneJobStatus
    run: Run | None
    versions: tuple[VersionStatus, ...]


def recover(observed: Observed) -> Recorded:
    """Returns what is known of a job's past.

    An attempt that the status does not know was begun by an operator whose status was lost or is not in the cache
    yet; it is taken over, so that its work is not begun a second time.
    """
    status, left_out = read_status(observed.job.get("status") or {})
    run = status.run
    newest = max(_attempts(observed), default=None)
    if newest is not None and (run is None or (run.generation, run.attempt) < newest):
        run = _adopted(observed, *newest)
    versions = tuple(status.versions)
    if any(place.startswith("versions") for place in left_out) or (
        not versions and status.observed_generation == 0
    ):
        versions = _completed(versions, _versions(observed))
    if run is not None and any(place.startswith("failures") for place in left_out):
        status = _still_failed(status, run, observed.now)
    return Recorded(status, run, versions)


def _completed(known: tuple[VersionStatus, ...], found: Iterable[VersionStatus]) -> tuple[VersionStatus, ...]:
    numbers = {version.version for version in known}
    serves = serving(known) is not None
    lost = [version for version in found if version.version not in numbers]
    if serves:
        lost = [v.model_copy(update={"state": VersionState.PREVIOUS, "traffic": 0}) for v in lost]
    return tuple(sorted((*known, *lost), key=lambda version: version.version)) if lost else known


def _still_failed(status: FineTuneJobStatus, run: Run, now: datetime) -> FineTuneJobStatus:
    """Returns the status with a failure of an attempt on record where the one that it had cannot be read.

    What failed for good, before or under another release, is not begun again for that.
    """
    ended = any(
        c.type is ConditionType.FAILED and c.status is ConditionStatus.TRUE for c in status.conditions
    )
    ended |= status.phase is Phase.FAILED
    if not ended or run.retry_at is not None or failure_of(run, status.failures) is not None:
        return status
    lost = FailedAttempt(
        generation=run.generation,
        attempt=run.attempt,
        part=run.part,
        reason=status.reason or StatusReason.INTERNAL,
        message=shortened(status.message) or "Why cannot be read any more.",
        hint=shortened(status.hint),
        at=status.finished_at or format_time(now),
    )
    return status.model_copy(update={"failures": list(with_failure(status.failures, lost))})


def _attempts(observed: Observed) -> Iterator[tuple[int, int]]:
    """Yields generation and attempt of everything that belongs to an attempt."""
    for child in observed.children:
        labels = labels_of(child)
        generation, attempt = number(labels, GENERATION_LABEL), number(labels, ATTEMPT_LABEL)
        if generation and attempt and generation <= observed.generation:
            yield generation, attempt


def _adopted(observed: Observed, generation: int, attempt: int) -> Run:
    part, body = Part.PREPARE, None
    for each in _PARTS:
        found = observed.child(kind_of(each), part_name(observed.name, generation, attempt, each))
        if found is not None or report_of(observed, generation, attempt, each) is not None:
            part, body = each, found
    now = format_time(observed.now)
    begun = body["metadata"].get("creationTimestamp", now) if body is not None else now
    manifest = observed.child("ConfigMap", generation_name(observed.name, generation))
    first = manifest["metadata"].get("creationTimestamp", begun) if manifest is not None else begun
    spec = spec_digest.spec_of(observed, generation)
    return Run(
        generation=generation,
        attempt=attempt,
        part=part,
        image=next(images_of(body), observed.settings.image),
        startedAt=begun,
        partStartedAt=begun,
        shaping=spec_digest.work_digest(spec) if spec is not None else None,
        forGeneration=generation,
        countsFrom=first,
    )


def _versions(observed: Observed) -> Iterator[VersionStatus]:
    """Yields the versions that reports in the cluster tell of, the newest last."""
    found: dict[int, VersionStatus] = {}
    for generation, attempt in sorted(set(_attempts(observed))):
        report = report_of(observed, generation, attempt, Part.FINISH)
        if report is None or report.published is None or report.published.version is None:
            continue
        run = _adopted(observed, generation, attempt)
        spec = spec_digest.spec_of(observed, generation)
        version = version_of(
            report.published, run, spec_digest.result_digest(spec) if spec else None, observed.now
        )
        service = _service(observed)
        finish = part_name(observed.name, generation, attempt, Part.FINISH)
        if observed.child("Job", finish) is None and service is not None:
            # Rather the image that serves already than a change of image that nobody asked for.
            version = version.model_copy(update={"image": next(images_of(service), version.image)})
        found[version.version] = version
    proven = [number_ for number_ in found if _was_proven(observed, number_)]
    for number_ in sorted(found):
        serves = bool(proven) and number_ == max(proven)
        state = {"state": VersionState.SERVING, "traffic": 100} if serves else {}
        yield found[number_].model_copy(update=state)


def _service(observed: Observed) -> Object | None:
    return next((child for child in observed.children if child["kind"] == "RayService"), None)


def _was_proven(observed: Observed, version: int) -> bool:
    probe = observed.child("Job", probe_name(observed.name, version))
    return _service(observed) is not None and probe is not None and has_succeeded(probe)
