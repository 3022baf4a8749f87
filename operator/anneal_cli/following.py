"""Follows one FineTuneJob through its changes: a watch that goes on where it was when the connection breaks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from random import Random

from anneal_api.errors import ObjectNotFound
from anneal_cli.cluster_access import Cluster, no_such_job
from anneal_cli.cluster_reader import WATCH_SECONDS
from anneal_operator.cluster.errors import ApiError, Expired, Transient, Unauthorized
from anneal_operator.cluster.kinds import FINE_TUNE_JOB
from anneal_operator.cluster.retries import Backoff
from anneal_operator.resources.ownership import Object

GIVE_UP_SECONDS = 900.0
"""How long a cluster may be out of reach before a follower gives up."""

_BACKOFF = Backoff(first=1.0, longest=30.0)
_SHORTEST_WATCH_SECONDS = 1.0


def job_changes(
    cluster: Cluster,
    name: str,
    *,
    lost: Callable[[ApiError | None], None],
    quiet_seconds: Callable[[Object], int | None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
    random: Random | None = None,
) -> Iterator[Object]:
    """Yields a job as it is now, and again whenever it has changed, until it is deleted.

    Args:
        cluster: The cluster.
        name: Name of the job.
        lost: Told when the connection is lost, with the reason, and None when it is there.
        quiet_seconds: Returns after how long without a change a job is yielded as it is; None: never.
        sleep: Waits.
        monotonic: Tells seconds since some moment.
        random: Chance, for the waits between tries.

    Raises:
        ObjectNotFound: The job does not exist, or was deleted.
        ResourceUnavailable: The cluster cannot be asked, or not for a long time.
    """
    random = random or Random()  # noqa: S311  # spreads waits, hides nothing
    with cluster.explained(name):
        body, version = _read(cluster, name, no_such_job(name, cluster.namespace))
    yield body
    failures, lost_at = 0, monotonic()

    def connected() -> None:
        nonlocal failures
        failures = 0
        lost(None)

    while True:
        began = monotonic()
        try:
            if not version:
                body, version = _read(cluster, name, _deleted(name, cluster.namespace))
                yield body
            quiet = quiet_seconds(body)
            for newer, changed in _watched(cluster, name, version, quiet, connected):
                version = newer
                if changed is None:
                    continue
                body = changed
                yield body
                if quiet_seconds(body) != quiet:
                    break
            else:
                if quiet is not None:
                    yield body
            # The server ends a watch now and then. One that it ends at once must not become a busy loop.
            sleep(max(_SHORTEST_WATCH_SECONDS - (monotonic() - began), 0.0))
        except Expired:
            version = ""
        except ApiError as error:
            lost_at = lost_at if failures else monotonic()
            failures += 1
            passing = isinstance(error, Transient) and not isinstance(error, Unauthorized)
            if not passing or monotonic() - lost_at > GIVE_UP_SECONDS:
                with cluster.explained(name):
                    raise
            lost(error)
            sleep(_BACKOFF.delay(failures, random, at_least=error.retry_after or 0.0))


def _watched(
    cluster: Cluster, name: str, version: str, quiet: int | None, connected: Callable[[], None]
) -> Iterator[tuple[str, Object | None]]:
    """Yields the version to go on from with what the job has become; None where that is the same."""
    seconds = quiet or WATCH_SECONDS
    for happened, body in cluster.reader.changes(
        FINE_TUNE_JOB, cluster.namespace, name, version, connected=connected, seconds=seconds
    ):
        if happened == "DELETED":
            raise _deleted(name, cluster.namespace)
        yield str(body["metadata"]["resourceVersion"]), body if happened in {"ADDED", "MODIFIED"} else None


def _read(cluster: Cluster, name: str, absent: ObjectNotFound) -> tuple[Object, str]:
    """Returns a job and the version to watch from.

    It is the version of the list: the job's own may be too old to watch from when it has not changed for hours.
    """
    fields = f"metadata.name={name}"
    found, version = cluster.reader.listed(FINE_TUNE_JOB, cluster.namespace, fields=fields)
    if not found:
        raise absent
    return found[0], version


def _deleted(name: str, namespace: str) -> ObjectNotFound:
    return ObjectNotFound(
        f"The FineTuneJob {name} was deleted.",
        where=f"{namespace}/{name}",
        remedy="What it published stays in the store, unless the job said otherwise (spec.retention.onDelete).",
    )
