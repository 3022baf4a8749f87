"""Old versions go, but never one that serves or that the newest was compared with."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_api.job import Metadata
from anneal_trainer.publish.retention import retain, surplus
from anneal_trainer.publish.store import JobStore


@pytest.mark.parametrize(
    ("versions", "keep", "protected", "removed"),
    [
        ([], 3, [], []),
        ([1, 2, 3], 3, [], []),
        ([1, 2, 3, 4], 3, [], [1]),
        ([1, 2, 3, 4, 5], 2, [], [1, 2, 3]),
        ([1, 2, 3, 4, 5], 2, [1, 3], [2]),
        ([5, 1, 3, 2, 4], 1, [5, 9], [1, 2, 3, 4]),
        ([2, 10], 1, [], [2]),
    ],
)
def test_which_versions_go(versions, keep, protected, removed):
    assert surplus(versions, keep=keep, protected=protected) == removed


@given(versions=st.sets(st.integers(1, 50)), keep=st.integers(1, 10), protected=st.sets(st.integers(1, 50)))
def test_what_stays_is_enough(versions, keep, protected):
    stays = versions - set(surplus(versions, keep=keep, protected=protected))
    assert protected & versions <= stays
    assert set(sorted(versions)[-keep:]) <= stays
    assert len(stays) <= keep + len(protected)


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    found = JobStore.of(tmp_path, Metadata.model_validate({"name": "reviews", "uid": "6f3c2a10"}))
    for _ in range(4):
        found.publish(_fill)
    return found


def _fill(folder: Path, version: int) -> None:
    (folder / "model.onnx").write_text(f"model {version}")
    (folder / "manifest.json").write_text("{}")


def test_versions_are_removed_from_the_store(store):
    assert retain(store, keep=2, protected=[1]) == [2]
    assert store.versions() == [1, 3, 4]
    assert sorted(path.name for path in store.folder.iterdir()) == ["v1", "v3", "v4"]
    assert retain(store, keep=2, protected=[1]) == []


def test_what_killed_runs_left_behind_goes_too(store):
    (store.folder / ".v1.removed").mkdir()
    (store.folder / ".v1.removed" / "model.onnx").write_text("half")
    (store.folder / ".v5.17.partial").mkdir()
    retain(store, keep=9, protected=[])
    assert sorted(path.name for path in store.folder.iterdir()) == ["v1", "v2", "v3", "v4"]


def test_a_number_is_never_given_twice(store):
    retain(store, keep=1, protected=[])
    version, _ = store.publish(_fill)
    assert version == 5
