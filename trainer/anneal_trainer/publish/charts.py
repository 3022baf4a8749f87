"""The report's charts: pure functions from numbers to inline SVG.

Charts are 340 or 420 units wide: small enough to be read on a phone, where they fill the screen, and drawn
larger on a desk. Colors are classes that the page's style sheet fills, so that charts follow light, dark and
print. Each has a title and a description for screen readers, and no meaning hangs on color alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from anneal_api.report import CalibrationBin
from anneal_trainer.publish.svg import Canvas, Scale, compact, tick_labels, ticks, widened
from anneal_trainer.publish.wording import plural, score, shortened

_WIDTH = 420.0
_BARS_WIDTH = 340.0
_LABEL_ROOM = 62.0
_MOST_POINTS = 300


@dataclass(frozen=True, slots=True)
class Series:
    """A line of a chart.

    Attributes:
        name: What it shows, for the legend.
        points: x and y, by rising x; points that are not finite are left out.
        style: `line`, `faint` (a line in the background) or `dots` (a dashed line with a dot at each point).
    """

    name: str
    points: Sequence[tuple[float, float]]
    style: Literal["line", "faint", "dots"] = "line"


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of a chart that is named: a vertical line with a word beside it."""

    x: float
    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a chart: a value from 0, with its 95 % interval where there is one."""

    name: str
    value: float
    interval: tuple[float, float] | None = None
    leading: bool = False


def line_chart(
    key: str,
    title: str,
    description: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    mark: Mark | None = None,
    from_zero: bool = False,
) -> Markup:
    """Draws lines over a common x axis.

    Args:
        key: Prefix of the ids inside; unique in the page.
        title: Names the chart for screen readers.
        description: Says what can be seen in it.
        series: The lines; the background ones first.
        x_label: Quantity and unit of x, which is a count: its ticks are whole numbers.
        y_label: Quantity and unit of y.
        mark: A point to name.
        from_zero: Whether the y axis starts at 0.

    Returns:
        The SVG element; empty where no point is finite.
    """
    drawn = [Series(each.name, _thinned(_finite(each.points)), each.style) for each in series]
    drawn = [each for each in drawn if each.points]
    if not drawn:
        return Markup("")
    height, legend = 260.0, 22.0 if len(drawn) > 1 else 0.0
    left, right, top, bottom = 56.0, _WIDTH - 12.0, 24.0 + legend, height - 40.0
    xs = [x for each in drawn for x, _ in each.points]
    ys = [y for each in drawn for _, y in each.points] + ([0.0] if from_zero else [])
    y_ticks = ticks(min(ys), max(ys))
    x_ticks = [tick for tick in ticks(min(xs), max(xs), whole=True) if min(xs) <= tick <= max(xs)]
    x = Scale(*widened(min(xs), max(xs)), left + 6, right - 6)
    y = Scale(y_ticks[0], y_ticks[-1], bottom, top)

    canvas = Canvas(key, title, description, _WIDTH, height)
    canvas.text(left - 48, 12, y_label, "axis-label")
    _draw_y_axis(canvas, y, y_ticks, left, right)
    canvas.line(left, bottom, right, bottom, "axis")
    for tick, label in zip(x_ticks, tick_labels(x_ticks), strict=True):
        canvas.line(x(tick), bottom, x(tick), bottom + 4, "axis")
        canvas.text(x(tick), bottom + 17, label, "tick", anchor="middle")
    canvas.text((left + right) / 2, height - 4, x_label, "axis-label", anchor="middle")
    if legend:
        _draw_legend(canvas, drawn, left, 32)
    for each in drawn:
        track = [(x(px), y(py)) for px, py in each.points]
        canvas.path(track, f"line {each.style}")
        if each.style == "dots" or len(track) == 1:
            for px, py in track:
                canvas.dot(px, py, 3.5, f"dot {each.style}")
    if mark is not None and math.isfinite(mark.y):
        canvas.line(x(mark.x), top, x(mark.x), bottom, "mark")
        canvas.dot(x(mark.x), y(mark.y), 5.5, "dot mark-dot")
        at_right = x(mark.x) > (left + right) / 2
        below = y(mark.y) < (top + bottom) / 2
        canvas.text(
            x(mark.x) + (-8 if at_right else 8),
            bottom - 10 if below else top + 14,
            mark.label,
            "value",
            anchor="end" if at_right else "start",
        )
    return canvas.markup()


def bar_chart(
    key: str, title: str, description: str, bars: Sequence[Bar], *, high: float | None = None
) -> Markup:
    """Draws horizontal bars from 0, each under its name and value, with whiskers for intervals.

    The interval of the leading bar is repeated behind the others as a band, to compare them with.

    Args:
        key: Prefix of the ids inside; unique in the page.
        title: Names the chart for screen readers.
        description: Says what can be seen in it.
        bars: The bars, first one on top.
        high: End of the axis; absent: a round number above the longest bar.

    Returns:
        The SVG element; empty where no value is finite.
    """
    drawn = [bar for bar in bars if math.isfinite(bar.value)]
    if not drawn:
        return Markup("")
    row, left, right, top = 38.0, 8.0, _BARS_WIDTH - 12.0, 6.0
    bottom = top + row * len(drawn) + 4
    ends = [end for bar in drawn for end in (bar.value, *(bar.interval or ()))]
    axis_ticks = ticks(min(0.0, *ends), high if high is not None else max(*ends, 1e-9))
    x = Scale(axis_ticks[0], axis_ticks[-1], left, right)
    canvas = Canvas(key, title, description, _BARS_WIDTH, bottom + 22)
    for tick, label in zip(axis_ticks, tick_labels(axis_ticks), strict=True):
        canvas.line(x(tick), top, x(tick), bottom, "grid")
        canvas.text(x(tick), bottom + 16, label, "tick", anchor="middle")
    bands = [bar.interval for bar in drawn if bar.leading and bar.interval]
    for index, bar in enumerate(drawn):
        y = top + row * index
        for low, end in bands:
            canvas.rect(x(low), y + 17, max(x(end) - x(low), 1), 18, "band")
        kind = "strong" if bar.leading else "plain"
        canvas.text(left, y + 14, shortened(bar.name, 36), f"bar-name {kind}")
        canvas.text(right, y + 14, score(bar.value), f"bar-value {kind}", anchor="end")
        canvas.rect(x(0), y + 20, x(bar.value) - x(0), 12, f"bar-fill {kind}", radius=2)
        if bar.interval:
            _draw_whisker(canvas, x(bar.interval[0]), x(bar.interval[1]), y + 26, 5)
    return canvas.markup()


def interval_plot(
    key: str,
    title: str,
    *,
    value: float,
    interval: tuple[float, float],
    bar: float | None,
    zero: bool,
    higher_is_better: bool,
) -> Markup:
    """Draws a value with its interval against the bar that it had to clear; the failing side is hatched.

    Args:
        key: Prefix of the ids inside; unique in the page.
        title: Says in words what is drawn.
        value: The score, or a difference of scores.
        interval: Its 95 % interval.
        bar: The least (or most) that passes, in the same unit; absent where nothing was asked.
        zero: Whether 0 is drawn as the line of no difference.
        higher_is_better: Which side of the bar passes.

    Returns:
        The SVG element; empty where a number is not finite.
    """
    lines = [*([bar] if bar is not None else []), *([0.0] if zero else [])]
    if not all(math.isfinite(each) for each in (value, *interval, *lines)):
        return Markup("")
    width, height, middle, foot = 190.0, 46.0, 15.0, 30.0
    low, high = widened(min(value, *interval, *lines), max(value, *interval, *lines), share=0.12)
    x = Scale(low, high, 4, width - 4)
    canvas = Canvas(key, title, title, width, height)
    canvas.root.set("class", "chart small")
    if bar is not None:
        start, end = (4.0, x(bar)) if higher_is_better else (x(bar), width - 4)
        canvas.rect(start, 2, end - start, foot - 2, "fail-zone")
        canvas.line(x(bar), 0, x(bar), foot, "bar-line")
        _place_label(canvas, x(bar), 42, f"bar {_short_number(bar)}", width)
    if zero:
        canvas.line(x(0), 2, x(0), foot, "zero-line")
        if bar is None or abs(x(bar) - x(0)) > _LABEL_ROOM:
            _place_label(canvas, x(0), 42, "0", width)
    canvas.line(4, foot, width - 4, foot, "axis")
    _draw_whisker(canvas, x(interval[0]), x(interval[1]), middle, 6)
    canvas.dot(x(value), middle, 4.5, "dot mark-dot")
    return canvas.markup()


def reliability_diagram(key: str, title: str, description: str, bins: Sequence[CalibrationBin]) -> Markup:
    """Draws accuracy against confidence, with the number of answers per bin below.

    Args:
        key: Prefix of the ids inside; unique in the page.
        title: Names the chart for screen readers.
        description: Says what can be seen in it.
        bins: The answers by confidence; empty bins are left out.

    Returns:
        The SVG element; empty where there are no answers.
    """
    filled = [each for each in bins if each.rows > 0]
    if not filled:
        return Markup("")
    left, right, top, bottom = 56.0, _WIDTH - 12.0, 24.0, 264.0
    low_bars, bars_top, height = 352.0, 296.0, 394.0
    start = math.floor(min(each.lower for each in filled) * 10 + 1e-9) / 10
    x, y = Scale(start, 1, left, right), Scale(0, 1, bottom, top)
    x_ticks = [tick for tick in ticks(start, 1) if start - 1e-9 <= tick <= 1 + 1e-9]
    canvas = Canvas(key, title, description, _WIDTH, height)
    canvas.text(left - 48, 12, "share that is right", "axis-label")
    _draw_y_axis(canvas, y, ticks(0, 1), left, right)
    canvas.line(left, bottom, right, bottom, "axis")
    canvas.path([(x(start), y(start)), (x(1), y(1))], "line ideal")
    for each in filled:
        canvas.line(x(each.confidence), y(each.confidence), x(each.confidence), y(each.accuracy), "gap")
    canvas.path([(x(each.confidence), y(each.accuracy)) for each in filled], "line line-main")
    for each in filled:
        canvas.dot(x(each.confidence), y(each.accuracy), 4, "dot line-main")
    canvas.text(right - 6, bottom - 10, "dashed: confidence = accuracy", "tick", anchor="end")

    most = max(each.rows for each in filled)
    canvas.text(left - 48, bars_top - 10, "answers", "axis-label")
    canvas.text(left - 8, bars_top + 5, compact(most), "tick", anchor="end")
    canvas.text(left - 8, low_bars + 4, "0", "tick", anchor="end")
    canvas.line(left, bars_top, right, bars_top, "grid")
    for each in filled:
        tall = max((low_bars - bars_top) * each.rows / most, 1)
        canvas.rect(
            x(each.lower) + 1, low_bars - tall, x(each.upper) - x(each.lower) - 2, tall, "bar-fill plain"
        )
    canvas.line(left, low_bars, right, low_bars, "axis")
    for tick, label in zip(x_ticks, tick_labels(x_ticks), strict=True):
        canvas.line(x(tick), low_bars, x(tick), low_bars + 4, "axis")
        canvas.text(x(tick), low_bars + 17, label, "tick", anchor="middle")
    canvas.text((left + right) / 2, height - 4, "confidence of the answer", "axis-label", anchor="middle")
    return canvas.markup()


def describe_calibration(bins: Sequence[CalibrationBin]) -> str:
    """Returns what the reliability diagram shows, in a sentence: the gap that weighs most."""
    filled = [each for each in bins if each.rows > 0]
    if not filled:
        return "There are no answers to draw."
    widest = max(filled, key=lambda each: each.rows * abs(each.confidence - each.accuracy))
    side = (
        "surer than it is right"
        if widest.confidence > widest.accuracy
        else "right more often than it is sure"
    )
    return (
        f"What weighs most: among the {plural(widest.rows, 'answer')} with a confidence of "
        f"{widest.lower:.2f} to {widest.upper:.2f} the model is {side} (mean confidence "
        f"{widest.confidence:.3f}, accuracy {widest.accuracy:.3f})."
    )


def smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns the points with y as an exponential moving average.

    It is corrected for its start (arXiv 1412.6980, section 3) and reaches over a twentieth of the points, but
    never fewer than five.
    """
    kept = _finite(points)
    decay = 1 - 2 / (max(5.0, len(kept) / 20) + 1)
    average, weight = 0.0, 0.0
    result = []
    for x, y in kept:
        average = decay * average + (1 - decay) * y
        weight = decay * weight + (1 - decay)
        result.append((x, average / weight))
    return result


def _draw_y_axis(canvas: Canvas, y: Scale, values: Sequence[float], left: float, right: float) -> None:
    for value, label in zip(values, tick_labels(values), strict=True):
        canvas.line(left, y(value), right, y(value), "grid")
        canvas.text(left - 8, y(value) + 4, label, "tick", anchor="end")


def _draw_legend(canvas: Canvas, series: Sequence[Series], left: float, y: float) -> None:
    x = left
    for each in series:
        canvas.line(x, y - 4, x + 20, y - 4, f"line {each.style}")
        if each.style == "dots":
            canvas.dot(x + 10, y - 4, 3.5, "dot dots")
        canvas.text(x + 26, y, each.name, "tick")
        x += 26 + 6.4 * len(each.name) + 14


def _draw_whisker(canvas: Canvas, start: float, end: float, y: float, reach: float) -> None:
    canvas.line(start, y, end, y, "whisker")
    for x in (start, end):
        canvas.line(x, y - reach, x, y + reach, "whisker")


def _place_label(canvas: Canvas, x: float, y: float, text: str, width: float) -> None:
    half = 3.3 * len(text)
    canvas.text(min(max(x, half + 2), width - half - 2), y, text, "tick", anchor="middle")


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Keeps the lowest and highest point of each stretch: no spike is lost and the page stays small."""
    if len(points) <= _MOST_POINTS:
        return points
    stretch = math.ceil(2 * len(points) / _MOST_POINTS)
    kept = []
    for start in range(0, len(points), stretch):
        part = points[start : start + stretch]
        ends = {min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])}
        kept.extend(sorted(ends))
    return kept


def _short_number(value: float) -> str:
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    if value and not float(text):
        text = f"{value:.1e}"
    return text.replace("-", "\N{MINUS SIGN}")
