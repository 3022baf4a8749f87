"""However the places of a run are named, they are absolute and mean the same everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from anneal_api.errors import ExitCode, ManifestInvalid, ResourceUnavailable
from anneal_api.job import FineTuneJob
from anneal_cli.app import app
from anneal_cli.manifest_file import load_job
from anneal_cli.run_places import RunPlaces


@pytest.fixture
def job(write, good) -> FineTuneJob:
    return load_job(write(good))


def stored_at(write, good, uri: str) -> FineTuneJob:
    return load_job(write(good + f'  store: {{uri: "{uri}"}}\n'))


def places(job, file="job.yaml", work_dir=".anneal", store=None) -> RunPlaces:
    return RunPlaces.of(job, Path(file), work_dir=Path(work_dir), store=Path(store) if store else None)


@pytest.mark.parametrize("file", ["job.yaml", "./job.yaml", "jobs/job.yaml", "../job.yaml", "link.yaml"])
def test_the_manifest_may_be_named_in_any_way(job, tmp_path, monkeypatch, file):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.yaml").symlink_to(tmp_path / "elsewhere" / "job.yaml")
    for named in (Path(file), tmp_path / file):
        found = places(job, named)
        assert found.base_folder == (tmp_path / file).parent
        assert found.base_folder.is_absolute()


def test_work_folder_and_store_start_from_the_current_folder(job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = places(job, "jobs/job.yaml")
    assert (found.work, found.store) == (tmp_path / ".anneal/work", tmp_path / ".anneal/store")
    assert found.store_setting == "--work-dir"
    found = places(job, work_dir="../w", store="s")
    assert (found.work, found.store) == (tmp_path / "../w/work", tmp_path / "s")
    assert found.store_setting == "--store"


@pytest.mark.parametrize(
    ("uri", "store"),
    [
        ("models", "HERE/models"),
        ("./models", "HERE/models"),
        ("/srv/models", "/srv/models"),
        ("~/models", "HOME/models"),
        ("file:///srv/models", "/srv/models"),
        ("FILE:///srv/my%20models", "/srv/my models"),
        ("my%20models", "HERE/my%20models"),
    ],
)
def test_the_manifests_store_is_read_as_data_and_models_are(write, good, tmp_path, monkeypatch, uri, store):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.chdir(tmp_path)
    found = places(stored_at(write, good, uri), "jobs/job.yaml")
    expected = store.replace("HERE", str(tmp_path / "jobs")).replace("HOME", "/home/ada")
    assert (found.store, found.store_setting) == (Path(expected), "spec.store.uri")
    assert places(stored_at(write, good, uri), store="s").store == tmp_path / "s"


def test_a_store_in_a_home_folder_that_is_not_there_is_refused(write, good):
    with pytest.raises(ManifestInvalid) as caught:
        places(stored_at(write, good, "~nobody-of-that-name/models"))
    assert caught.value.where == "spec.store.uri"


def test_a_home_folder_that_the_shell_left_alone(job, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert places(job, store="~/models").store == Path("/home/ada/models")
    assert places(job, work_dir="~/runs").work == Path("/home/ada/runs/work")
    with pytest.raises(ResourceUnavailable, match="home"):
        places(job, store="~nobody-of-that-name/models")


def test_a_current_folder_that_is_gone(job, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ResourceUnavailable, match="current folder"):
        places(job, tmp_path / "job.yaml")


@pytest.mark.parametrize("option", ["--store", "--work-dir"])
@pytest.mark.parametrize("uri", ["file:///srv/models", "s3://bucket/models", "pvc://claim/models"])
def test_a_folder_given_as_a_uri_is_refused(write, good, option, uri):
    result = CliRunner().invoke(app, ["run", str(write(good)), option, uri])
    assert result.exit_code == ExitCode.USAGE
    assert option in result.output
