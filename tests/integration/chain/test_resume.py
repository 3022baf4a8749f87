"""A run that was killed or stopped goes on where it was, and ends with the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from chain_world import anneal, command, environment, read_json, stage_folder, versions

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

# A checkpoint every ten steps, whatever the clock says.
_LONG = {
    "epochs": 2,
    "batchSize": 4,
    "dropout": 0.1,
    "learningRate": 1e-3,
    "checkpoint": {"everyMinutes": 1e-4},
}


def _start(job: Path, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("run", job, "--no-serve"),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _wait_for_checkpoints(folder: Path, count: int, run: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 600
    run_folder = ".anneal/work/default/words-*/stages/train/*.partial/checkpoints/run"
    before = set(folder.glob(f"{run_folder}/checkpoint_*/state.json"))
    seen: set[Path] = set()
    while time.monotonic() < deadline:
        seen.update(set(folder.glob(f"{run_folder}/checkpoint_*/state.json")) - before)
        # Ray goes on from what it has on record, which is written a moment after the files.
        recorded = folder.glob(f"{run_folder}/checkpoint_manager_snapshot.json")
        if len(seen) >= count and any(_names_a_checkpoint(file) for file in recorded):
            return
        if run.poll() is not None:
            pytest.fail(f"the run ended by itself: {run.communicate()[0]}")
        time.sleep(0.05)
    pytest.fail("no checkpoint appeared")


def _names_a_checkpoint(snapshot: Path) -> bool:
    try:
        return json.loads(snapshot.read_bytes())["latest_checkpoint_result"] is not None
    except (OSError, ValueError):  # it is being written
        return False


def _weights(folder: Path) -> bytes:
    return (stage_folder(folder, "train") / "model" / "model.safetensors").read_bytes()


def test_killed_in_the_middle_of_an_epoch_it_ends_with_the_same_bits(job, tmp_path):
    path = job(training=_LONG, evaluation={"gates": []})
    run = _start(path, tmp_path)
    _wait_for_checkpoints(tmp_path, 3, run)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    assert versions(tmp_path) == []

    again = anneal("run", path, "--no-serve", folder=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    training = read_json(stage_folder(tmp_path, "train") / "training.json")
    resumed_from = training["resumedFrom"]
    assert resumed_from is not None
    assert resumed_from % 80 != 0, "it was killed at the end of an epoch, which proves less"
    assert training["steps"] == 160
    resumed = _weights(tmp_path)

    uninterrupted = anneal("run", path, "--no-serve", "--fresh", folder=tmp_path)
    assert uninterrupted.returncode == 0, uninterrupted.stdout + uninterrupted.stderr
    assert read_json(stage_folder(tmp_path, "train") / "training.json")["resumedFrom"] is None
    assert _weights(tmp_path) == resumed

    whole = stage_folder(tmp_path, "train")
    record = (whole / "training.json").read_bytes()  # says how long it took, too
    (whole / "stage.json").unlink()
    whole.rename(whole.with_name(f"{whole.name}.partial"))  # as a kill at the very end of training leaves it
    finished = anneal("run", path, "--no-serve", folder=tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert (stage_folder(tmp_path, "train") / "training.json").read_bytes() == record
    assert _weights(tmp_path) == resumed


def test_told_to_stop_it_ends_cleanly_and_the_next_run_goes_on(job, tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # somebody else's Ray
    model = {"source": os.path.relpath(tiny_encoder, tmp_path)}
    path = job(model=model, training=_LONG, evaluation={"gates": []}).relative_to(tmp_path)

    for number in (signal.SIGINT, signal.SIGTERM):
        run = _start(path, tmp_path)
        _wait_for_checkpoints(tmp_path, 2, run)
        if number is signal.SIGINT:
            run.send_signal(number)
        else:
            os.killpg(run.pid, number)  # Ray's processes get it too, as from a service manager
        output = run.communicate(timeout=300)[0]
        assert run.returncode == 130, output
        assert "Traceback" not in output
        last = output.splitlines()[-1]
        assert last.startswith("Interrupted."), output
        assert "goes on" in last

    again = anneal("run", path, "--no-serve", folder=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert read_json(stage_folder(tmp_path, "train") / "training.json")["resumedFrom"] is not None
    lines = [line.split() for line in again.stdout.splitlines() if line.strip()]
    before_training = lines[: [line[:2] for line in lines].index(["…", "prepare"])]
    assert [line[0] for line in before_training].count("warning") == 1
