# ruff: noqa: RUF001
from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from anneal_api.report import CalibrationBin
from anneal_trainer.publish import charts
from anneal_trainer.publish.svg import tick_labels, ticks

finite = st.floats(-1e9, 1e9, allow_subnormal=False)


def parsed(svg: Markup) -> ET.Element:
    root = ET.fromstring(svg)
    assert root.tag == "svg"
    return root


def texts(svg: Markup) -> list[str]:
    return [each.text or "" for each in parsed(svg).iter("text")]


def numbers(root: ET.Element, tag: str, attribute: str) -> list[float]:
    return [float(each.get(attribute, "nan")) for each in root.iter(tag)]


def curve(series: list[charts.Series], mark: charts.Mark | None = None) -> Markup:
    return charts.line_chart("k", "Loss", "It falls.", series, x_label="step", y_label="loss", mark=mark)


def bin_of(lower: float, rows: int, confidence: float, accuracy: float) -> CalibrationBin:
    values = {
        "lower": lower,
        "upper": lower + 0.1,
        "rows": rows,
        "confidence": confidence,
        "accuracy": accuracy,
    }
    return CalibrationBin.model_validate(values)


@given(low=finite, width=st.floats(1e-6, 1e9))
def test_ticks_enclose_the_range_evenly_and_stay_few(low: float, width: float) -> None:
    high = low + width
    found = ticks(low, high)
    step = found[1] - found[0]
    assert 2 <= len(found) <= 8
    assert found[0] <= low + step * 1e-3 < high + step
    assert found[-1] >= high - step * 1e-3


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0, 2e-5, ["0", "5e-6", "1e-5", "1.5e-5", "2e-5"]),
        (0, 40_000, ["0", "10k", "20k", "30k", "40k"]),
    ],
)
def test_ticks_are_numbers_that_people_would_write(low: float, high: float, expected: list[str]) -> None:
    assert tick_labels(ticks(low, high)) == expected


def test_scores_that_differ_by_rounding_alone_can_be_drawn() -> None:
    svg = curve([charts.Series("f1", [(1, 0.9), (2, math.nextafter(0.9, 1))])])
    assert len(set(texts(svg))) > 4


def test_epochs_have_whole_numbers_on_the_axis() -> None:
    assert ticks(1, 3, whole=True) == [1, 2, 3]


def test_every_chart_says_what_it_shows() -> None:
    svg = curve([charts.Series("loss", [(1, 0.7), (2, 0.3)])])
    root = parsed(svg)
    named = {each.get("id"): each.text for each in root if each.tag in {"title", "desc"}}
    assert named == {"k-title": "Loss", "k-description": "It falls."}
    assert root.get("role") == "img"
    assert (root.get("aria-labelledby") or "").split() == list(named)


def test_a_line_chart_draws_every_series_and_names_the_best_epoch() -> None:
    series = [
        charts.Series("logged", [(x, 1 / (x + 1)) for x in range(50)], "faint"),
        charts.Series("validation", [(10, 0.4), (20, 0.2)], "dots"),
    ]
    svg = curve(series, charts.Mark(20, 0.2, "best: epoch 2"))
    assert [each.get("class") for each in parsed(svg).iter("path")] == ["line faint", "line dots"]
    assert {"logged", "validation", "best: epoch 2", "step", "loss"} <= set(texts(svg))


@pytest.mark.parametrize("points", [[], [(1.0, math.nan)], [(1.0, math.inf), (2.0, -math.inf)]])
def test_a_curve_without_a_finite_point_is_not_drawn(points: list[tuple[float, float]]) -> None:
    assert curve([charts.Series("loss", points)]) == ""


def test_a_diverged_step_is_left_out_of_the_curve() -> None:
    svg = curve([charts.Series("loss", [(1, 0.5), (2, math.nan), (3, 0.4), (4, math.inf)])])
    assert "nan" not in svg.lower()
    assert "inf" not in svg.lower()
    assert "M" in svg


def test_one_point_makes_a_chart() -> None:
    root = parsed(curve([charts.Series("loss", [(7, 0.5)])]))
    assert len(list(root.iter("circle"))) == 1


def test_a_long_run_is_thinned_without_losing_its_spike() -> None:
    points = [(float(step), 0.1) for step in range(20_000)]
    points[12_345] = (12_345.0, 9.0)
    svg = curve([charts.Series("loss", points)])
    heights = [
        float(pair.split(",")[1]) for pair in next(parsed(svg).iter("path")).attrib["d"][1:].split("L")
    ]
    assert len(heights) <= 600
    assert min(heights) < min(sorted(heights)[1:]), "the spike is the one point far above the others"


@given(
    values=st.lists(finite, min_size=1, max_size=40),
    style=st.sampled_from(["line", "faint", "dots"]),
)
def test_lines_stay_inside_the_picture(values: list[float], style: str) -> None:
    series = charts.Series("s", list(enumerate(values)), style)  # type: ignore[arg-type]
    root = parsed(curve([series]))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for path in root.iter("path"):
        for pair in path.attrib["d"][1:].split("L"):
            x, y = map(float, pair.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_longer_bars_stand_for_larger_values_and_show_their_numbers() -> None:
    bars = [charts.Bar("this model", 0.9, (0.88, 0.92), leading=True), charts.Bar("majority", 0.45)]
    svg = charts.bar_chart("k", "F1", "Scores.", bars, high=1.0)
    root = parsed(svg)
    widths = {each.get("class"): float(each.attrib["width"]) for each in root.iter("rect")}
    assert widths["bar-fill strong"] == pytest.approx(2 * widths["bar-fill plain"], abs=0.05)
    assert {"this model", "0.9000", "majority", "0.4500"} <= set(texts(svg))
    assert sum(each.get("class") == "whisker" for each in root.iter("line")) == 3


def test_bars_without_values_are_not_drawn() -> None:
    assert charts.bar_chart("k", "F1", "Scores.", [charts.Bar("model", math.nan)]) == ""


@pytest.mark.parametrize(("higher", "side"), [(True, "left"), (False, "right")])
def test_the_failing_side_of_a_bar_is_shaded(higher: bool, side: str) -> None:
    svg = charts.interval_plot(
        "k", "Difference", value=0.0, interval=(-0.02, 0.02), bar=-0.005, zero=True, higher_is_better=higher
    )
    root = parsed(svg)
    zone = next(each for each in root.iter("rect") if each.get("class") == "fail-zone")
    bar = next(each for each in root.iter("line") if each.get("class") == "bar-line")
    start, end = float(zone.attrib["x"]), float(zone.attrib["x"]) + float(zone.attrib["width"])
    assert (end if side == "left" else start) == pytest.approx(float(bar.attrib["x1"]), abs=0.02)
    assert "bar −0.005" in texts(svg)


def test_interval_plot_keeps_the_order_of_its_numbers() -> None:
    svg = charts.interval_plot(
        "k", "Score", value=0.91, interval=(0.89, 0.93), bar=0.88, zero=False, higher_is_better=True
    )
    root = parsed(svg)
    lines = {each.get("class"): each for each in root.iter("line")}
    whiskers = sorted(
        x for each in root.iter("line") if each.get("class") == "whisker" for x in [float(each.attrib["x1"])]
    )
    dot = numbers(root, "circle", "cx")[0]
    assert float(lines["bar-line"].attrib["x1"]) < whiskers[0] < dot < float(lines["whisker"].attrib["x2"])


def test_reliability_diagram_draws_filled_bins_only() -> None:
    bins = [bin_of(0.5, 10, 0.55, 0.5), bin_of(0.6, 0, 0.0, 0.0), bin_of(0.9, 40, 0.95, 0.97)]
    root = parsed(charts.reliability_diagram("k", "Calibration", "Fine.", bins))
    assert len(list(root.iter("circle"))) == 2
    heights = numbers(root, "rect", "height")
    assert heights[1] == pytest.approx(4 * heights[0], rel=0.01)


def test_calibration_is_put_into_words() -> None:
    sure = charts.describe_calibration([bin_of(0.9, 100, 0.95, 0.7)])
    modest = charts.describe_calibration([bin_of(0.5, 100, 0.55, 0.9)])
    assert "surer than it is right" in sure
    assert "right more often than it is sure" in modest
    assert charts.reliability_diagram("k", "t", "d", []) == ""


def test_smoothing_keeps_a_constant_and_follows_a_change() -> None:
    flat = charts.smoothed([(float(x), 0.5) for x in range(10)])
    assert [y for _, y in flat] == pytest.approx([0.5] * 10)
    step = charts.smoothed([(float(x), 0.0 if x < 50 else 1.0) for x in range(100)])
    assert step[49][1] == 0
    assert 0.9 < step[-1][1] <= 1


def test_hostile_names_stay_text() -> None:
    name = "</text><script>alert(1)</script>\x00"
    svg = charts.bar_chart("k", name, name, [charts.Bar(name, 0.5)])
    assert not list(parsed(svg).iter("script"))
    assert any("<script>" in each for each in texts(svg))
