"""A stage runs again only if its inputs changed, or its result is no longer what it was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from anneal_api.errors import ResourceUnavailable
from anneal_trainer.stages import Stage, StageFolder

_STAGE = Stage("train", 1, {"data": "abc", "training": {"epochs": 3}})


def _write(text: str):
    def build(folder: Path) -> None:
        (folder / "result.txt").write_text(text)

    return build


def _fail(_folder: Path) -> None:
    raise AssertionError("must not run")


@pytest.fixture
def stages(tmp_path) -> StageFolder:
    return StageFolder(tmp_path)


def test_a_result_is_reused(stages):
    first = stages.complete(_STAGE, _write("one"))
    second = stages.complete(_STAGE, _fail)
    assert not first.reused
    assert second.reused
    assert (second.digest, second.folder) == (first.digest, first.folder)


@pytest.mark.parametrize(
    "other",
    [
        Stage("train", 2, _STAGE.inputs),
        Stage("evaluate", 1, _STAGE.inputs),
        Stage("train", 1, {**_STAGE.inputs, "data": "abd"}),
    ],
    ids=["revision", "name", "inputs"],
)
def test_another_stage_runs(stages, other):
    stages.complete(_STAGE, _write("one"))
    assert not stages.complete(other, _write("two")).reused


def test_the_order_of_keys_does_not_matter():
    same = Stage("train", 1, {"training": {"epochs": 3}, "data": "abc"})
    assert same.key == _STAGE.key


@pytest.mark.parametrize("harm", ["altered", "missing", "extra"])
def test_a_result_that_is_no_longer_whole_is_made_again(stages, harm):
    folder = stages.complete(_STAGE, _write("one")).folder
    match harm:
        case "altered":
            (folder / "result.txt").write_text("onf")
        case "missing":
            (folder / "result.txt").unlink()
        case "extra":
            (folder / "more.txt").write_text("")
    again = stages.complete(_STAGE, _write("one"))
    assert not again.reused
    assert [path.name for path in sorted(again.folder.iterdir())] == ["result.txt", "stage.json"]


def test_a_failed_stage_leaves_what_it_had_for_the_next_try(stages):
    def fails(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        stages.complete(_STAGE, fails)
    seen: list[str] = []

    def goes_on(folder: Path) -> None:
        seen.append((folder / "half.txt").read_text())

    assert not stages.complete(_STAGE, goes_on).reused
    assert seen == ["half"]


def test_going_back_to_an_earlier_configuration_finds_its_result(stages):
    stages.complete(_STAGE, _write("one"))
    stages.complete(Stage("train", 1, {"data": "abd"}), _write("two"))
    assert stages.complete(_STAGE, _fail).reused


def test_old_results_are_dropped(stages):
    for number in range(6):
        stages.complete(Stage("train", 1, {"n": number}), _write(str(number)))
    assert len(list((stages.root / "stages" / "train").iterdir())) == 3


def test_a_second_run_of_the_same_job_is_refused(stages):
    code = (
        "import sys; from pathlib import Path; from anneal_trainer.stages import StageFolder\n"
        "with StageFolder(Path(sys.argv[1])).locked(): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(stages.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ResourceUnavailable, match=str(other.pid)), stages.locked():
            pass
        other.communicate("")
    with stages.locked():
        pass


def test_the_record_says_what_the_result_was_made_from(stages):
    folder = stages.complete(_STAGE, _write("one")).folder
    record = json.loads((folder / "stage.json").read_text())
    assert record["stage"]["inputs"] == _STAGE.inputs
