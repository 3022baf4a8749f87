"""A model store in a bucket of a real object store (MinIO): what pods that share no disk share."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.binaries import built
from config_map_server import config_map_server
from object_store import ObjectStore
from parts_world import ClusterJob, running_ray, write_claims

from anneal_api.attempt import PartState
from anneal_api.errors import ArtifactInvalid, Reason, ResourceUnavailable
from anneal_api.job import Metadata
from anneal_serving.artifact import Artifact
from anneal_serving.buckets import Purpose
from anneal_serving.version_place import version_at
from anneal_trainer.publish.retention import retain
from anneal_trainer.publish.store import JobStore
from anneal_trainer.remote.lease import Patience, StillHeld, lease
from anneal_trainer.remote.mirror import Mirror
from anneal_trainer.remote.writable_bucket import WritableBucket
from anneal_trainer.stages import Stage, StageFolder

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200 if built("minio") else 3600)]

_UID = "6f3c2a10-0000-4000-8000-000000000003"
_QUICK = Patience(renew_seconds=0.2, silent_seconds=1.0, look_seconds=0.05)


@pytest.fixture
def place(store: ObjectStore, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A place of the test's own, opened by a Secret's variables."""
    for name in store.environment():
        monkeypatch.delenv(name, raising=False)
    for name, value in store.environment("ANNEAL_STORE_").items():
        monkeypatch.setenv(name, value)
    bucket = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]
    store.put(f"{bucket}/elsewhere.txt", b"")
    return f"s3://{bucket}/a/store"


def bucket_at(place: str) -> WritableBucket:
    return WritableBucket(place, Purpose.STORE)


# What keeps two writers apart.


def test_a_file_is_created_once_and_replaced_by_who_knows_it(place):
    bucket = bucket_at(place)
    first = bucket.create("x/lock", b"one")
    assert first is not None
    assert bucket.create("x/lock", b"two") is None
    second = bucket.replace("x/lock", b"three", first)
    assert second is not None
    assert bucket.replace("x/lock", b"four", first) is None
    found = bucket.read("x/lock")
    assert found is not None
    assert (found.content, found.etag) == (b"three", second)
    assert bucket.read("x/other") is None
    assert bucket.replace("x/other", b"five", second) is None
    bucket.remove(["x/lock", "x/other"])
    assert bucket.read("x/lock") is None


def test_a_lease_has_one_holder_until_it_lets_go(place):
    def lost() -> None:
        raise AssertionError("nobody takes it away")

    def ask(seconds: float):
        return lease(bucket_at(place), "lock", wait_seconds=seconds, lost=lost, patience=_QUICK)

    with ask(0.0):
        time.sleep(1.5)  # longer than a holder may be silent: it is not
        with pytest.raises(StillHeld, match=f"process {os.getpid()} on "), ask(0.3):
            pass
    with ask(0.0):
        pass


_HOLD = """
import sys, time
from anneal_serving.buckets import Purpose
from anneal_trainer.remote.lease import Patience, lease
from anneal_trainer.remote.writable_bucket import WritableBucket
quick = Patience(0.2, 1.0, 0.05)
bucket = WritableBucket(sys.argv[1], Purpose.STORE)
with lease(bucket, "lock", wait_seconds=30.0, lost=lambda: print("lost", flush=True), patience=quick):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(place: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_lease_of_a_killed_process_is_taken_over(place):
    process = holder(place)
    process.kill()
    process.communicate()
    started = time.monotonic()
    with lease(bucket_at(place), "lock", wait_seconds=30.0, lost=lambda: None, patience=_QUICK):
        assert time.monotonic() - started > 0.5 * _QUICK.silent_seconds


def test_who_was_frozen_hears_that_another_took_over(place):
    process = holder(place)
    process.send_signal(signal.SIGSTOP)
    with lease(bucket_at(place), "lock", wait_seconds=30.0, lost=lambda: None, patience=_QUICK):
        process.send_signal(signal.SIGCONT)
        assert process.stdout is not None
        assert process.stdout.readline() == "lost\n"
        process.communicate("")
        # Its end does not let go what is not its own any more.
        with (
            pytest.raises(StillHeld),
            lease(bucket_at(place), "lock", wait_seconds=0.0, lost=lambda: None, patience=_QUICK),
        ):
            pass


def test_of_many_who_want_it_one_has_it_at_a_time(place, tmp_path):
    log = tmp_path / "log"
    hold = _HOLD.replace("sys.stdin.read()", f"open({str(log)!r}, 'a').write('in\\n'); time.sleep(0.3); "
                         f"open({str(log)!r}, 'a').write('out\\n')")  # fmt: skip
    processes = [
        subprocess.Popen([sys.executable, "-c", hold, place], stdout=subprocess.DEVNULL) for _ in range(4)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0] * 4
    assert log.read_text().split() == ["in", "out"] * 4


# What goes to the bucket and comes from it.


def test_a_stage_of_one_machine_is_reused_on_another(place, tmp_path):
    def on(machine: str) -> StageFolder:
        root = tmp_path / machine
        return StageFolder(root / ".work" / "job", pickle.loads(pickle.dumps(Mirror(root, place))))

    def build(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / "result.txt").write_text("here")

    def fail(_folder: Path) -> None:
        raise AssertionError("must not run")

    stage = Stage("train", 1, {"data": "abc"})
    made = on("one").complete(stage, build)
    found = on("two").complete(stage, fail)
    assert found.reused
    assert found.digest == made.digest
    assert (found.folder / "deep" / "result.txt").read_text() == "here"
    on("two").forget(found)
    assert on("three").find(stage) is None
    # The last three of a stage are kept, in the bucket too.
    for number in range(5):
        on(f"n{number}").complete(Stage("train", 1, {"data": number}), build)
        time.sleep(0.02)
    kept = [on("four").find(Stage("train", 1, {"data": number})) is not None for number in range(5)]
    assert kept == [False, False, True, True, True]


def test_a_folder_that_was_not_written_whole_is_not_there(place, tmp_path):
    (tmp_path / "one" / "folder").mkdir(parents=True)
    (tmp_path / "one" / "folder" / "part.txt").write_text("x")
    one, two = Mirror(tmp_path / "one", place), Mirror(tmp_path / "two", place)
    one.keep_file(tmp_path / "one" / "folder" / "part.txt")
    assert not two.bring(tmp_path / "two" / "folder", "whole.json")
    assert not (tmp_path / "two" / "folder").exists()
    (tmp_path / "one" / "folder" / "whole.json").write_text("{}")
    one.keep(tmp_path / "one" / "folder", "whole.json")
    assert two.bring(tmp_path / "two" / "folder", "whole.json")


def versions_of(machine: Path, place: str) -> JobStore:
    metadata = Metadata.model_validate({"name": "reviews", "uid": "6f3c2a10"})
    return JobStore.of(machine, metadata, Mirror(machine, place))


def fill(folder: Path, version: int) -> None:
    (folder / "model.onnx").write_text(f"model {version}")
    (folder / "manifest.json").write_text("{}")


def test_versions_of_several_machines_are_counted_together(place, tmp_path):
    for number in range(1, 5):
        assert versions_of(tmp_path / f"m{number}", place).publish(fill)[0] == number
    here = versions_of(tmp_path / "here", place)
    assert here.versions() == [1, 2, 3, 4]
    assert (here.brought(3) / "model.onnx").read_text() == "model 3"
    # A version that a killed pod left half-written does not count, and its number is not given again.
    half = tmp_path / "half"
    (half / "v5").mkdir(parents=True)
    (half / "v5" / "model.onnx").write_text("half")
    bucket_at(here.place).write([("v5/model.onnx", half / "v5" / "model.onnx")])
    assert here.versions() == [1, 2, 3, 4]
    assert versions_of(tmp_path / "m6", place).publish(fill)[0] == 6
    assert retain(here, keep=2, protected=[1]) == [2, 3]
    assert here.versions() == [1, 4, 6]
    assert {file.name.split("/")[0] for file in bucket_at(here.place).files()} == {"v1", "v4", "v6"}


def test_two_machines_that_publish_at_once_get_two_numbers(place, tmp_path):
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[3]);"
        "from test_store_in_a_bucket import fill, versions_of;"
        "print(versions_of(Path(sys.argv[1]), sys.argv[2]).publish(fill)[0])"
    )
    here = str(Path(__file__).parent)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / f"m{number}"), place, here],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        for number in range(3)
    ]
    assert sorted(process.communicate(timeout=120)[0].strip() for process in processes) == ["1", "2", "3"]
    assert versions_of(tmp_path / "here", place).versions() == [1, 2, 3]


def test_a_store_that_may_not_be_used_is_explained(place, tmp_path, monkeypatch):
    monkeypatch.setenv("ANNEAL_STORE_AWS_SECRET_ACCESS_KEY", "wrong")
    mirror = Mirror(tmp_path, place)
    with pytest.raises(ResourceUnavailable, match="may not be used with these credentials") as caught:
        mirror.bring(tmp_path / "x", "whole")
    assert caught.value.where == "spec.store"
    assert "in the Secret of spec.store.secretRef" in caught.value.remedy
    with pytest.raises(ArtifactInvalid, match="may not be read"), version_at(f"{place}/v1"):
        pass


# A job whose pods share nothing but the bucket.


@pytest.fixture
def job(place: str, tmp_path: Path, tiny_encoder: Path) -> Iterator[ClusterJob]:
    root = tmp_path / "pvc"
    write_claims(root, tiny_encoder)
    spec = {
        "task": "text-classification",
        "model": {"source": "pvc://models/tiny"},
        "store": {"uri": place, "secretRef": {"name": "store"}},
        "data": {name: {"uri": f"pvc://datasets/{name}.csv"} for name in ("train", "validation", "test")},
        "training": {"epochs": 4, "batchSize": 4, "learningRate": 1e-3, "dropout": 0.0, "maxLength": 48},
        "evaluation": {"metrics": ["accuracy"], "gates": [{"metric": "accuracy", "min": 0.8}]},
        "compression": {"variants": [{"name": "int8", "quantize": {}}], "maxDrop": 0.05},
    }
    with running_ray() as address, config_map_server(tmp_path / "credentials", _UID) as server:
        yield ClusterJob(
            root,
            server,
            address,
            _UID,
            spec,
            extra={"ANNEAL_STORE": place, "ANNEAL_WORK": str(tmp_path / "home" / "store" / ".work")},
        )


def run(job: ClusterJob, part: str, tmp_path: Path, *, attempt: int = 1) -> None:
    """Runs a part in a pod whose disk is empty."""
    shutil.rmtree(tmp_path / "home", ignore_errors=True)
    code, output = job.run(part, attempt=attempt)
    assert code == 0, output


def test_parts_that_share_no_disk_make_one_version(job, place, tmp_path):
    bucket = bucket_at(place)
    run(job, "prepare", tmp_path)

    # The pod with the driver is lost in mid-training: the next one finds the checkpoint.
    shutil.rmtree(tmp_path / "home")
    job.edit(training={"checkpoint": {"everyMinutes": 1e-4}})
    run(job, "prepare", tmp_path)
    killed = job.start("train", attempt=1)
    deadline = time.monotonic() + 600
    seen: set[str] = set()
    while len(seen) < 3:  # Ray knows of a checkpoint a moment after it is there
        assert killed.poll() is None, killed.communicate()[0]
        assert time.monotonic() < deadline, "no checkpoint appeared"
        seen |= {file.name for file in bucket.files() if file.name.endswith("/state.json")}
        time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    run(job, "train", tmp_path, attempt=2)
    report = job.report("train")
    assert report.state is PartState.SUCCEEDED
    assert report.resumed_from is not None
    assert not any("/checkpoints/" in file.name for file in bucket.files()), "they are not needed any more"

    run(job, "finish", tmp_path)
    published = job.report("finish").published
    assert published is not None
    assert published.version == 1
    assert published.path == "default/words-6f3c2a10/v1"
    with version_at(f"{place}/{published.path}") as folder:
        artifact = Artifact.open(folder, digest=published.digest)
        with artifact.predictor() as predictor:
            row = json.loads((folder / "parity.jsonl").read_text().splitlines()[0])
            assert predictor.predict([row["text"]])[0].label == row["label"]

    # Another attempt makes nothing twice.
    run(job, "finish", tmp_path, attempt=2)
    assert job.report("finish").published == published

    run(job, "cleanup", tmp_path)
    assert bucket.files() == []


def test_a_wrong_secret_ends_the_first_part_at_once(job):
    job.extra["ANNEAL_STORE_AWS_SECRET_ACCESS_KEY"] = "wrong"
    code, output = job.run("prepare")
    assert code != 0
    failure = job.report("prepare").failure
    assert failure is not None
    assert failure.reason is Reason.RESOURCE_UNAVAILABLE
    assert "may not be used with these credentials" in failure.message
    assert "in the Secret of spec.store.secretRef" in failure.hint
    assert "Traceback" not in output
