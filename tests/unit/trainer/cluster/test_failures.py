"""Whatever ends a part gets a reason of the closed set, a sentence, and an exit code."""

from __future__ import annotations

import errno
import os

import pytest

from anneal_api.errors import (
    ArtifactInvalid,
    DataInvalid,
    ExitCode,
    ModelNotFound,
    Problem,
    Reason,
    TrainingFailed,
)
from anneal_trainer.cluster.failures import ending_of, interruption


def caused(error: BaseException, cause: BaseException) -> BaseException:
    try:
        raise error from cause
    except type(error) as raised:
        return raised


def os_error(number: int, name: str = "/mnt/pvc/models/x") -> OSError:
    return OSError(number, os.strerror(number), name)


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (DataInvalid("bad rows"), Reason.DATA_INVALID, ExitCode.DATA_INVALID),
        (ModelNotFound("no such model"), Reason.MODEL_NOT_FOUND, ExitCode.MODEL_NOT_FOUND),
        (ArtifactInvalid("altered"), Reason.ARTIFACT_INVALID, ExitCode.ARTIFACT_INVALID),
        (
            TrainingFailed("ran out", reason=Reason.OUT_OF_MEMORY),
            Reason.OUT_OF_MEMORY,
            ExitCode.TRAINING_FAILED,
        ),
        (MemoryError(), Reason.OUT_OF_MEMORY, ExitCode.RESOURCE_UNAVAILABLE),
        (os_error(errno.ENOMEM), Reason.OUT_OF_MEMORY, ExitCode.RESOURCE_UNAVAILABLE),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            Reason.OUT_OF_MEMORY,
            ExitCode.RESOURCE_UNAVAILABLE,
        ),
        (RuntimeError("std::bad_alloc"), Reason.OUT_OF_MEMORY, ExitCode.RESOURCE_UNAVAILABLE),
        (os_error(errno.ENOSPC), Reason.DISK_FULL, ExitCode.RESOURCE_UNAVAILABLE),
        (os_error(errno.EDQUOT), Reason.DISK_FULL, ExitCode.RESOURCE_UNAVAILABLE),
        (
            RuntimeError('IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })'),
            Reason.DISK_FULL,
            ExitCode.RESOURCE_UNAVAILABLE,
        ),
        (
            TrainingFailed("The disk is full.", remedy="Run again.", reason=Reason.DISK_FULL),
            Reason.DISK_FULL,
            ExitCode.RESOURCE_UNAVAILABLE,
        ),
        (os_error(errno.EACCES), Reason.RESOURCE_UNAVAILABLE, ExitCode.RESOURCE_UNAVAILABLE),
        (os_error(errno.EROFS), Reason.RESOURCE_UNAVAILABLE, ExitCode.RESOURCE_UNAVAILABLE),
        (os_error(errno.ESTALE), Reason.INTERNAL, ExitCode.INTERNAL),
        (KeyError("x"), Reason.INTERNAL, ExitCode.INTERNAL),
        (KeyboardInterrupt(), Reason.INTERRUPTED, ExitCode.INTERRUPTED),
        (SystemExit(0), Reason.INTERRUPTED, ExitCode.INTERRUPTED),
    ],
    ids=repr,
)
def test_reason_and_exit_code(error, reason, code):
    ending = ending_of(error)
    assert ending.failure.reason is reason
    assert ending.exit_code == code
    assert ending.failure.message
    assert ending.unexpected == (reason is Reason.INTERNAL)


def test_a_full_disk_is_found_below_what_was_made_of_it():
    hub = caused(ModelNotFound("'bert' cannot be downloaded"), os_error(errno.ENOSPC, "/mnt/pvc/models/hub"))
    ending = ending_of(hub)
    assert ending.failure.reason is Reason.DISK_FULL
    assert "/mnt/pvc/models/hub" in ending.failure.message


def test_what_merely_happened_before_is_no_cause_of_an_error_that_is_told():
    error = DataInvalid("row 7 is empty")
    error.__context__ = os_error(errno.ENOSPC)
    assert ending_of(error).failure.reason is Reason.DATA_INVALID
    unforeseen = KeyError("x")
    unforeseen.__context__ = os_error(errno.ENOSPC)
    assert ending_of(unforeseen).failure.reason is Reason.DISK_FULL


def test_a_full_disk_in_the_words_of_the_data_is_none():
    assert (
        ending_of(DataInvalid("'No space left on device' is no label")).failure.reason is Reason.DATA_INVALID
    )


def test_what_is_to_be_done_reaches_the_operator():
    error = DataInvalid(
        "The data cannot be trained on.",
        where="spec.data",
        remedy="Mend the rows.",
        problems=[Problem("The cell is empty.", "test.csv row 97", "Fill it."), Problem("Another.")],
    )
    failure = ending_of(error).failure
    assert failure.where == "spec.data"
    assert failure.hint == "Mend the rows."
    assert failure.message.splitlines() == [
        "The data cannot be trained on.",
        "- test.csv row 97: The cell is empty. Fill it.",
        "- Another.",
    ]


def test_a_single_problem_lends_its_place_and_its_remedy():
    failure = ending_of(
        DataInvalid("Bad.", problems=[Problem("Empty.", "rows.csv row 3", "Fill it.")])
    ).failure
    assert (failure.where, failure.hint) == ("rows.csv row 3", "Fill it.")


def test_of_an_unforeseen_error_only_the_last_line_is_told():
    failure = ending_of(RuntimeError("Traceback:\n  file x\nValueError: boom.\n")).failure
    assert failure.message == "Something unforeseen happened: RuntimeError: ValueError: boom."
    assert ending_of(RuntimeError()).failure.message == "Something unforeseen happened: RuntimeError."


def test_an_endless_message_is_cut():
    failure = ending_of(DataInvalid("x" * 100_000)).failure
    assert len(failure.message) == 4096
    assert failure.message.endswith("\u2026")


def test_an_interruption_says_that_it_goes_on():
    ending = interruption()
    assert ending.failure.reason is Reason.INTERRUPTED
    assert "goes on" in ending.failure.hint
    assert ending.exit_code == 130
