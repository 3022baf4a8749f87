"""Tries out a folder before anything is done that would be lost for want of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from anneal_api.errors import Reason, ResourceUnavailable
from anneal_api.system_errors import is_full

_PROBE_BYTES = 1 << 20


def require_writable(folder: Path, *, setting: str, what: str) -> None:
    """Makes sure that a folder can be written, before hours of training and not after. It is made where it is missing.

    Args:
        folder: The folder.
        setting: The option or the path in the spec that chose it.
        what: What it is for, for messages.

    Raises:
        ResourceUnavailable: It cannot be made or written, or has no room.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _probe(folder)
    except OSError as error:
        full = is_full(error)
        raise ResourceUnavailable(
            f"The {what} has no room: {error.strerror}."
            if full
            else f"The {what} cannot be written: {_reason(folder, error)}.",
            where=f"{setting}: {folder}",
            remedy=f"Free some room there, or choose another folder with {setting}."
            if full
            else f"Choose a folder with {setting} that you may write.",
            reason=Reason.DISK_FULL if full else None,
        ) from error


def require_temporary_folder() -> None:
    """Makes sure that libraries can write temporary files, which they do in every stage.

    Raises:
        ResourceUnavailable: They cannot.
    """
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise ResourceUnavailable(
            "There is no folder for temporary files that can be written.",
            where="TMPDIR",
            remedy="Set TMPDIR to a folder that you may write.",
        ) from error
    require_writable(folder, setting="TMPDIR", what="folder for temporary files")


def _probe(folder: Path) -> None:
    with tempfile.NamedTemporaryFile(prefix=".probe-", dir=folder) as file:
        file.write(bytes(_PROBE_BYTES))
        file.flush()
        os.fsync(file.fileno())  # some file systems notice a full disk or quota no earlier


def _reason(folder: Path, error: OSError) -> str:
    """Returns why a folder cannot be written; where the fault lies in a parent, with the parent."""
    words = (error.strerror or str(error)).rstrip(".")
    for parent in (folder, *folder.parents):
        try:
            if not parent.exists():
                continue
            if not parent.is_dir():
                return f"{parent} is a file" if parent.is_file() else f"{parent} is no folder"
        except OSError:
            continue
        return words if parent == folder else f"{words} ({parent})"
    return words
