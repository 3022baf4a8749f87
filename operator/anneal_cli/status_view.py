"""What a person sees of a job in the cluster: how it stands, what is wrong, and the tables of what came out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from anneal_api.status import (
    Condition,
    ConditionStatus,
    ConditionType,
    DroppedRowsStatus,
    FailedAttempt,
    FineTuneJobStatus,
    GateLine,
    Phase,
    Progress,
    VariantStatus,
    VersionState,
    VersionStatus,
)
from anneal_cli.seen_job import SeenJob
from anneal_cli.wording import Times, printable, size, span
from anneal_trainer.evaluate.sentences import score_text

_UNBROKEN = 2**16
_NOTHING = 1e-9
_STYLES = {Phase.READY: "bold green", Phase.SUCCEEDED: "bold green", Phase.FAILED: "bold red"}
_GOOD_WHEN_FALSE = frozenset({ConditionType.FAILED, ConditionType.PROGRESSING})
_STATES = {
    VersionState.SERVING: "serves",
    VersionState.CANDIDATE: "candidate",
    VersionState.PREVIOUS: "earlier",
}
_VERDICTS = {"passed": "green", "failed": "bold red"}
_SELECTED = "selected: "


def output_console() -> Console:
    """Returns the console of standard output. Where that is no terminal, nothing breaks lines."""
    # Words from the cluster are shown as they are: they are no markup and name no emoji.
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _UNBROKEN
    return console


def show(console: Console, view: RenderableType) -> None:
    """Prints a view. Where nobody looks, no line ends in blanks."""
    if console.is_terminal:
        console.print(view)
        return
    with console.capture() as captured:
        console.print(view)
    for line in captured.get().splitlines():
        console.file.write(f"{line.rstrip()}\n")
    console.file.flush()


def job_view(job: SeenJob, times: Times) -> RenderableType:
    """Returns everything that there is to see of a job."""
    status = job.status
    variant = next((each.name for each in status.variants if each.verdict.startswith(_SELECTED)), "")
    tables = [
        _failures(status.failures, job.generation, times),
        _dropped(status.dropped_rows),
        _gate(status.gate, variant),
        _variants(status.variants),
        _versions(status.versions, times),
        _conditions(status.conditions, times),
    ]
    parts: list[RenderableType] = [standing(job), *_facts(job, times)]
    for table in tables:
        if table is not None:
            parts += ["", table]
    return Group(*parts)


def standing(job: SeenJob) -> Text:
    """Returns what a job is and does, and where something is wrong, what that is and what to do about it."""
    status = job.status
    text = Text.assemble(
        (printable(job.name), "bold"), f"  {printable(job.task)}  ", (f"namespace {job.namespace}", "dim")
    )
    if job.unreadable:
        fields = ", ".join(f"status.{printable(field)}" for field in job.unreadable)
        text.append(f"\nThis anneal cannot read {fields}: a newer one wrote it. Update this one.", "yellow")
    if job.is_new:
        text.append("\nNew", "bold yellow")
        text.append("\n  The operator has not looked at it yet.")
        text.append(
            "\n  If it stays so: kubectl get pods -A -l app.kubernetes.io/name=anneal-operator", "green"
        )
        return text
    if job.is_edited:
        text.append("\nThe manifest has been edited; what follows is from before.", "yellow")
    style = phase_style(status)
    text.append(f"\n{status.phase.value}", style)
    if status.reason is not None:
        text.append(f"  {status.reason.value}", style)
    if status.message:
        text.append(_indented(status.message))
    if status.hint:
        text.append(_indented(status.hint), "green")
    return text


def phase_style(status: FineTuneJobStatus) -> str:
    """Returns the style of a phase: whether it is good, bad, or held up."""
    return _STYLES.get(status.phase, "bold yellow" if status.reason is not None else "bold cyan")


def progress_words(progress: Progress, *, spent: float = 0.0) -> str:
    """Returns how far a job is, for example `train, step 420 of 800, loss 0.3121, 3 min 10 s left`.

    Args:
        progress: What the status says.
        spent: Seconds since it said so.
    """
    words = [printable(progress.stage, one_line=True)] if progress.stage else []
    if progress.step is not None:
        words.append(f"step {progress.step} of {progress.total_steps or '?'}")
    if progress.loss is not None and math.isfinite(progress.loss):
        words.append(f"loss {progress.loss:.4f}")
    if progress.tokens_per_second:
        words.append(f"{progress.tokens_per_second:,.0f} tokens/s")
    if progress.eta_seconds is not None:
        words.append(f"{span(max(progress.eta_seconds - spent, 0.0))} left")
    return ", ".join(words)


def _indented(text: str) -> str:
    return "".join(f"\n  {line}" for line in printable(text).splitlines())


def _facts(job: SeenJob, times: Times) -> list[RenderableType]:
    facts = list(_facts_of(job, times))
    if not facts:
        return []
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, value in facts:
        grid.add_row(name, Text(value))
    return ["", grid]


def _facts_of(job: SeenJob, times: Times) -> Iterator[tuple[str, str]]:
    status, run = job.status, job.status.run
    if status.progress is not None:
        words = progress_words(status.progress)
        yield "progress", f"{status.progress.percent} %{f'  {words}' if words else ''}"
    if run is not None:
        resumed = "" if status.resumed_from is None else f", resumed from step {status.resumed_from}"
        again = "" if run.retry_at is None else f", the next one {times.until(run.retry_at)}"
        begun = f"{run.attempt}, {run.part.value} {times.since(run.part_started_at)}"
        yield "attempt", f"{begun}{resumed}{again}"
    if status.stages:
        done = (
            f"{printable(each.name, one_line=True)} {'reused' if each.reused else span(each.seconds)}"
            for each in status.stages
        )
        yield "stages", ", ".join(done)
    if status.metrics:
        scores = (f"{printable(name)} {score_text(score)}" for name, score in status.metrics.items())
        yield "metrics", ", ".join(scores)
    if status.served_version:
        yield "serves", printable(status.traffic or status.served_version)
    if status.url:
        yield "url", printable(status.url)
    if status.worker_seconds:
        gpus = f", {status.gpu_hours:.2f} GPU hours" if status.gpu_hours else ""
        yield "training", f"{span(status.worker_seconds)} of a worker{gpus}"
    if status.finished_at is not None:
        yield "finished", times.ago(status.finished_at)


def _table(title: str, *columns: str, right: Sequence[str] = (), wide: Sequence[str] = ()) -> Table:
    """Returns a table without rules, of which only the wide columns break lines."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        justify: JustifyMethod = "right" if column in right else "left"
        table.add_column(column, justify=justify, no_wrap=column not in wide, overflow="fold")
    return table


def _failures(failures: Sequence[FailedAttempt], generation: int, times: Times) -> Table | None:
    if not failures:
        return None
    table = _table("Attempts that failed", "attempt", "part", "when", "reason", "why", wide=("why",))
    for failed in failures:
        told = printable(failed.message, one_line=True)
        hint = Text(f" {printable(failed.hint, one_line=True)}" if failed.hint else "", "green")
        number = str(failed.attempt)
        if failed.generation != generation:
            number += f" of generation {failed.generation}"
        why = Text(failed.reason.value, "red")
        table.add_row(number, failed.part.value, times.ago(failed.at), why, Text(told) + hint)
    return table


def _dropped(dropped: Sequence[DroppedRowsStatus]) -> Table | None:
    if not dropped:
        return None
    table = _table("Rows left out", "split", "rows", "why", "where", right=("rows",), wide=("where",))
    for each in dropped:
        table.add_row(
            printable(each.split, one_line=True),
            f"{each.rows:,}",
            printable(each.reason, one_line=True),
            printable(each.where, one_line=True),
        )
    return table


def _gate(lines: Sequence[GateLine], variant: str) -> Table | None:
    if not lines:
        return None
    table = _table(
        "Gate, on the test rows",
        *("variant", "metric", "bar", "value", "incumbent", "verdict", "why"),
        right=("value", "incumbent"),
        wide=("bar", "why"),
    )
    for line in lines:
        verdict = printable(line.verdict, one_line=True)
        table.add_row(
            printable(variant, one_line=True) or "-",
            printable(line.metric, one_line=True),
            _bar(line),
            _score(line.candidate, line.bar),
            _score(line.incumbent),
            Text(verdict, _VERDICTS.get(verdict, "dim")),
            _why(line),
        )
    return table


def _bar(line: GateLine) -> str:
    """Returns a bar in words; where it depends on the incumbent, with the number that it comes to."""
    rule = printable(line.rule, one_line=True)
    depends = line.bar is not None and line.incumbent is not None
    return f"{rule}: {_score(line.bar, line.candidate)}" if depends else rule


def _why(line: GateLine) -> str:
    """Returns a verdict in words. The gate's own sentence is in the report; these are its numbers."""
    if line.candidate is None or not math.isfinite(line.candidate):
        return "the model has no such score: its outputs are not all numbers"
    if line.verdict not in _VERDICTS:
        return "for information" if line.incumbent is not None else "there is nothing to compare with"
    if line.bar is None:
        return ""
    distance = abs(line.candidate - line.bar)
    above = "above" if line.candidate > line.bar else "below"
    return f"{score_text(distance, beside=0.0)} {above} the bar" if distance > _NOTHING else "just at the bar"


def _variants(variants: Sequence[VariantStatus]) -> Table | None:
    if not variants:
        return None
    table = _table(
        "Variants",
        *("variant", "validation", "size", "latency p50", "verdict"),
        right=("validation", "size", "latency p50"),
        wide=("verdict",),
    )
    for each in variants:
        table.add_row(
            printable(each.name, one_line=True),
            _score(each.score),
            size(each.bytes),
            f"{each.latency_ms_p50:.1f} ms",
            printable(each.verdict, one_line=True),
            style="bold" if each.verdict.startswith(_SELECTED) else "",
        )
    return table


def _versions(versions: Sequence[VersionStatus], times: Times) -> Table | None:
    if not versions:
        return None
    table = _table(
        "Versions",
        *("version", "state", "traffic", "score", "published", "folder in the store"),
        right=("traffic", "score"),
        wide=("folder in the store",),
    )
    for each in reversed(versions):
        serves = each.state is VersionState.SERVING
        table.add_row(
            f"v{each.version}",
            Text(_state(each, times), "green" if serves else "red" if each.refused else ""),
            f"{each.traffic} %",
            _score(each.score),
            times.ago(each.published_at),
            printable(each.path, one_line=True),
            style="bold" if serves else "",
        )
    return table


def _state(version: VersionStatus, times: Times) -> str:
    if version.refused is not None:
        return f"refused: {version.refused.reason.value}"
    if version.deploying_since is not None:
        return f"deploying {times.since(version.deploying_since)}"
    return _STATES.get(version.state, version.state.value.lower())


def _conditions(conditions: Iterable[Condition], times: Times) -> Table | None:
    conditions = tuple(conditions)
    if not conditions:
        return None
    table = _table("Conditions", "condition", "holds", "since", "reason", "why", wide=("why",))
    for each in conditions:
        table.add_row(
            each.type.value,
            Text(_holds(each), _condition_style(each)),
            times.ago(each.last_transition_time),
            each.reason.value,
            printable(each.message, one_line=True),
        )
    return table


def _holds(condition: Condition) -> str:
    words = {ConditionStatus.TRUE: "yes", ConditionStatus.FALSE: "no"}
    return words.get(condition.status, "unknown")


def _condition_style(condition: Condition) -> str:
    if condition.status is ConditionStatus.UNKNOWN:
        return "dim"
    holds = condition.status is ConditionStatus.TRUE
    if condition.type is ConditionType.FAILED:
        return "bold red" if holds else "dim"
    return "green" if holds and condition.type not in _GOOD_WHEN_FALSE else ""


def _score(score: float | None, beside: float | None = None) -> str:
    if score is None:
        return "-"
    comparable = beside if beside is not None and math.isfinite(beside) else None
    return score_text(score, beside=comparable)
