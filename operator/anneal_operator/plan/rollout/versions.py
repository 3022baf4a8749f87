"""The published versions: which one the spec asks for, which one serves, which ones are still told of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from anneal_api.attempt import PublishedResult
from anneal_api.job import FineTuneJobSpec
from anneal_api.spec.serving import Retention
from anneal_api.status import Run, VersionState, VersionStatus
from anneal_operator.plan.observed import Observed
from anneal_operator.plan.spec_digest import is_result_of
from anneal_operator.plan.timestamps import format_time

_MOST = 32
_ALL_TRAFFIC = 100


def version_of(published: PublishedResult, run: Run, shaping: str | None, now: datetime) -> VersionStatus:
    """Returns the version that an attempt published, a candidate until it serves.

    Args:
        published: What the attempt reported.
        run: The attempt.
        shaping: Digest of the spec that decides the version.
        now: The time.
    """
    if published.version is None:
        raise ValueError("nothing was published")
    return VersionStatus(
        version=published.version,
        generation=run.generation,
        state=VersionState.CANDIDATE,
        traffic=0,
        path=published.path,
        digest=published.digest,
        image=run.image,
        store=run.store,
        score=published.metrics.get(published.leading_metric),
        publishedAt=format_time(now),
        shaping=shaping,
    )


def with_version(versions: Sequence[VersionStatus], new: VersionStatus) -> tuple[VersionStatus, ...]:
    """Returns the versions with one more.

    Where the attempt came to a version that is known, because all its stages still held, that one stays as it is:
    it may be serving, with the image that it has. It is the newest all the same.
    """
    known = next((v for v in versions if v.version == new.version and v.digest == new.digest), None)
    if known is not None:
        new = known.model_copy(update={"generation": new.generation, "shaping": new.shaping})
    return (*(v for v in versions if v.version != new.version), new)


def replaced(versions: Iterable[VersionStatus], new: VersionStatus) -> tuple[VersionStatus, ...]:
    """Returns the versions, one of them as it has become."""
    return tuple(new if version.version == new.version else version for version in versions)


def asked_for(
    versions: Sequence[VersionStatus], spec: FineTuneJobSpec, observed: Observed
) -> VersionStatus | None:
    """Returns the version that the spec asks for, where one exists.

    Only the newest and the serving version count: going back to an older one is a new result, because its gate was
    read against other incumbents.
    """
    newest = versions[-1] if versions else None
    current = [version for version in (newest, serving(versions)) if version is not None]
    return next((version for version in current if is_result_of(version, spec, observed)), None)


def serving(versions: Iterable[VersionStatus]) -> VersionStatus | None:
    """Returns the version that answers requests.

    Where a newer release has another word for what each does, it is the one with most of the traffic, or the newest.
    """
    versions = tuple(versions)
    by_word = next((version for version in versions if version.state is VersionState.SERVING), None)
    others = [version for version in versions if not version.state.is_known]
    return by_word or max(others, key=lambda version: (version.traffic, version.version), default=None)


def carrying(versions: Iterable[VersionStatus], number: int | None) -> tuple[VersionStatus, ...]:
    """Returns the versions with all of the traffic on one of them.

    Args:
        versions: The versions.
        number: The one that answers; None: none does.
    """
    shares = ((version, _ALL_TRAFFIC if version.version == number else 0) for version in versions)
    return tuple(
        version if version.traffic == share else version.model_copy(update={"traffic": share})
        for version, share in shares
    )


def promoted(versions: Iterable[VersionStatus], new: VersionStatus) -> tuple[VersionStatus, ...]:
    """Returns the versions after one of them has taken over."""
    result = []
    for version in versions:
        if version.version == new.version:
            change = {
                "state": VersionState.SERVING,
                "traffic": _ALL_TRAFFIC,
                "deploying_since": None,
                "refused": None,
            }
            result.append(version.model_copy(update=change))
        else:
            result.append(_retired(version))
    return tuple(result)


def retired(versions: Iterable[VersionStatus]) -> tuple[VersionStatus, ...]:
    """Returns the versions after nothing is served any more."""
    return tuple(_retired(version) for version in versions)


def kept(versions: Sequence[VersionStatus], retention: Retention | None) -> tuple[VersionStatus, ...]:
    """Returns the versions that the status still tells of: the serving one, and the newest."""
    most = min((retention or Retention()).versions, _MOST - 1)
    newest = {version.version for version in versions[-most:]}
    serves = serving(versions)
    return tuple(v for v in versions if v.version in newest or v is serves)


def _retired(version: VersionStatus) -> VersionStatus:
    served = version.state is VersionState.SERVING or not version.state.is_known
    state = VersionState.PREVIOUS if served else version.state
    return version.model_copy(update={"state": state, "traffic": 0, "deploying_since": None})
