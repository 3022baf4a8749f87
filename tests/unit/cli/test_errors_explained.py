from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from anneal_api.errors import AnnealError, DataInvalid, ExitCode, ManifestInvalid, Problem
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
        _, err = process.communicate(timeout=30)
        os.close(writer)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in err
