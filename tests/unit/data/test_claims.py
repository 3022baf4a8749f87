"""`pvc://CLAIM/PATH` is what a pod sees below its mounts; what is not there is explained."""

from __future__ import annotations

from pathlib import Path

import pytest

from anneal_api.errors import DataInvalid, ModelNotFound
from anneal_api.spec.data import Columns, DataSource
from anneal_api.spec.model import ModelSource
from anneal_api.uris import LocationError
from anneal_trainer import base_model
from anneal_trainer.data.locations import local_path
from anneal_trainer.data.sources import read_rows


@pytest.fixture
def claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that claims are mounted in; one is, named `datasets`."""
    (tmp_path / "datasets" / "reviews").mkdir(parents=True)
    (tmp_path / "datasets" / "reviews" / "train.csv").write_text("text,label\nhello,a\n")
    monkeypatch.setenv("ANNEAL_PVC_ROOT", str(tmp_path))
    return tmp_path


def path_of(uri: str) -> Path:
    return local_path(uri, base_folder=Path("/elsewhere"))


def read(uri: str) -> list[str]:
    source = DataSource.model_validate({"uri": uri})
    return read_rows(source, Columns(), default_split="train", base_folder=Path("/elsewhere")).texts


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("pvc://datasets/reviews/train.csv", "datasets/reviews/train.csv"),
        ("PVC://datasets/reviews", "datasets/reviews"),
        ("pvc://datasets", "datasets"),
        ("pvc://datasets/", "datasets"),
        ("pvc://datasets//reviews/", "datasets/reviews"),
        ("pvc://datasets/my%20rows#1.csv", "datasets/my%20rows#1.csv"),
    ],
)
def test_where_a_place_lies(claims, uri, path):
    assert path_of(uri) == claims / path


def test_without_a_setting_claims_are_where_the_operator_mounts_them(monkeypatch):
    monkeypatch.delenv("ANNEAL_PVC_ROOT", raising=False)
    with pytest.raises(LocationError, match="/mnt/pvc/nowhere"):
        path_of("pvc://nowhere/x")


@pytest.mark.usefixtures("claims")
def test_rows_are_read_from_a_claim():
    assert read("pvc://datasets/reviews/train.csv") == ["hello"]
    assert read("pvc://datasets/reviews") == ["hello"]


@pytest.mark.parametrize(
    ("uri", "what", "remedy"),
    [
        ("pvc://other/train.csv", "'other' is not mounted", "on a cluster"),
        ("pvc:///train.csv", "does not name a PersistentVolumeClaim", "pvc://CLAIM/PATH"),
        ("pvc://Other/train.csv", "does not name a PersistentVolumeClaim", "lower-case"),
        ("pvc://../etc", "does not name a PersistentVolumeClaim", "pvc://CLAIM/PATH"),
        ("pvc://datasets/../other/x.csv", "leads out of its claim", "'..'"),
        ("pvc://datasets/reviews/trian.csv", "There is no file", "Did you mean 'train.csv'?"),
        ("pvc://datasets/nothing/x.csv", "There is no file", "starts at the root of the claim 'datasets'"),
        ("pvc://datasets", "no csv, tsv", "Name a folder"),
    ],
)
def test_what_is_not_there_is_explained(claims, uri, what, remedy):
    if uri == "pvc://datasets":
        (claims / "datasets" / "reviews" / "train.csv").unlink()
    with pytest.raises(DataInvalid) as caught:
        read(uri)
    assert what in caught.value.what
    assert remedy in caught.value.remedy
    assert caught.value.where == "spec.data.train.uri"


@pytest.mark.usefixtures("claims")
def test_a_model_that_is_not_there_is_explained():
    with pytest.raises(ModelNotFound, match="root of the claim 'datasets'"):
        base_model.resolve(ModelSource(source="pvc://datasets/bert"), base_folder=Path("/elsewhere"))
    with pytest.raises(ModelNotFound, match="not mounted"):
        base_model.resolve(ModelSource(source="pvc://models/bert"), base_folder=Path("/elsewhere"))
