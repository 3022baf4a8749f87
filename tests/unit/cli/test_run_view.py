"""What a run shows: in a log as on a terminal, in time, and before it costs anything."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from anneal_api.report import DataSummary, Finding
from anneal_cli.run_view import RunView
from anneal_trainer.engine.progress import Progress
from anneal_trainer.stages import StageResult


class Watched:
    """A view, what it wrote, and a clock that stands still until it is moved."""

    def __init__(self, *, terminal: bool = False) -> None:
        self.now = 0.0
        self.file = io.StringIO()
        console = Console(file=self.file, force_terminal=terminal, width=60, highlight=False)
        self.view = RunView(console, clock=lambda: self.now)

    @property
    def lines(self) -> list[str]:
        return self.file.getvalue().splitlines()


@pytest.fixture
def log() -> Watched:
    return Watched()


def progress(step: int, *, total: int = 1000, loss: float | None = 0.5) -> Progress:
    return Progress(
        step=step,
        total_steps=total,
        epoch=step / 100,
        loss=loss,
        tokens_per_second=1234.5,
        eta_seconds=75.0,
        scores={},
    )


def test_a_log_has_a_line_every_ten_seconds_of_training(log):
    for tick in range(60):  # half a minute, two looks a second
        log.now = tick / 2
        log.view.progressed(progress(tick))
    assert [line.split()[4] for line in log.lines] == ["0/1000", "20/1000", "40/1000"]
    assert log.lines[0].split(maxsplit=1)[1] == (
        "epoch 0.0  step 0/1000  loss 0.5000  1,234 tokens/s  1 min 15 s left"
    )


def test_the_last_step_has_its_line_once(log):
    log.view.progressed(progress(999))
    for _ in range(3):
        log.view.progressed(progress(1000))
    assert [line.split()[4] for line in log.lines] == ["999/1000", "1000/1000"]


def test_a_log_says_what_begins(log):
    for stage in ("train", "evaluate", "compress"):
        log.view.started(stage)
    assert [line.split()[1] for line in log.lines] == ["train", "evaluate", "compress"]
    log.view.finished(StageResult("compress", "key", Path("x"), "digest", False, 2.0))
    assert log.lines[-1].split()[:3] == ["✓", "compress", "2.0"]


def test_a_terminal_has_the_bar_instead():
    watched = Watched(terminal=True)
    watched.view.started("train")
    watched.view.progressed(progress(1))
    assert watched.lines == []


@pytest.mark.parametrize("terminal", [False, True])
def test_every_warning_has_its_place_and_remedy(terminal):
    watched = Watched(terminal=terminal)
    findings = [
        Finding(
            level="warning", what="The label 'x' has 1 row.", where="spec.data.train", remedy="Add some."
        ),
        Finding(level="note", what="3 optimizer steps.", where="spec.training", remedy=""),
    ]
    watched.view.found(DataSummary(digest="", labels=[], splits={}, findings=findings))
    text = watched.file.getvalue()
    for word in ("warning", "spec.data.train", "The label 'x' has 1 row.", "Add some.", "3 optimizer steps."):
        assert word in " ".join(text.split())
    if not terminal:
        assert len(watched.lines) == len(findings)
