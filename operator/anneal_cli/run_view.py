"""What a person sees of a run: one line a stage, a bar while training, tables at the end.

Where there is no terminal but a log, lines take the bar's place: when a stage begins, and now and then while training.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from anneal_api.report import DataSummary, GateRow, RunReport, VariantReport, Verdict

if TYPE_CHECKING:
    from anneal_trainer.engine.progress import Progress as TrainingProgress
    from anneal_trainer.stages import StageResult

_WORDS = {
    "preflight": "looks at the data and the plan",
    "prepare": "tokenizes the rows",
    "train": "trains",
    "evaluate": "scores the model and its baselines on validation",
    "compress": "makes and measures the variants",
    "gate": "reads the gate on the test rows",
    "publish": "writes the version",
}
_SHORT = {"publish"}
_LINE_SECONDS = 10.0
_LEVELS = {"warning": "yellow", "error": "bold red", "note": "dim"}
_STYLES = {Verdict.PASSED: "green", Verdict.FAILED: "bold red", Verdict.SKIPPED: "dim"}


class RunView:
    """Shows a run as it goes. It is the pipeline's observer.

    Args:
        console: Where to show it.
        clock: Seconds that pass.
    """

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._line_at = -math.inf
        self._last_step = -1
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[detail]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bar: TaskID | None = None

    @contextmanager
    def live(self) -> Iterator[None]:
        """Keeps the moving parts on the screen while the run goes on."""
        with self._bars:
            yield

    def started(self, stage: str) -> None:
        """Shows that a stage is at work."""
        self._bar = self._bars.add_task(f"{stage:<9}", total=None, detail=_WORDS[stage])
        if not self._console.is_terminal and stage not in _SHORT:
            self._console.print(f"  … {stage:<10}{_WORDS[stage]}", soft_wrap=True)

    def found(self, summary: DataSummary) -> None:
        """Shows what preflight saw, while it is still worth something to stop."""
        for finding in summary.findings:
            self._console.print(
                Text.assemble(
                    (f"    {finding.level:<9}", _LEVELS.get(finding.level, "")),
                    f"{finding.where}: " if finding.where else "",
                    f"{finding.what} {finding.remedy}".rstrip(),
                ),
                soft_wrap=not self._console.is_terminal,
            )

    def progressed(self, progress: TrainingProgress) -> None:
        """Shows how far training is; without a terminal, with a line every ten seconds and a last one."""
        loss = "" if progress.loss is None else f"loss {progress.loss:.4f}  "
        detail = (
            f"step {progress.step}/{progress.total_steps}  {loss}{progress.tokens_per_second:,.0f} tokens/s  "
            f"{_duration(progress.eta_seconds)} left"
        )
        if self._bar is not None:
            self._bars.update(self._bar, total=progress.total_steps, completed=progress.step, detail=detail)
        if self._console.is_terminal:
            return
        ended = progress.step >= progress.total_steps > self._last_step
        if ended or self._clock() - self._line_at >= _LINE_SECONDS:
            self._line_at = self._clock()
            self._last_step = progress.step
            self._console.print(f"    train     epoch {progress.epoch:.1f}  {detail}", soft_wrap=True)

    def finished(self, result: StageResult) -> None:
        """Leaves one line about a finished stage."""
        if self._bar is not None:
            self._bars.remove_task(self._bar)
            self._bar = None
        took = "reused" if result.reused else _duration(result.seconds)
        self._console.print(
            Text.assemble(
                ("  ✓ ", "green"),
                f"{result.name:<10}",
                (f"{took:>7}  ", "dim" if result.reused else "cyan"),
                (_WORDS[result.name], "dim"),
            )
        )


def variants_table(report: RunReport) -> Table:
    """Returns the score of each variant against the bar, its size and its latency."""
    table = Table(title="Variants", title_justify="left", title_style="bold", box=None, pad_edge=False)
    leading, *others = report.metrics
    table.add_column("variant", no_wrap=True)
    for heading in (f"{leading}\nval", f"{leading}\ntest", *(f"{metric}\ntest" for metric in others)):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("\ndrop", "\nsize", "latency\np50"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("\nverdict")
    for variant in report.variants:
        table.add_row(
            variant.name,
            f"{variant.validation[leading]:.4f}",
            *(f"{variant.test[metric]:.4f}" for metric in report.metrics),
            f"{variant.drop:+.4f}",
            f"{variant.bytes / 1e6:.1f} MB",
            f"{variant.latency_ms_p50:.1f} ms",
            _variant_verdict(variant, report),
            style="bold" if variant.selected else "",
        )
    return table


def _variant_verdict(variant: VariantReport, report: RunReport) -> Text:
    if not variant.eligible:
        return Text(f"rejected: {variant.why}", style="red")
    if variant.selected:
        return (
            Text("passed", style="green") if report.gate.passed else Text("failed the gate", style="bold red")
        )
    return Text("not chosen", style="dim")


def gate_table(report: RunReport) -> Table:
    """Returns the bars, the candidate's scores and the verdicts."""
    table = Table(
        title="Gate, on the test rows", title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    table.add_column("metric")
    table.add_column("rule")
    table.add_column("candidate", justify="right")
    table.add_column("incumbent", justify="right")
    table.add_column("difference (95 % interval)", justify="right")
    table.add_column("verdict")
    for row in report.gate.rows:
        table.add_row(
            row.metric,
            row.rule,
            f"{row.candidate:.4f}",
            "-" if row.incumbent is None else f"{row.incumbent:.4f}",
            _difference(row),
            Text(row.verdict.value, style=_STYLES[row.verdict]),
        )
    return table


def _difference(row: GateRow) -> str:
    if row.difference is None:
        return "-"
    if row.interval is None:
        return f"{row.difference:+.4f}"
    low, high = row.interval
    return f"{row.difference:+.4f} ({low:+.4f} to {high:+.4f})"


def _duration(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
