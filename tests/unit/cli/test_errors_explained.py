from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from anneal_api.errors import AnnealError, DataInvalid, ExitCode, Interrupted, ManifestInvalid, Problem
from anneal_cli.console import errors_explained


def ended_with(error: BaseException) -> int:
    with pytest.raises(SystemExit) as caught, errors_explained():
        raise error
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_an_error_says_what_where_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [Problem("A row has no label.", "train.csv:17", "Fill it."), Problem("[bold]", "train.csv:18")]
    error = DataInvalid("The data has 2 problems.", where="train.csv", remedy="Mend them.", problems=problems)
    assert ended_with(error) == ExitCode.DATA_INVALID
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "error (DataInvalid)",
        "  train.csv",
        "    The data has 2 problems.",
        "    Mend them.",
        "  train.csv:17",
        "    A row has no label.",
        "    Fill it.",
        "  train.csv:18",
        "    [bold]",
    ]


@pytest.mark.parametrize("kind", [ManifestInvalid, DataInvalid, AnnealError])
def test_each_error_has_its_exit_code(kind: type[AnnealError]) -> None:
    assert ended_with(kind("Broken.")) == kind.exit_code


def test_any_other_exception_is_internal_and_its_traceback_goes_to_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert ended_with(ZeroDivisionError("one\ntwo")) == ExitCode.INTERNAL
    err = capsys.readouterr().err
    (file,) = tmp_path.iterdir()
    assert str(file) in err
    assert "ZeroDivisionError: one" in err
    assert "Traceback" not in err
    assert "test_errors_explained.py" in file.read_text(encoding="utf-8")


def test_ctrl_c_ends_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_with(KeyboardInterrupt()) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == "Interrupted.\n"


def test_ctrl_c_in_a_command_ends_with_130(tmp_path: Path) -> None:
    fifo = tmp_path / "job.yaml"
    os.mkfifo(fifo)  # nobody writes: the command waits until it is interrupted
    command = [sys.executable, "-c", "print('up', flush=True); from anneal_cli.app import main; main()"]
    with subprocess.Popen(
        [*command, "validate", str(fifo)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        writer = os.open(fifo, os.O_WRONLY)  # returns when the command has opened the file
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        os.close(writer)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in err


def started(program: str, *arguments: str, **streams: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *arguments]
    # Whoever runs the tests may ignore the end of their terminal, as `nohup` does; a command would inherit that.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        return subprocess.Popen(command, text=True, **{"stdout": -1, "stderr": -1, **streams})
    finally:
        signal.signal(signal.SIGHUP, before)


_WAITS = """
import os, signal, sys, time
from anneal_cli.console import errors_explained
if "ignored" in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
with errors_explained():
    try:
        print("up", flush=True)
        time.sleep(30)
    finally:
        print("tidied up", flush=True)
        os.write(2, b"a library's last words")
        if "broken" in sys.argv:
            raise RuntimeError("Ray is gone")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("unwinding", ["", "broken"])
def test_a_signal_to_end_is_told_in_one_line(number: signal.Signals, unwinding: str) -> None:
    with started(_WAITS, unwinding) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        process.send_signal(number)  # `timeout` tells the process, then its group
        out, err = process.communicate(timeout=120)
    assert process.returncode == ExitCode.INTERRUPTED
    assert out == "tidied up\n"
    assert err == "Interrupted.\n"


def test_a_closed_terminal_is_ignored_where_nohup_says_so() -> None:
    with started(_WAITS, "ignored") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.3)
        process.terminate()
        process.communicate(timeout=120)
    assert process.returncode == ExitCode.INTERRUPTED


def test_the_next_run_is_spoken_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_with(Interrupted("Training was stopped.", remedy="Run again.")) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == "Interrupted. Training was stopped. Run again.\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOTDIR])
def test_what_the_system_refuses_is_no_fault_of_ours(capsys: pytest.CaptureFixture[str], number: int) -> None:
    error = OSError(number, os.strerror(number), "/w/x")
    assert ended_with(error) == ExitCode.RESOURCE_UNAVAILABLE
    err = capsys.readouterr().err
    assert "/w/x" in err
    assert "report" not in err


def test_details_that_cannot_be_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nope")
    assert ended_with(ZeroDivisionError("one")) == ExitCode.INTERNAL
    assert "TMPDIR" in capsys.readouterr().err


_CRD = "import sys; sys.argv = ['anneal', 'crd']; from anneal_cli.app import main; main()"


def test_a_reader_that_has_gone_ends_a_command_without_a_word() -> None:
    read, write = os.pipe()
    os.close(read)
    with started(_CRD, stdout=write) as process:
        _, err = process.communicate(timeout=120)
    os.close(write)
    assert process.returncode == ExitCode.OUTPUT_CLOSED
    assert err == ""


@pytest.mark.parametrize("command", ["crd", "--version", "--help"])
def test_output_that_cannot_be_written_is_told(command: str) -> None:
    program = _CRD.replace("crd", command)
    with Path("/dev/full").open("w") as full, started(program, stdout=full) as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == ExitCode.RESOURCE_UNAVAILABLE
    assert "No space left on device" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_were_closed(closed: str) -> None:
    program = 'exec "$0" -c "$1" ' + closed
    done = subprocess.run(
        ["sh", "-c", program, sys.executable, _CRD], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == ExitCode.OK
    assert done.stderr == ""


_HANGS = """
import hashlib
from anneal_cli import stopping
from anneal_cli.console import errors_explained
stopping._LONGEST_UNWINDING = 0.1
with errors_explained():
    print("up", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # minutes, in which Python handles no signal
"""


def test_a_library_that_never_comes_back_does_not_keep_a_command() -> None:
    with started(_HANGS) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.5)  # by now it is in the library
        process.terminate()
        _, err = process.communicate(timeout=120)
    assert process.returncode == ExitCode.INTERRUPTED
    assert err.startswith("Interrupted. Run the same command again")
    assert len(err.splitlines()) == 1
