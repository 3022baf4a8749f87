"""Keeps the newest versions of a job and removes older ones."""

from __future__ import annotations

from collections.abc import Collection

from anneal_trainer.publish.store import JobStore


def surplus(versions: Collection[int], *, keep: int, protected: Collection[int]) -> list[int]:
    """Returns the versions to remove, oldest first. Pure.

    Args:
        versions: All complete ones.
        keep: How many of the newest to keep.
        protected: Versions that are kept however old they are.
    """
    newest = sorted(versions)[-keep:] if keep else []
    return [version for version in sorted(versions) if version not in newest and version not in protected]


def retain(store: JobStore, *, keep: int, protected: Collection[int]) -> list[int]:
    """Removes what is too old, and what killed runs left behind. Call it while no other run of the job publishes.

    Args:
        store: The job's versions.
        keep: How many of the newest to keep.
        protected: Versions that are kept however old they are: the serving one, and the one that the newest was
            compared with.

    Returns:
        The versions that were removed, oldest first.
    """
    removed = surplus(store.versions(), keep=keep, protected=protected)
    for version in removed:
        store.remove(version)
    store.sweep()
    return removed
