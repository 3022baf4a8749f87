"""Two pods of a job never work at the same time."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anneal_api.errors import ResourceUnavailable
from anneal_trainer.cluster.work_folder import held
from anneal_trainer.stages import StageFolder

_HOLDER = (
    "import sys, time; from pathlib import Path; from anneal_trainer.stages import StageFolder\n"
    "with StageFolder(Path(sys.argv[1])).locked(): print('held', flush=True); time.sleep(float(sys.argv[2]))"
)


def holder(folder: Path, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_an_older_pod_that_ends_is_waited_for(tmp_path):
    with holder(tmp_path, 1.0), held(StageFolder(tmp_path), 60.0):
        pass


def test_one_that_was_killed_holds_nothing(tmp_path):
    with holder(tmp_path, 600.0) as other:
        other.kill()
        other.wait()
        started = time.monotonic()
        with held(StageFolder(tmp_path), 60.0):
            assert time.monotonic() - started < 10


def test_one_that_hangs_is_named_in_the_end(tmp_path):
    with holder(tmp_path, 600.0) as other:
        with (
            pytest.raises(ResourceUnavailable, match=f"process {other.pid} on ") as caught,
            held(StageFolder(tmp_path), 0.3),
        ):
            pass
        other.kill()
    assert "--work-dir" not in str(caught.value), "a pod has no command line"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_volume_without_locks_is_refused(tmp_path, monkeypatch, number):
    def refuse(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ResourceUnavailable, match="knows no locks"), held(StageFolder(tmp_path), 60.0):
        pass
