"""The parts of a job as its pods run them: each in a process of its own, on a Ray that runs already."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain_world import read_json, write_rows
from config_map_server import config_map_server
from parts_world import ClusterJob, loaded, running_ray, write_claims

from anneal_api.attempt import PartState
from anneal_api.errors import Reason
from anneal_serving.artifact import Artifact

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        os.environ.get("ANNEAL_NIGHTLY") != "1",
        reason="many trainings on Ray clusters of their own: make nightly",
    ),
]

UID = "6f3c2a10-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    with running_ray() as address:
        yield address


@pytest.fixture
def job(tmp_path: Path, tiny_encoder: Path, ray_address: str) -> Iterator[ClusterJob]:
    root = tmp_path / "pvc"
    write_claims(root, tiny_encoder)
    spec = {
        "task": "text-classification",
        "model": {"source": "pvc://models/tiny"},
        "store": {"uri": "pvc://models/anneal"},
        "data": {name: {"uri": f"pvc://datasets/{name}.csv"} for name in ("train", "validation", "test")},
        "training": {
            "epochs": 4,
            "batchSize": 4,
            "learningRate": 1e-3,
            "dropout": 0.0,
            "maxLength": 48,
        },
        "evaluation": {"metrics": ["accuracy"], "gates": [{"metric": "accuracy", "min": 0.8}]},
        "compression": {"variants": [{"name": "int8", "quantize": {}}], "maxDrop": 0.05},
    }
    with config_map_server(tmp_path / "credentials", UID) as server:
        yield ClusterJob(root, server, ray_address, UID, spec)


def test_three_processes_make_one_version(job):
    code, output = job.run("prepare")
    assert code == 0, output
    assert "ray" not in loaded(output), "preparing needs no Ray"
    report = job.report("prepare")
    assert report.state is PartState.SUCCEEDED
    assert [stage.name for stage in report.stages] == ["preflight", "prepare"]

    # Nothing can be finished that was not trained, and nothing is trained behind the operator's back.
    code, output = job.run("finish")
    assert code == 1, output
    report = job.report("finish")
    assert report.state is PartState.FAILED
    assert report.failure is not None
    assert report.failure.reason is Reason.INTERNAL
    assert "not in the work folder" in report.failure.message
    assert not job.store.exists()

    # The rows are replaced while the job is under way: it goes on with those that it has looked at.
    write_rows(job.root / "datasets" / "train.csv", 32, seed=9)
    code, output = job.run("train")
    assert code == 0, output
    report = job.report("train")
    assert report.state is PartState.SUCCEEDED
    assert report.progress is not None
    assert (report.progress.step, report.progress.total_steps) == (320, 320)
    assert report.resumed_from is None
    assert [stage.name for stage in report.stages] == ["train"]

    code, output = job.run("finish")
    assert code == 0, output
    assert "ray" not in loaded(output), "finishing needs no Ray"
    report = job.report("finish")
    assert [stage.name for stage in report.stages] == ["evaluate", "compress", "gate", "publish"]
    published = report.published
    assert published is not None
    assert published.version == 1
    assert published.path == "default/words-6f3c2a10/v1"
    version = job.root / "models" / "anneal" / published.path
    assert published.digest == hashlib.sha256((version / "manifest.json").read_bytes()).hexdigest()
    assert Artifact.open(version).manifest.metrics["accuracy"] == pytest.approx(published.metrics["accuracy"])
    assert published.gate.passed
    assert {variant.name for variant in published.variants} == {"fp32", "int8"}
    stages = read_json(version / "run.json")["stages"]
    assert [stage["reused"] for stage in stages[:6]] == [False] * 6, "all of it was made in this attempt"

    # A second attempt publishes nothing twice.
    code, output = job.run("finish", attempt=2)
    assert code == 0, output
    again = job.report("finish")
    assert again.published == published
    assert all(stage.reused for stage in again.stages)
    assert _versions(job) == ["v1"]


def _run_all(job: ClusterJob) -> None:
    for part in ("prepare", "train", "finish"):
        code, output = job.run(part)
        assert code == 0, output


def _versions(job: ClusterJob) -> list[str]:
    return [path.name for path in sorted(job.store.glob("v*"))]


def test_edits_make_versions_of_which_as_many_are_kept_as_asked_for(job):
    _run_all(job)
    assert _versions(job) == ["v1"]

    # A bar that nothing clears is no failure of the part, and nothing is trained again for it.
    job.edit(evaluation={"gates": [{"metric": "accuracy", "min": 1.01}]})
    _run_all(job)
    assert job.report("train").stages[0].reused
    report = job.report("finish")
    assert report.state is PartState.SUCCEEDED
    assert report.published is not None
    assert report.published.version is None
    assert not report.published.gate.passed
    assert _versions(job) == ["v1"]

    job.edit(training={"epochs": 1}, evaluation={"gates": []}, retention={"versions": 1})
    job.extra = {"ANNEAL_SERVING_VERSION": "v1"}
    _run_all(job)
    assert _versions(job) == ["v1", "v2"], "the first one serves"
    job.edit(training={"seed": 43})
    job.extra = {}
    _run_all(job)
    assert _versions(job) == ["v2", "v3"], "the third was compared with the second"

    code, output = job.run("cleanup")
    assert code == 0, output
    assert not job.store.exists()
    assert not job.work.exists()
    assert (job.root / "models" / "tiny" / "config.json").is_file()


_LONG = {
    "epochs": 2,
    "dropout": 0.1,
    "checkpoint": {"everyMinutes": 1e-4},  # every ten steps, whatever the clock says
}


def _wait_for_checkpoints(job: ClusterJob, process: subprocess.Popen[str], after: set[Path]) -> set[Path]:
    pattern = "stages/train/*.partial/checkpoints/run/checkpoint_*/state.json"
    deadline = time.monotonic() + 600
    seen: set[Path] = set()
    while len(seen) < 3:
        assert time.monotonic() < deadline, "no checkpoint appeared"
        assert process.poll() is None, process.communicate()[0]
        seen |= set(job.work.glob(pattern)) - after
        time.sleep(0.05)
    return seen | after


def _weights(job: ClusterJob) -> bytes:
    (path,) = job.work.glob("stages/train/*/model/model.safetensors")
    return path.read_bytes()


def test_a_killed_and_an_evicted_training_go_on_and_end_with_the_same_bits(job):
    job.edit(training=_LONG, evaluation={"gates": []})
    code, output = job.run("prepare")
    assert code == 0, output

    killed = job.start("train", attempt=1)
    seen = _wait_for_checkpoints(job, killed, set())
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert job.report("train").state is PartState.RUNNING, "it had no time to say anything"

    evicted = job.start("train", attempt=2)
    _wait_for_checkpoints(job, evicted, seen)
    evicted.send_signal(signal.SIGTERM)
    output = evicted.communicate(timeout=120)[0]
    assert evicted.returncode == 130, output
    report = job.report("train")
    assert (report.state, report.attempt) == (PartState.FAILED, 2)
    assert report.failure is not None
    assert report.failure.reason is Reason.INTERRUPTED
    assert report.resumed_from is not None
    first_resume = report.resumed_from

    code, output = job.run("train", attempt=3)
    assert code == 0, output
    report = job.report("train")
    assert (report.state, report.attempt) == (PartState.SUCCEEDED, 3)
    assert report.resumed_from is not None
    assert report.resumed_from > first_resume
    assert report.resumed_from % 80 != 0, "it was stopped at the end of an epoch, which proves less"
    assert report.progress is not None
    assert report.progress.step == 160
    resumed = _weights(job)

    shutil.rmtree(job.work)
    for part in ("prepare", "train"):
        code, output = job.run(part)
        assert code == 0, output
    assert job.report("train").resumed_from is None
    assert _weights(job) == resumed


def test_bad_rows_are_refused_with_their_place(job):
    with (job.root / "datasets" / "test.csv").open("a", encoding="utf-8") as file:
        file.write("a text,neutral\n")
    code, output = job.run("prepare")
    assert code == 4, output
    report = job.report("prepare")
    assert report.state is PartState.FAILED
    assert report.failure is not None
    assert report.failure.reason is Reason.DATA_INVALID
    assert "test.csv" in report.failure.message
    assert "row 97" in report.failure.message
    assert "Traceback" not in output
