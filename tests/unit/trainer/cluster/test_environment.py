"""What the operator tells a pod is read strictly: a mistake is named, nothing is guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anneal_api.attempt import Part
from anneal_api.errors import AnnealError, ManifestInvalid
from anneal_trainer.cluster import environment as env
from anneal_trainer.cluster.environment import Assignment

UID = "6f3c2a10-0000-4000-8000-000000000001"
TOLD = {
    "ANNEAL_JOB_UID": UID,
    "ANNEAL_NAMESPACE": "team-a",
    "ANNEAL_GENERATION": "2",
    "ANNEAL_ATTEMPT": "3",
    "ANNEAL_REPORT_CONFIGMAP": "reviews-g2-a3",
}
DOCUMENT: dict[str, Any] = {
    "apiVersion": "anneal.dev/v1alpha1",
    "kind": "FineTuneJob",
    "metadata": {"name": "reviews", "namespace": "team-a", "uid": UID, "generation": 2},
    "spec": {
        "task": "text-classification",
        "model": {"source": "pkg://models/bert"},
        "data": {
            "train": {"uri": "pvc://datasets/train.csv"},
            "split": {"validation": 0.1, "test": 0.1},
        },
        "retention": {"versions": 2},
    },
}


@pytest.fixture
def told() -> Assignment:
    return env.read_assignment(Part.TRAIN, TOLD)


def job_file(folder: Path, **metadata: object) -> Path:
    path = folder / "job.json"
    path.write_text(json.dumps({**DOCUMENT, "metadata": {**DOCUMENT["metadata"], **metadata}}))
    return path


def test_an_assignment(told):
    assert told == Assignment(Part.TRAIN, "team-a", UID, 2, 3, "reviews-g2-a3")


@pytest.mark.parametrize("name", TOLD)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_variable_that_is_missing_is_named(name, value):
    environment = {**TOLD, name: value} if value is not None else {k: v for k, v in TOLD.items() if k != name}
    with pytest.raises(AnnealError, match=name):
        env.read_assignment(Part.TRAIN, environment)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ANNEAL_ATTEMPT", "0"),
        ("ANNEAL_ATTEMPT", "-1"),
        ("ANNEAL_ATTEMPT", "first"),
        ("ANNEAL_GENERATION", "1.5"),
        ("ANNEAL_JOB_UID", "../../../etc"),
        ("ANNEAL_JOB_UID", "short"),
    ],
)
def test_a_malformed_variable_is_named(name, value):
    with pytest.raises(AnnealError) as caught:
        env.read_assignment(Part.TRAIN, {**TOLD, name: value})
    assert caught.value.where == name
    assert value in caught.value.what


def test_a_job(told, tmp_path):
    job = env.read_job(job_file(tmp_path), told)
    assert job.metadata.name == "reviews"
    assert job.spec.retention is not None


@pytest.mark.parametrize("other", [{"uid": "0" * 36}, {"generation": 1}, {"namespace": "team-b"}])
def test_the_manifest_of_another_object_is_refused(told, tmp_path, other):
    with pytest.raises(AnnealError, match="another object"):
        env.read_job(job_file(tmp_path, **other), told)


def test_a_manifest_that_this_version_cannot_do_says_what(told, tmp_path):
    path = tmp_path / "job.json"
    spec = {**DOCUMENT["spec"], "tuning": {"trials": 2, "space": {}}, "newField": 1}
    path.write_text(json.dumps({**DOCUMENT, "spec": spec}))
    with pytest.raises(ManifestInvalid) as caught:
        env.read_job(path, told)
    assert {"spec.newField", "spec.tuning"} <= {problem.where for problem in caught.value.problems}


@pytest.mark.parametrize("content", [None, "", "{", "[1, 2"])
def test_a_manifest_that_cannot_be_read_is_named(told, tmp_path, content):
    path = tmp_path / "job.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(AnnealError) as caught:
        env.read_job(path, told)
    assert caught.value.where == str(path)


def test_store_and_work(tmp_path, monkeypatch):
    monkeypatch.setenv("ANNEAL_PVC_ROOT", str(tmp_path))
    (tmp_path / "models").mkdir()
    folders = env.read_folders(
        {"ANNEAL_STORE": "pvc://models/anneal", "ANNEAL_WORK": "/mnt/pvc/models/.work"}
    )
    assert folders.store == tmp_path / "models" / "anneal"
    assert folders.work == Path("/mnt/pvc/models/.work")


def test_a_store_in_a_bucket_has_a_copy_in_the_pod():
    folders = env.read_folders({"ANNEAL_STORE": "s3://bucket/anneal/", "ANNEAL_WORK": "/home/x/store/.work"})
    assert folders.store == Path("/home/x/store")
    assert folders.mirror is not None
    assert folders.mirror.place(folders.work / "a") == "s3://bucket/anneal/.work/a"


@pytest.mark.parametrize(
    ("store", "work", "where"),
    [
        ("pvc://elsewhere/anneal", "/work", "spec.store.uri"),
        ("gs://bucket/anneal", "/work", "spec.store.uri"),
        ("models", "/work", "ANNEAL_STORE"),
        ("/models", "work", "ANNEAL_WORK"),
        ("", "/work", "ANNEAL_STORE"),
    ],
)
def test_a_place_that_is_none_is_named(tmp_path, monkeypatch, store, work, where):
    monkeypatch.setenv("ANNEAL_PVC_ROOT", str(tmp_path))
    with pytest.raises(AnnealError) as caught:
        env.read_folders({"ANNEAL_STORE": store, "ANNEAL_WORK": work})
    assert caught.value.where == where


def test_the_versions_that_serve():
    assert env.read_serving_versions({}) == frozenset()
    assert env.read_serving_versions({"ANNEAL_SERVING_VERSION": "v3"}) == {3}
    assert env.read_serving_versions({"ANNEAL_SERVING_VERSION": "2, v3"}) == {2, 3}
    with pytest.raises(AnnealError, match="latest"):
        env.read_serving_versions({"ANNEAL_SERVING_VERSION": "latest"})


def test_a_cleanup_needs_to_know_no_more_than_who_the_job_is(tmp_path):
    path = tmp_path / "job.json"
    path.write_text(json.dumps({**DOCUMENT, "spec": {"task": "unheard-of"}}))
    by_file = env.read_metadata({**TOLD, "ANNEAL_JOB_FILE": str(path)})
    by_name = env.read_metadata({**TOLD, "ANNEAL_JOB_NAME": "reviews"})
    assert (by_file.name, by_file.namespace, by_file.uid) == ("reviews", "team-a", UID)
    assert (by_name.name, by_name.namespace, by_name.uid) == ("reviews", "team-a", UID)


@pytest.mark.parametrize("name", ["../other", "a/b", "..", ""])
def test_a_cleanup_of_something_that_is_no_job_is_refused(name):
    with pytest.raises(AnnealError):
        env.read_metadata({**TOLD, "ANNEAL_JOB_NAME": name})
