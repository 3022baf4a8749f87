"""Keeps the pods of one job out of each other's way: only one at a time works in its work folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from anneal_api.errors import ResourceUnavailable
from anneal_trainer.remote.lease import StillHeld
from anneal_trainer.stages import StageFolder

LOCK_SECONDS = 180.0
"""How long a pod waits for an older one to let the work folder go: longer than a pod's grace period (120 s), and than
an NFS server (90 s) or a lease in a bucket (75 s) keeps the lock of a machine that is gone."""


@contextmanager
def held(stages: StageFolder, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Holds a job's work folder against its other pods, wherever they run.

    Args:
        stages: The work folder.
        seconds: How long to wait for a pod that holds it.

    Raises:
        ResourceUnavailable: It holds it still, or the volume or the bucket knows no locks.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(stages.locked(wait_seconds=seconds))
        except StillHeld as error:
            raise ResourceUnavailable(
                f"An older pod of this job still holds its work folder after {seconds:.0f} s. {error.what}",
                where=error.where,
                remedy="It lets go when it ends; delete it if it hangs. The next attempt tries again.",
            ) from None
        yield
