"""What the operating system refuses is told as what it is; a fault of ours is not."""

from __future__ import annotations

import errno
import os

import pytest

from anneal_api.errors import ExitCode, Reason
from anneal_api.system_errors import unavailable


def os_error(number: int, *names: object) -> OSError:
    return OSError(number, os.strerror(number), *names)


@pytest.mark.parametrize(
    "error",
    [
        os_error(errno.ENOSPC, "/w/x"),
        os_error(errno.EDQUOT, "/w/x"),
        OSError("Error writing bytes to file. Detail: [errno 28] No space left on device"),
        RuntimeError('IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })'),
    ],
    ids=repr,
)
def test_a_full_disk(error):
    told = unavailable(error)
    assert told is not None
    assert told.reason is Reason.DISK_FULL
    assert told.exit_code == ExitCode.RESOURCE_UNAVAILABLE
    assert told.remedy


@pytest.mark.parametrize(
    "number",
    [
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.EIO,
        errno.ESTALE,
        errno.EMFILE,
        errno.EFBIG,
    ],
    ids=errno.errorcode.get,
)
def test_a_place_that_cannot_be_used_is_named(number):
    told = unavailable(os_error(number, "/w/x"))
    assert told is not None
    assert told.where == "/w/x"
    assert os.strerror(number) in told.what
    assert told.remedy
    assert told.reason is Reason.RESOURCE_UNAVAILABLE


def test_an_error_without_a_place():
    told = unavailable(os_error(errno.EMFILE))
    assert told is not None
    assert "Too many open files" in told.what


def test_memory_and_temporary_files():
    told = unavailable(MemoryError())
    assert told is not None
    assert told.reason is Reason.OUT_OF_MEMORY
    told = unavailable(FileNotFoundError(2, "No usable temporary directory found in ['/tmp', '/']"))
    assert told is not None
    assert "TMPDIR" in told.remedy


def test_a_fault_of_ours_is_none_of_the_machines():
    assert unavailable(KeyError("x")) is None
    assert unavailable(FileNotFoundError(2, "No such file or directory", "/w/x")) is None
    dealt_with = KeyError("x")
    dealt_with.__context__ = os_error(errno.EACCES, "/w/x")
    assert unavailable(dealt_with) is None
