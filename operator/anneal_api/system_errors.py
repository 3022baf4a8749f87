"""Errors of the operating system that a person can mend: no room, no permission, a path that leads nowhere. Pure."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from anneal_api.errors import AnnealError, Reason, ResourceUnavailable

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""There is no room."""

FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""Reading or writing is not allowed."""

_MISPLACED = frozenset(
    {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.ENODEV, errno.ENXIO}
)
_BROKEN = frozenset({errno.EIO, errno.ESTALE, errno.EFBIG, errno.ENOLCK, errno.EBUSY, errno.ETXTBSY})
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN})
# Libraries in C++ and Rust say so in words only.
_FULL_IN_WORDS = re.compile(r"No space left on device|Disk quota exceeded|StorageFull")
_OUT_OF_MEMORY_IN_WORDS = re.compile(r"out of memory|can't allocate memory|std::bad_alloc", re.IGNORECASE)
_NO_TEMPORARY_FOLDER = "No usable temporary directory"


def unavailable(error: BaseException) -> ResourceUnavailable | None:
    """Returns what an error, or what it came from, says about the machine; None where it says nothing about it.

    Args:
        error: Whatever a stage or a command ended with.
    """
    causes = list(chain(error))
    full = next((cause for cause in causes if is_full(cause)), None)
    if full is not None:
        return ResourceUnavailable(
            f"The disk is full: {_words(full)}.",
            where=_place(full),
            remedy="Free some room where it is written to, then run again: what is done is kept.",
            reason=Reason.DISK_FULL,
        )
    if any(is_out_of_memory(cause) for cause in causes):
        return ResourceUnavailable(
            f"There is not enough memory: {_words(error)}.",
            remedy="Give the process more memory, or choose a smaller model or less data; then run again.",
            reason=Reason.OUT_OF_MEMORY,
        )
    for cause in _said_causes(error):  # an error that was dealt with before says nothing about this one
        if isinstance(cause, OSError) and (remedy := _remedy(cause)):
            return ResourceUnavailable(
                f"{_subject(cause)}: {_words(cause)}.", where=_place(cause), remedy=remedy
            )
    return None


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and what it came from. An AnnealError came only from what it says it did."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        hidden = current.__suppress_context__ or isinstance(current, AnnealError)
        current = current.__cause__ or (None if hidden else current.__context__)


def _said_causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def is_full(error: BaseException) -> bool:
    """Returns whether an error says that a disk or a quota is full."""
    if isinstance(error, AnnealError):
        return error.reason is Reason.DISK_FULL
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    return _FULL_IN_WORDS.search(str(error)) is not None


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that there was no memory left."""
    if isinstance(error, AnnealError):
        return error.reason is Reason.OUT_OF_MEMORY
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return _OUT_OF_MEMORY_IN_WORDS.search(str(error)) is not None


def _remedy(error: OSError) -> str:
    if _NO_TEMPORARY_FOLDER in str(error):
        return "Set TMPDIR to a folder that can be written."
    if error.errno in FORBIDDEN:
        return "Give yourself the right to use it, or choose another place."
    if error.errno in _MISPLACED:
        return "Choose another place, or move away what is there."
    if error.errno in _BROKEN:
        return "Check the file system that it lies on, and the limits of your shell (ulimit -a)."
    if error.errno in _EXHAUSTED:
        return "Raise the limits of your shell (ulimit -n, ulimit -u), then run again."
    return ""


def _subject(error: OSError) -> str:
    if _NO_TEMPORARY_FOLDER in str(error):
        return "There is no folder for temporary files"
    return "The machine refuses something that is needed" if not _place(error) else "It cannot be used"


def _place(error: BaseException) -> str:
    if not isinstance(error, OSError):
        return ""
    names = [error.filename, error.filename2]
    # A file is told by its descriptor where it has no name.
    return next((os.fsdecode(name) for name in names if isinstance(name, str | bytes)), "")


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.rstrip(".")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
