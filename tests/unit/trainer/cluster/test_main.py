"""The command of a pod: whatever happens, the operator is told, and the process returns what the command line would."""

from __future__ import annotations

import fcntl
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from config_map_server import ConfigMapServer
from parts_world import ClusterJob
from report_contract import OWNER

from anneal_api.attempt import PartState
from anneal_api.errors import Reason


@pytest.fixture
def job(tmp_path: Path, server: ConfigMapServer) -> ClusterJob:
    (tmp_path / "pvc" / "models").mkdir(parents=True)
    (tmp_path / "pvc" / "datasets").mkdir()
    spec = {
        "task": "text-classification",
        "model": {"source": "pvc://models/tiny"},
        "data": {"train": {"uri": "pvc://datasets/train.csv"}, "split": {"validation": 0.1, "test": 0.1}},
    }
    return ClusterJob(tmp_path / "pvc", server, "127.0.0.1:1", OWNER, spec)


@pytest.fixture
def older_pod(job: ClusterJob) -> Iterator[None]:
    """Another pod of the job is at work."""
    job.work.mkdir(parents=True)
    with (job.work / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.usefixtures("older_pod")
@pytest.mark.parametrize("part", ["prepare", "finish"])
def test_a_pod_that_is_told_to_stop_says_so_at_once(job, part):
    process = job.start(part)
    deadline = time.monotonic() + 60
    while not job.server.reports or "Running" not in job.server.reports[-1]["state"]:
        assert time.monotonic() < deadline, "it never reported"
        time.sleep(0.05)
    time.sleep(3)  # it waits for the older pod
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 130, output
    report = job.report(part)
    assert report.state is PartState.FAILED
    assert report.failure is not None
    assert report.failure.reason is Reason.INTERRUPTED
    assert "Traceback" not in output


def test_a_model_that_is_not_there_is_reported(job):
    code, output = job.run("prepare")
    assert code == 5, output
    report = job.report("prepare")
    assert report.failure is not None
    assert report.failure.reason is Reason.MODEL_NOT_FOUND
    assert report.failure.where == "spec.model.source"
    assert "claim 'models'" in report.failure.hint
    assert "Traceback" not in output


def test_a_manifest_of_a_newer_version_is_reported(job):
    job.spec["somethingNew"] = {}
    code, output = job.run("prepare")
    assert code == 3, output
    report = job.report("prepare")
    assert report.failure is not None
    assert report.failure.reason is Reason.MANIFEST_INVALID
    assert "spec.somethingNew" in report.failure.message


def test_a_store_that_is_not_mounted_is_reported(job):
    job.extra = {"ANNEAL_STORE": "pvc://elsewhere/anneal"}
    code, output = job.run("finish")
    assert code == 3, output
    report = job.report("finish")
    assert report.failure is not None
    assert report.failure.where == "spec.store.uri"
    assert "elsewhere" in report.failure.message


def test_a_volume_that_may_not_be_written_to_is_reported(job):
    job.extra = {"ANNEAL_WORK": "/sys/anneal"}
    code, output = job.run("prepare")
    assert code == 9, output
    report = job.report("prepare")
    assert report.state is PartState.FAILED
    assert report.failure is not None
    assert "/sys/anneal" in report.failure.message


def test_a_cleanup_needs_neither_manifest_nor_report(job):
    (job.store / "v1").mkdir(parents=True)
    job.work.mkdir(parents=True)
    job.spec = {}
    code, output = job.run("cleanup")
    assert code == 0, output
    assert not job.store.exists()
    assert not job.work.exists()
    assert job.server.requests == []
    assert job.run("cleanup")[0] == 0
