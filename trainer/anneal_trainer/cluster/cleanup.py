"""Removes what a deleted job left: its versions in the store and its work folder, and nothing else."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from anneal_api.errors import AnnealError
from anneal_api.job import Metadata
from anneal_trainer.cluster.environment import Folders
from anneal_trainer.cluster.work_folder import LOCK_SECONDS, held
from anneal_trainer.publish.store import JobStore
from anneal_trainer.remote.mirror import Mirror
from anneal_trainer.stages import LOCK_FILE, StageFolder

_logger = logging.getLogger(__name__)


def clean_up(metadata: Metadata, folders: Folders, *, lock_seconds: float = LOCK_SECONDS) -> None:
    """Removes a job's folder of the store and its work folder. That they are gone already is success.

    Args:
        metadata: The job's, with its UID.
        folders: Roots of store and work.
        lock_seconds: How long to wait for a pod of the job that is still at work.

    Raises:
        AnnealError: A folder leads out of its root, or is still held.
        OSError: It cannot be removed.
    """
    if folders.mirror is not None:
        _clean_up_bucket(metadata, folders, folders.mirror, lock_seconds)
        return
    versions = _inside(folders.store, JobStore.of(folders.store, metadata).folder)
    work = _inside(folders.work, JobStore.of(folders.work, metadata).folder)
    if work.is_dir():
        with held(StageFolder(work), lock_seconds):
            _remove(versions)
            for path in work.iterdir():
                # A held file that is removed on NFS leaves another one in its place.
                if path.name != LOCK_FILE:
                    _remove(path)
    _remove(versions)
    _remove(work)


def _clean_up_bucket(metadata: Metadata, folders: Folders, mirror: Mirror, lock_seconds: float) -> None:
    work = JobStore.of(folders.work, metadata).folder
    with held(StageFolder(work, mirror), lock_seconds):
        for folder in (JobStore.of(folders.store, metadata).folder, work / "stages", work / "handover"):
            mirror.remove(folder)
            _logger.info("Removed %s", mirror.place(folder))
    mirror.remove(work)


def _inside(root: Path, folder: Path) -> Path:
    """Returns a folder if neither it nor one above it, up to the root, is a link to somewhere else."""
    if folder.parent.parent != root or folder.resolve() != root.resolve() / folder.relative_to(root):
        raise AnnealError(
            "The folder leads out of the place that it belongs to; it is left alone.",
            where=str(folder),
            remedy="Remove the symbolic link on the way to it.",
        )
    return folder


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        _logger.info("Removed %s", path)
    else:
        path.unlink(missing_ok=True)
