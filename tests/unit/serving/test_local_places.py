"""Folders that this machine lets be written, and paths that mean the same in every process."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from anneal_api.errors import ExitCode, Reason, ResourceUnavailable
from anneal_serving import writable_folder
from anneal_serving.environment_paths import make_paths_absolute
from anneal_serving.ray_folder import ray_folder
from anneal_serving.writable_folder import require_temporary_folder, require_writable


def test_relative_paths_in_the_environment_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = {
        "HF_HOME": "cache",
        "TMPDIR": "./tmp",
        "AWS_CONFIG_FILE": "../aws",
        "XDG_CACHE_HOME": "/caches",
        "HF_HUB_CACHE": "~/hub",
        "HF_TOKEN_PATH": "",
        "HF_ENDPOINT": "not/a/path",
    }
    make_paths_absolute(environment)
    assert environment == {
        "HF_HOME": f"{tmp_path}/cache",
        "TMPDIR": f"{tmp_path}/tmp",
        "AWS_CONFIG_FILE": f"{tmp_path}/../aws",
        "XDG_CACHE_HOME": "/caches",
        "HF_HUB_CACHE": "~/hub",
        "HF_TOKEN_PATH": "",
        "HF_ENDPOINT": "not/a/path",
    }


def test_a_folder_is_made_and_nothing_stays_in_it(tmp_path):
    require_writable(tmp_path / "a" / "b", setting="--work-dir", what="work folder")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("below", ["", "w", "w/deep"])
def test_a_file_in_the_way_is_named_with_the_option(tmp_path, below):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ResourceUnavailable) as caught:
        require_writable(file / below, setting="--work-dir", what="work folder")
    assert f"{file} is a file" in caught.value.what
    assert caught.value.where == f"--work-dir: {file / below}"
    assert "--work-dir" in caught.value.remedy
    assert caught.value.exit_code == ExitCode.RESOURCE_UNAVAILABLE


def test_a_folder_that_nobody_may_make():
    with pytest.raises(ResourceUnavailable, match=r"\(/proc\)"):
        require_writable(Path("/proc/nope/w"), setting="--store", what="model store")


def test_a_full_disk_is_called_one(tmp_path, monkeypatch):
    def full(_folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writable_folder, "_probe", full)
    with pytest.raises(ResourceUnavailable, match="no room") as caught:
        require_writable(tmp_path, setting="--store", what="model store")
    assert caught.value.reason is Reason.DISK_FULL


def test_no_folder_for_temporary_files(monkeypatch):
    def none():
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(ResourceUnavailable) as caught:
        require_temporary_folder()
    assert caught.value.where == "TMPDIR"


def test_ray_lives_where_it_is_told_to():
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r") as folder:
        assert ray_folder({"RAY_TMPDIR": folder}) == Path(folder) / "ray"


def test_ray_lives_with_the_temporary_files_unless_the_path_is_too_long_for_a_socket(monkeypatch, tmp_path):
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        assert ray_folder({}) == Path(folder) / "ray"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 60)))
    assert ray_folder({}) == Path("/tmp/ray")


def test_a_folder_that_is_too_long_for_ray_is_refused_where_a_person_chose_it(tmp_path):
    with pytest.raises(ResourceUnavailable, match="too long") as caught:
        ray_folder({"RAY_TMPDIR": str(tmp_path / ("x" * 60))})
    assert "RAY_TMPDIR" in caught.value.where


def test_a_folder_that_ray_cannot_write_is_refused():
    file = Path(tempfile.mkstemp(dir="/tmp")[1])
    try:
        with pytest.raises(ResourceUnavailable) as caught:
            ray_folder({"RAY_TMPDIR": str(file)})
        assert "RAY_TMPDIR" in caught.value.where
    finally:
        file.unlink()
