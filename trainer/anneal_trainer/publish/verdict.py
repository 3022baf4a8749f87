"""What a reader wants to know first: was it published, why, and how good is it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from anneal_api.metrics import METRICS, Direction, Metric
from anneal_api.report import Baseline, RunReport, VariantReport, Verdict
from anneal_trainer.publish import wording


@dataclass(frozen=True, slots=True)
class Banner:
    """The verdict on top of the page."""

    published: bool
    title: str
    text: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Headline:
    """A number that a reader looks for first."""

    label: str
    value: str
    detail: str
    tone: str = "neutral"


def banner(report: RunReport) -> Banner:
    """Returns the verdict in words: what was published, or what kept it from being published."""
    gate = report.gate
    bars = [row for row in gate.rows if row.where]
    failed = [row for row in bars if row.verdict is Verdict.FAILED]
    skipped = [row for row in bars if row.verdict is Verdict.SKIPPED]
    applied = len(bars) - len(skipped)
    notes = tuple(row.message for row in skipped)
    if failed:
        stays = f" Version v{gate.incumbent} stays the newest one." if gate.incumbent else ""
        text = f"The variant {gate.selected} missed {len(failed)} of {wording.plural(applied, 'bar')}.{stays}"
        return Banner(False, "Not published", text, tuple(row.message for row in failed) + notes)
    if not bars:
        text = f"The manifest sets no bar. The variant {gate.selected} was chosen on the validation rows."
    elif not applied:
        text = f"No bar could be applied to the variant {gate.selected}."
    else:
        all_of_them = {1: "the one bar", 2: "both bars"}.get(applied, f"all {applied} bars")
        text = (
            f"The variant {gate.selected} cleared {all_of_them}{' that could be applied' if skipped else ''}."
        )
    if gate.incumbent:
        text += f" It was compared with v{gate.incumbent} on the same rows."
    if report.version is None:
        return Banner(False, "Not published", f"{text} The run ended before a version was written.", notes)
    return Banner(True, f"Published as v{report.version}", text, notes)


def headlines(report: RunReport) -> list[Headline]:
    """Returns the numbers under the verdict: score, gains, size, latency, training."""
    leading = report.gate.leading_metric
    title = wording.metric_title(leading)
    reached = report.test.metrics.get(leading)
    ends = report.test.intervals.get(leading)
    rows = wording.plural(report.test.rows, "test row")
    selected = next((each for each in report.variants if each.name == report.gate.selected), None)
    training = report.training
    cards = [
        Headline(
            f"{title} on test",
            wording.score(reached),
            f"{wording.INTERVAL} {wording.interval(ends)}, {rows}" if ends else rows,
        ),
        _baseline_headline(report, title, reached),
        _incumbent_headline(report, title),
    ]
    if selected is not None:
        cards += _cost_headlines(selected, uncompressed(report))
    epochs = wording.plural(len(training.epochs), "epoch")
    cards.append(
        Headline(
            "Training",
            wording.duration(training.seconds),
            f"{epochs}, {wording.plural(training.steps, 'step')}, "
            f"{wording.count(round(training.useful_tokens_per_second))} tokens/s without padding",
        )
    )
    return cards


def catalogue(report: RunReport) -> dict[str, Metric]:
    """Returns the task's metrics by name; empty for a task that this version does not know."""
    return next((metrics for task, metrics in METRICS.items() if task.value == report.task), {})


def shown_metrics(report: RunReport) -> list[str]:
    """Returns the metrics that tables show, the leading one first and each one once."""
    return list(dict.fromkeys([report.gate.leading_metric, *report.metrics]))


def best_baseline(report: RunReport) -> Baseline | None:
    """Returns the baseline with the best leading metric on test; None where there is none."""
    leading = report.gate.leading_metric
    scored = [each for each in report.baselines if math.isfinite(each.test.get(leading, math.nan))]
    sign = -1.0 if _lower_is_better(report, leading) else 1.0
    return max(scored, key=lambda each: sign * each.test[leading], default=None)


def uncompressed(report: RunReport) -> VariantReport | None:
    """Returns the variant that the others are compared with; None where it was not scored."""
    return next((each for each in report.variants if each.name == "fp32"), None)


def _baseline_headline(report: RunReport, title: str, reached: float | None) -> Headline:
    best = best_baseline(report)
    if best is None or reached is None:
        return Headline("Against baselines", wording.ABSENT, "no baseline was scored")
    theirs = best.test[report.gate.leading_metric]
    return Headline(
        "Against the best baseline",
        wording.signed(reached - theirs),
        f"{title}; {best.name} reaches {wording.score(theirs)}",
        _tone(report, report.gate.leading_metric, reached - theirs),
    )


def _incumbent_headline(report: RunReport, title: str) -> Headline:
    incumbent = report.gate.incumbent
    if incumbent is None:
        return Headline("Against the incumbent", wording.ABSENT, "nothing was published before this run")
    label = f"Against v{incumbent}"
    row = next(
        (
            each
            for each in report.gate.rows
            if each.metric == report.gate.leading_metric and each.difference is not None
        ),
        None,
    )
    if row is None or row.difference is None:
        return Headline(label, wording.ABSENT, f"{title} was not compared; the gate table says why")
    tone = _tone(report, row.metric, row.difference)
    detail = f"{title}; v{incumbent} reaches {wording.score(row.incumbent)} on the same rows"
    if row.interval:
        detail = f"{title}, {wording.INTERVAL} {wording.interval(row.interval, sign=True)}"
        detail += f"; v{incumbent} reaches {wording.score(row.incumbent)} on the same rows"
        if row.interval[0] <= 0 <= row.interval[1]:
            tone, detail = "neutral", f"{detail}, no clear difference"
    return Headline(label, wording.signed(row.difference), detail, tone)


def _cost_headlines(selected: VariantReport, parent: VariantReport | None) -> list[Headline]:
    size, latency = selected.name, f"median; 95th percentile {wording.milliseconds(selected.latency_ms_p95)}"
    if parent is not None and parent.name != selected.name:
        smaller = selected.bytes <= parent.bytes
        ratio = (
            wording.times(parent.bytes, selected.bytes)
            if smaller
            else wording.times(selected.bytes, parent.bytes)
        )
        word = "smaller" if smaller else "larger"
        size += f", {ratio} {word} than {parent.name} ({wording.size(parent.bytes)})"
        fast, slow = sorted((selected.latency_ms_p50, parent.latency_ms_p50))
        word = "faster" if selected.latency_ms_p50 <= parent.latency_ms_p50 else "slower"
        latency += f"; {wording.times(slow, fast)} {word} than {parent.name}"
    else:
        size += ", the uncompressed model"
    return [
        Headline("Size of the weights", wording.size(selected.bytes), size),
        Headline("Latency of one row", wording.milliseconds(selected.latency_ms_p50), f"{latency}; one core"),
    ]


def _tone(report: RunReport, metric: str, difference: float) -> str:
    gain = -difference if _lower_is_better(report, metric) else difference
    return "good" if gain > 0 else "bad" if gain < 0 else "neutral"


def _lower_is_better(report: RunReport, metric: str) -> bool:
    known = catalogue(report).get(metric)
    return known is not None and known.direction is Direction.LOWER
