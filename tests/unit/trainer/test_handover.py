"""A part that runs in another process finds what the parts before it saw, or knows that it does not hold any more."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from anneal_api.job import FineTuneJobSpec
from anneal_api.spec.model import ModelSource
from anneal_trainer import handover
from anneal_trainer.base_model import BaseModel, pinned
from anneal_trainer.stages import Stage, StageFolder, StageResult

BASE = BaseModel(Path("/hub/snapshots/abc"), "bert-base-uncased", "abc")


def spec(**parts: Any) -> FineTuneJobSpec:
    document = {
        "task": "text-classification",
        "model": {"source": "bert-base-uncased"},
        "data": {"train": {"uri": "pvc://data/x.csv"}},
        **parts,
    }
    return FineTuneJobSpec.model_validate(document)


@pytest.fixture
def stages(tmp_path: Path) -> StageFolder:
    return StageFolder(tmp_path)


@pytest.fixture
def results(stages: StageFolder) -> list[StageResult]:
    def write(folder: Path) -> None:
        (folder / "result.txt").write_text(folder.parent.name)

    return [stages.complete(Stage(name, 1, {}), write) for name in ("preflight", "prepare")]


def test_what_was_written_is_found_by_another_process(stages, results):
    handover.write(stages, spec(), 2, BASE, results)
    left = handover.read(StageFolder(stages.root), spec(), 2)
    assert left is not None
    assert left.base == BASE
    assert list(left.results.values()) == results, "in order, and as fresh as they were"


def test_a_result_that_was_found_done_stays_one(stages, results):
    again = [stages.find(Stage(result.name, 1, {})) for result in results]
    handover.write(stages, spec(), 2, BASE, again)
    left = handover.read(stages, spec(), 2)
    assert left is not None
    assert all(result.reused for result in left.results.values())


def test_a_result_that_was_harmed_since_is_left_out(stages, results):
    handover.write(stages, spec(), 2, BASE, results)
    (results[1].folder / "result.txt").write_text("other")
    left = handover.read(stages, spec(), 2)
    assert left is not None
    assert list(left.results) == ["preflight"]


@pytest.mark.parametrize(
    "other", [spec(training={"epochs": 9}), spec(data={"train": {"uri": "pvc://data/y.csv"}})]
)
def test_an_edited_spec_has_nothing_handed_over(stages, results, other):
    handover.write(stages, spec(), 2, BASE, results)
    assert handover.read(stages, other, 2) is None
    assert handover.read(stages, spec(), 1) is None


def test_how_it_is_served_and_kept_changes_nothing(stages, results):
    handover.write(stages, spec(), 2, BASE, results)
    assert handover.read(stages, spec(serving={}, retention={"versions": 1}), 2) is not None
    data = {"train": {"uri": "pvc://data/x.csv"}, "secretRef": {"name": "another-key"}}
    assert handover.read(stages, spec(data=data), 2) is not None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"base": {}}', '{"base": 1, "stages": {}}'])
def test_what_cannot_be_read_is_not_there(stages, results, content):
    handover.write(stages, spec(), 2, BASE, results)
    (path,) = (stages.root / "handover").iterdir()
    path.write_text(content)
    assert handover.read(stages, spec(), 2) is None


def test_nothing_is_there_before_it_is_written(stages):
    assert handover.read(stages, spec(), 2) is None


def test_the_next_part_asks_the_hub_for_the_commit_and_not_for_the_branch():
    assert pinned(ModelSource(source="bert-base-uncased"), "abc").revision == "abc"


@pytest.mark.parametrize("revision", ["sha256:00", "models 1.0 sha256:00"])
def test_a_folder_has_no_commit_to_ask_for(revision):
    assert pinned(ModelSource(source="pkg://models/bert"), revision).revision == "main"


def test_a_job_goes_on_from_the_preflight_of_an_earlier_release(tmp_path: Path) -> None:
    """Such a preflight tried no architecture, and left no word of one."""
    from anneal_trainer.architecture.traits import TRAITS_FILE, Traits
    from anneal_trainer.pipeline import Pipeline

    under_way = SimpleNamespace(results={"preflight": SimpleNamespace(folder=tmp_path)})
    assert Pipeline._traits(under_way) == Traits()  # type: ignore[arg-type]
    found = Traits(pads=False)
    (tmp_path / TRAITS_FILE).write_text(found.model_dump_json())
    assert Pipeline._traits(under_way) == found  # type: ignore[arg-type]
