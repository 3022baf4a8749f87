"""The report's charts, each with its title: which numbers of a run are drawn, and how."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from anneal_api.metrics import Direction
from anneal_api.report import GateRow, RunReport, TrainingRecord
from anneal_trainer.publish import charts, wording
from anneal_trainer.publish.verdict import catalogue, shown_metrics


@dataclass(frozen=True, slots=True)
class GateLine:
    """A line of the gate table with its plot."""

    row: GateRow
    plot: Markup
    plotted: str


def gate_lines(report: RunReport) -> list[GateLine]:
    """Returns the gate's lines with what can be drawn of each: a difference, or the score against its bar."""
    lines = []
    for index, row in enumerate(report.gate.rows):
        key, higher = f"gate-{index}", row.direction is Direction.HIGHER
        plot, plotted = Markup(""), ""
        score_ends = report.test.intervals.get(row.metric)
        if row.difference is not None and row.interval is not None:
            bar = row.bar - row.incumbent if row.bar is not None and row.incumbent is not None else None
            plotted = f"{wording.signed(row.difference)} ({wording.interval(row.interval, sign=True)})"
            plot = charts.interval_plot(
                key,
                f"{wording.metric_title(row.metric)}: candidate minus incumbent {plotted}.",
                value=row.difference,
                interval=row.interval,
                bar=bar,
                zero=True,
                higher_is_better=higher,
            )
        elif row.bar is not None and score_ends is not None and row.rows == report.test.rows:
            plotted = f"score {wording.score(row.candidate)} ({wording.interval(score_ends)})"
            plot = charts.interval_plot(
                key,
                f"{wording.metric_title(row.metric)}: {plotted} against a bar of {wording.score(row.bar)}.",
                value=row.candidate,
                interval=score_ends,
                bar=row.bar,
                zero=False,
                higher_is_better=higher,
            )
        lines.append(GateLine(row, plot, plotted))
    return lines


def baseline_charts(report: RunReport) -> list[tuple[str, Markup]]:
    """Returns a title and a bar chart for each shown metric: the model above the baselines, on test."""
    drawn = []
    for name in shown_metrics(report):
        if name not in report.test.metrics:
            continue
        scored = [each for each in report.baselines if name in each.test]
        bars = [
            charts.Bar(
                "this model", report.test.metrics[name], report.test.intervals.get(name), leading=True
            ),
            *(charts.Bar(each.name, each.test[name], each.intervals.get(name)) for each in scored),
        ]
        title = wording.metric_title(name)
        values = "; ".join(f"{bar.name} {wording.score(bar.value)}" for bar in bars)
        known = catalogue(report).get(name)
        is_share = known is not None and known.direction is Direction.HIGHER
        chart = charts.bar_chart(
            f"baseline-{name}", f"{title} on the test rows", values, bars, high=1.0 if is_share else None
        )
        better = f"{known.direction.value} is better" if known else ""
        drawn.append((f"{title}, {better}" if better else title, chart))
    return [(title, chart) for title, chart in drawn if chart]


def learning_curves(report: RunReport) -> list[tuple[str, Markup]]:
    """Returns a title and a chart each for loss, validation score, learning rate and gradient norm."""
    training = report.training
    metric = training.selection_metric
    title = wording.metric_title(metric)
    losses = [(float(point.step), point.loss) for point in training.loss_curve]
    scores = [(float(each.epoch), each.metrics[metric]) for each in training.epochs if metric in each.metrics]
    best = next((each for each in training.epochs if each.epoch == training.best_epoch), None)
    mark = None
    if best is not None and metric in best.metrics:
        text = f"best: epoch {best.epoch}, {wording.score(best.metrics[metric])}"
        mark = charts.Mark(best.epoch, best.metrics[metric], text)
    found = [
        ("Loss", _loss_chart(training, losses)),
        (
            f"{title} on validation",
            charts.line_chart(
                "curve-score",
                f"{title} on the validation rows at the end of each epoch",
                _ends(scores, "epoch") + (f" The {mark.label}." if mark else ""),
                [charts.Series(title, scores, "dots")],
                x_label="epoch",
                y_label=title,
                mark=mark,
            ),
        ),
    ]
    rates = [point.learning_rate for point in training.loss_curve]
    norms = [point.grad_norm for point in training.loss_curve]
    for key, name, unit, values in (
        ("curve-rate", "Learning rate of the head", "learning rate", rates),
        ("curve-norm", "Gradient norm before clipping", "L2 norm", norms),
    ):
        points = [(float(p.step), value) for p, value in zip(training.loss_curve, values, strict=True)]
        chart = charts.line_chart(
            key,
            f"{name} per step",
            _ends(points, "step"),
            [charts.Series(name, points)],
            x_label="step",
            y_label=unit,
            from_zero=True,
        )
        found.append((name, chart))
    return [(name, chart) for name, chart in found if chart]


def reliability(report: RunReport) -> Markup:
    """Returns the reliability diagram of the test rows."""
    return charts.reliability_diagram(
        "reliability",
        "Accuracy against confidence on the test rows",
        charts.describe_calibration(report.test.calibration),
        report.test.calibration,
    )


def _loss_chart(training: TrainingRecord, losses: list[tuple[float, float]]) -> Markup:
    series = [charts.Series("logged", losses, "faint"), charts.Series("smoothed", charts.smoothed(losses))]
    held_out = [
        (float(each.step), each.metrics["log_loss"]) for each in training.epochs if "log_loss" in each.metrics
    ]
    if held_out:
        series.append(charts.Series("validation", held_out, "dots"))
    return charts.line_chart(
        "curve-loss",
        "Training loss per step",
        _ends(series[1].points, "step"),
        series,
        x_label="step",
        y_label="mean loss per row",
        from_zero=True,
    )


def _ends(points: Sequence[tuple[float, float]], unit: str) -> str:
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    if not finite:
        return "No values."
    (first, start), (last, end) = finite[0], finite[-1]
    return f"From {start:.4g} at {unit} {first:g} to {end:.4g} at {unit} {last:g}."
