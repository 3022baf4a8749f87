"""`configmap://NAME/FILE` is a key of a ConfigMap, as the kubelet mounts it: links into a folder of this version."""

from __future__ import annotations

from pathlib import Path

import pytest

from anneal_api.errors import DataInvalid
from anneal_api.spec.data import Columns, DataSource
from anneal_api.uris import LocationError
from anneal_trainer.data.locations import local_path
from anneal_trainer.data.sources import read_rows


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the one ConfigMap that is mounted."""
    folder = tmp_path / "reviews"
    _write(folder, "..2026_01_02_03_04_05.1", "hello")
    (folder / "train.csv").symlink_to("..data/train.csv")
    monkeypatch.setenv("ANNEAL_CONFIGMAP_ROOT", str(tmp_path))
    return folder


def _write(folder: Path, version: str, text: str) -> None:
    (folder / version).mkdir(parents=True)
    (folder / version / "train.csv").write_text(f"text,label\n{text},a\n")
    fresh = folder / "..data_tmp"
    fresh.symlink_to(version)
    fresh.replace(folder / "..data")


def read(uri: str) -> list[str]:
    source = DataSource.model_validate({"uri": uri})
    return read_rows(source, Columns(), default_split="train", base_folder=Path("/elsewhere")).texts


def test_rows_are_read_from_the_version_that_is_mounted(mounted):
    assert read("configmap://reviews/train.csv") == ["hello"]
    _write(mounted, "..2026_01_02_03_04_06.2", "bye")
    assert read("ConfigMap://reviews/train.csv") == ["bye"]


def test_without_a_setting_they_are_where_the_operator_mounts_them(monkeypatch):
    monkeypatch.delenv("ANNEAL_CONFIGMAP_ROOT", raising=False)
    with pytest.raises(LocationError, match="/mnt/configmap/nowhere"):
        local_path("configmap://nowhere/x.csv", base_folder=Path("/elsewhere"))


@pytest.mark.usefixtures("mounted")
@pytest.mark.parametrize(
    ("uri", "what", "remedy"),
    [
        ("configmap://other/train.csv", "'other' is not mounted", "on a cluster"),
        ("configmap://reviews", "names no file", "configmap://NAME/FILE"),
        ("configmap://reviews/..data/train.csv", "names no file", "no folders"),
        ("configmap://reviews/..data", "names no file", "configmap://NAME/FILE"),
        ("configmap://reviews/trian.csv", "There is no file", "Did you mean 'train.csv'?"),
        ("configmap://reviews/zzz.json", "There is no file", "has 'train.csv'."),
    ],
)
def test_what_is_not_there_is_explained(uri, what, remedy):
    with pytest.raises(DataInvalid) as caught:
        read(uri)
    assert what in caught.value.what
    assert remedy in caught.value.remedy
    assert caught.value.where == "spec.data.train.uri"


def test_an_empty_config_map_is_explained(mounted):
    (mounted / "train.csv").unlink()
    with pytest.raises(DataInvalid) as caught:
        read("configmap://reviews/train.csv")
    assert caught.value.remedy == "The files of a ConfigMap are its keys."
