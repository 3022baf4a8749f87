"""Data and base models in buckets of a real object store (MinIO)."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from chain_world import anneal, versions, write_rows
from cluster.binaries import built
from config_map_server import config_map_server
from object_store import ObjectStore
from parts_world import ClusterJob, loaded

from anneal_api.attempt import PartState
from anneal_api.errors import DataInvalid, ModelNotFound, ResourceUnavailable
from anneal_api.spec.data import Columns, DataSource
from anneal_api.spec.model import ModelSource
from anneal_trainer import base_model
from anneal_trainer.data.sources import read_rows

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200 if built("minio") else 3600)]

_UID = "6f3c2a10-0000-4000-8000-000000000002"
_SETTINGS = (
    "ACCESS_KEY_ID",
    "SECRET_ACCESS_KEY",
    "SESSION_TOKEN",
    "REGION",
    "DEFAULT_REGION",
    "ENDPOINT_URL",
)


@pytest.fixture(autouse=True)
def _settings(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _SETTINGS:
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)


def read(uri: str, **more: str) -> list[str]:
    source = DataSource.model_validate({"uri": uri, **more})
    return read_rows(source, Columns(), default_split="train", base_folder=Path("/elsewhere")).texts


def test_rows_are_read_from_a_file_and_from_a_folder(store):
    store.put("rows/one.csv", b"text,label\none,a\n")
    store.put("rows/more/b/two.jsonl", b'{"text": "two", "label": "a"}\n')
    store.put("rows/more/a/three.csv.gz", gzip.compress(b"text,label\nthree,a\n"))
    store.put("rows/more/notes.txt", b"nothing")
    store.put("rows/more/_SUCCESS.csv", b"")
    store.put("rows/more/.part/four.csv", b"text,label\nfour,a\n")
    store.put("rows/moreover.csv", b"text,label\nfive,a\n")
    assert read("s3://rows/one.csv") == ["one"]
    assert read("s3://rows/more") == read("S3://rows/more/") == ["three", "two"]
    assert read("s3://rows/more", format="csv") == ["three"]
    assert read("s3://rows") == ["three", "two", "five", "one"]


@pytest.mark.parametrize(
    "key", ["my rows #1+%20?.csv", "d\u00e9j\u00e0/\u65e5\u672c.csv", "a=1/b.csv", "no-ending"]
)
def test_a_key_is_taken_as_it_is_written(store, key):
    store.put(f"odd-keys/{key}", b"text,label\nhello,a\n")
    assert read(f"s3://odd-keys/{key}", format="csv") == ["hello"]


def test_a_large_file_comes_whole(store, tmp_path):
    write_rows(tmp_path / "large.csv", 250_000, seed=1)
    content = (tmp_path / "large.csv").read_bytes()
    assert len(content) > 16 * 2**20
    store.put("large/rows.csv", content)
    assert len(read("s3://large/rows.csv")) == 250_000


@pytest.mark.parametrize(
    ("uri", "what", "remedy"),
    [
        ("s3://nowhere/x.csv", "There is nothing at 's3://nowhere/x.csv'", "names of the bucket"),
        ("s3://known/y.csv", "There is nothing at 's3://known/y.csv'", "the key"),
        ("s3://known/notes", "has no csv, tsv", "Name a folder"),
        ("s3://known/notes/a.txt", "does not tell how it is written", "spec.data.train.format"),
    ],
)
def test_what_is_not_there_is_explained(store, uri, what, remedy):
    store.put("known/notes/a.txt", b"x")
    with pytest.raises(DataInvalid) as caught:
        read(uri)
    assert what in caught.value.what
    assert remedy in caught.value.remedy
    assert caught.value.where == "spec.data.train.uri"


def test_a_wrong_key_is_explained(store, monkeypatch):
    store.put("secret/x.csv", b"text,label\nhello,a\n")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(DataInvalid, match="may not be read with these credentials"):
        read("s3://secret/x.csv")
    with pytest.raises(ModelNotFound, match="may not be read with these credentials"):
        base_model.resolve(ModelSource(source="s3://secret/x"), base_folder=Path("/elsewhere"))


def test_a_store_that_is_away_is_no_fault_of_the_data(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ResourceUnavailable, match="cannot be reached"):
        read("s3://rows/one.csv")


def test_data_and_model_have_keys_of_their_own(store, monkeypatch):
    store.put("own/x.csv", b"text,label\nhello,a\n")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    for name, value in store.environment("ANNEAL_DATA_").items():
        monkeypatch.setenv(name, value)
    assert read("s3://own/x.csv") == ["hello"]
    with pytest.raises(ModelNotFound, match="may not be read"):
        base_model.resolve(ModelSource(source="s3://own"), base_folder=Path("/elsewhere"))


def test_a_model_is_brought_once_until_it_changes(store, tmp_path, tiny_encoder, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(tmp_path))
    store.put_folder(tiny_encoder, "models/tiny")
    store.put("models/tiny/pytorch_model.bin", b"never asked for")
    store.put("models/tiny/onnx/config.json", b"of something else")
    source = ModelSource(source="s3://models/tiny")
    first = base_model.resolve(source, base_folder=Path("/elsewhere"))
    local = base_model.resolve(ModelSource(source=str(tiny_encoder)), base_folder=Path("/elsewhere"))
    assert first.revision == local.revision
    assert {path.name for path in first.folder.iterdir()} <= {path.name for path in tiny_encoder.iterdir()}
    changed = (first.folder / "config.json").stat().st_mtime_ns
    again = base_model.resolve(source, base_folder=Path("/elsewhere"))
    assert again == first
    assert (again.folder / "config.json").stat().st_mtime_ns == changed
    store.put("models/tiny/config.json", (tiny_encoder / "config.json").read_bytes() + b"\n")
    other = base_model.resolve(source, base_folder=Path("/elsewhere"))
    assert other.folder != first.folder
    assert other.revision != first.revision
    assert not list(tmp_path.glob("buckets/.*"))


def test_a_place_without_a_model_is_explained(store):
    store.put("models/empty/notes.txt", b"x")
    with pytest.raises(ModelNotFound, match="There is no model at 's3://models/empty'") as caught:
        base_model.resolve(ModelSource(source="s3://models/empty"), base_folder=Path("/elsewhere"))
    assert caught.value.where == "spec.model.source"


def test_a_job_learns_from_buckets_what_it_learns_from_files(store, job, tmp_path, tiny_encoder):
    here = job()
    store.put_folder(tiny_encoder, "chain/encoder")
    names = ("train", "validation", "test")
    for name in names:
        store.put(f"chain/{name}.csv", (tmp_path / f"{name}.csv").read_bytes())
    first = anneal("run", here, folder=tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    moved = job(
        model={"source": "s3://chain/encoder"},
        data={name: {"uri": f"s3://chain/{name}.csv"} for name in names},
    )
    second = anneal("run", moved, folder=tmp_path)
    assert second.returncode == 0, second.stdout + second.stderr
    # The same rows and the same model, wherever they lie: nothing is trained again.
    reused = {line.split()[1] for line in second.stdout.splitlines() if " reused " in line}
    assert {"preflight", "prepare", "train", "compress"} <= reused
    assert len(versions(tmp_path)) >= 1


def test_a_pod_reads_both_with_the_keys_of_its_secrets(store, tmp_path, tiny_encoder, monkeypatch):
    for name in store.environment():
        monkeypatch.delenv(name)
    store.put_folder(tiny_encoder, "pods/encoder")
    names = ("train", "validation", "test")
    for seed, name in enumerate(names):
        write_rows(tmp_path / f"{name}.csv", 64, seed=seed)
        store.put(f"pods/{name}.csv", (tmp_path / f"{name}.csv").read_bytes())
    spec = {
        "task": "text-classification",
        "model": {"source": "s3://pods/encoder", "secretRef": {"name": "models"}},
        "store": {"uri": "pvc://models/anneal"},
        "data": {
            **{name: {"uri": f"s3://pods/{name}.csv"} for name in names},
            "secretRef": {"name": "data"},
        },
        "training": {"maxLength": 48},
    }
    (tmp_path / "pvc" / "models").mkdir(parents=True)
    keys = store.environment("ANNEAL_DATA_") | store.environment("ANNEAL_MODEL_")
    with config_map_server(tmp_path / "credentials", _UID) as server:
        job = ClusterJob(tmp_path / "pvc", server, "", _UID, spec, extra=keys)
        code, output = job.run("prepare")
        assert code == 0, output
        assert "ray" not in loaded(output), "preparing needs no Ray"
        assert job.report("prepare").state is PartState.SUCCEEDED
        # The model lies where the other pods of the job see it.
        assert list((tmp_path / "pvc/models/anneal/.work/hub/buckets").glob("*/config.json"))
        job.extra = keys | {"ANNEAL_DATA_AWS_SECRET_ACCESS_KEY": "wrong"}
        job.edit(training={"maxLength": 32})
        code, output = job.run("prepare")
        assert code == 4, output
        failure = job.report("prepare").failure
    assert failure is not None
    assert "may not be read" in failure.message
    assert "in the Secret of spec.data.secretRef" in failure.message + failure.hint
