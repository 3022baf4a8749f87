"""A deleted job's versions and work are removed, and nothing else is."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import pytest

from anneal_api.errors import AnnealError, ResourceUnavailable
from anneal_api.job import Metadata
from anneal_trainer.cluster.cleanup import clean_up
from anneal_trainer.cluster.environment import Folders

UID = "6f3c2a10-0000-4000-8000-000000000001"
JOB = Metadata.model_validate({"name": "reviews", "namespace": "team-a", "uid": UID})
FOLDER = Path("team-a", "reviews-6f3c2a10")


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    found = Folders(tmp_path / "store", tmp_path / "store" / ".work")
    for path in (
        found.store / FOLDER / "v1" / "manifest.json",
        found.store / FOLDER / ".v2.7.partial" / "model.onnx",
        found.store / "team-a" / "reviews-99999999" / "v1" / "manifest.json",
        found.store / "team-b" / "reviews-6f3c2a10" / "v1" / "manifest.json",
        found.work / FOLDER / "stages" / "train" / "0.partial" / "checkpoints" / "state.json",
        found.work / FOLDER / "lock",
        found.work / FOLDER / "report.html",
        found.work / "team-a" / "reviews-99999999" / "lock",
        found.work / "hub" / "models" / "config.json",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return found


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


OTHERS = {
    "team-a/reviews-99999999/v1/manifest.json",
    "team-b/reviews-6f3c2a10/v1/manifest.json",
    ".work/team-a/reviews-99999999/lock",
    ".work/hub/models/config.json",
}


def test_exactly_the_jobs_own_folders_go(folders):
    clean_up(JOB, folders)
    assert files(folders.store) == OTHERS
    assert not (folders.store / FOLDER).exists()
    assert not (folders.work / FOLDER).exists()


def test_a_second_time_there_is_nothing_to_do(folders):
    clean_up(JOB, folders)
    clean_up(JOB, folders)
    assert files(folders.store) == OTHERS


def test_what_a_killed_cleanup_left_goes_too(folders):
    shutil.rmtree(folders.work / FOLDER / "stages")
    (folders.work / FOLDER / "report.html").unlink()
    clean_up(JOB, folders)
    assert files(folders.store) == OTHERS


def test_a_store_without_a_work_folder(folders):
    shutil.rmtree(folders.work)
    clean_up(JOB, folders)
    assert not (folders.store / FOLDER).exists()


@pytest.mark.parametrize("root", ["store", "work"])
@pytest.mark.parametrize("level", [FOLDER, FOLDER.parent])
def test_a_link_that_leads_out_is_not_followed(folders, tmp_path, root, level):
    precious = tmp_path / "precious"
    (precious / "v1").mkdir(parents=True)
    (precious / FOLDER.name).mkdir()
    link = getattr(folders, root) / level
    shutil.rmtree(link)
    link.symlink_to(precious)
    before = files(folders.store)
    with pytest.raises(AnnealError, match="leads out"):
        clean_up(JOB, folders)
    assert (precious / "v1").is_dir()
    assert (precious / FOLDER.name).is_dir()
    assert files(folders.store) == before, "it began before it had looked at everything"


def test_a_root_that_is_itself_behind_a_link_is_fine(folders, tmp_path):
    link = tmp_path / "mounted"
    link.symlink_to(folders.store)
    clean_up(JOB, Folders(link, link / ".work"))
    assert files(folders.store) == OTHERS


def test_a_pod_that_is_still_at_work_is_waited_for_and_then_reported(folders):
    with (folders.work / FOLDER / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ResourceUnavailable, match="still holds its work folder"):
            clean_up(JOB, folders, lock_seconds=0.2)
    assert (folders.store / FOLDER / "v1").is_dir()
    clean_up(JOB, folders)
    assert files(folders.store) == OTHERS
