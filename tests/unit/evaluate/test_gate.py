"""The gate lets through what clears every bar, and says why in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anneal_api.metrics import CLASSIFICATION_METRICS, Direction
from anneal_api.report import GateReport, GateRow, Verdict
from anneal_api.spec.evaluation import Gate
from anneal_trainer.evaluate.comparison import Incumbent
from anneal_trainer.evaluate.gate import read_gate, refusal
from anneal_trainer.evaluate.metrics import classification_metrics

Logits = NDArray[np.float32]
Gold = NDArray[np.int64]

LABELS = ["negative", "positive"]


def answers(right: int, rows: int, labels: int = 2) -> tuple[Logits, Gold]:
    """Logits of which the first `right` rows are right, and the right labels, evenly spread."""
    gold = np.arange(rows) % labels
    predicted = np.where(np.arange(rows) < right, gold, (gold + 1) % labels)
    return (4 * np.eye(labels, dtype=np.float32))[predicted], gold


def gate(metric: str = "accuracy", **bars: float) -> Gate:
    return Gate(metric=metric, **bars)


def incumbent_of(
    logits: Logits, *, labels: Sequence[str] = LABELS, comparable: NDArray[np.bool_] | None = None
) -> Incumbent:
    kept = np.ones(len(logits), dtype=bool) if comparable is None else comparable
    return Incumbent(version=3, labels=labels, logits=logits, comparable=kept)


def read(
    gates: Sequence[Gate],
    logits: Logits,
    gold: Gold,
    *,
    incumbent: Incumbent | None = None,
    labels: Sequence[str] = LABELS,
    leading: str = "accuracy",
) -> GateReport:
    report = read_gate(
        gates,
        selected="int8",
        logits=logits,
        gold=gold,
        labels=labels,
        leading=CLASSIFICATION_METRICS[leading],
        metrics=CLASSIFICATION_METRICS,
        incumbent=incumbent,
    )
    assert report.passed == all(row.verdict is not Verdict.FAILED for row in report.rows)
    # What the report says must survive being written down and read again.
    again = GateReport.model_validate_json(report.model_dump_json())
    assert [row.verdict for row in again.rows] == [row.verdict for row in report.rows]
    return report


def only_row(report: GateReport) -> GateRow:
    (row,) = report.rows
    return row


def test_a_score_above_its_bar_passes() -> None:
    report = read([gate(min=0.8)], *answers(95, 100))
    row = only_row(report)
    assert report.passed
    assert (row.verdict, row.bar, row.candidate, row.rows) == (Verdict.PASSED, 0.8, 0.95, 100)
    assert row.where == "spec.evaluation.gates[0]"
    assert row.rule == "at least 0.8"
    assert row.message == "accuracy 0.9500 is at least 0.8"


def test_a_score_below_its_bar_fails_and_says_so() -> None:
    report = read([gate(min=0.98)], *answers(900, 1000))
    assert not report.passed
    assert only_row(report).message == "accuracy 0.9000 is below 0.98"


def test_a_bar_inside_the_interval_is_called_noise() -> None:
    report = read([gate(min=0.96)], *answers(95, 100))
    assert only_row(report).verdict is Verdict.FAILED
    assert only_row(report).message.startswith(
        "accuracy 0.9500 is below 0.96, within noise (95 % interval 0.9"
    )


def test_a_score_at_its_bar_passes_whatever_its_last_bit_says() -> None:
    logits, gold = answers(70, 100)
    at_the_bar = classification_metrics(logits, gold)["accuracy"]
    for bar in (at_the_bar, 0.1 + 0.6, math.nextafter(at_the_bar, 1)):
        assert read([gate(min=bar), gate(max=bar)], logits, gold).passed
    assert not read([gate(min=at_the_bar + 1e-9)], logits, gold).passed


def test_numbers_that_differ_never_look_alike() -> None:
    logits, gold = answers(700, 1000)
    message = only_row(read([gate(min=0.70000001)], logits, gold)).message
    assert message.startswith("accuracy 0.70000000 is below 0.7")


def test_a_maximum_is_for_metrics_that_are_better_when_lower() -> None:
    logits, gold = answers(90, 100)
    report = read([gate("log_loss", max=0.1), gate("log_loss", max=0.9)], logits, gold)
    assert [row.verdict for row in report.rows] == [Verdict.FAILED, Verdict.PASSED]
    assert report.rows[0].direction is Direction.LOWER
    assert "is above 0.1" in report.rows[0].message
    assert report.rows[1].rule == "at most 0.9"


def test_the_first_version_has_no_incumbent_to_beat() -> None:
    report = read([gate(versusIncumbent=-0.005)], *answers(50, 100))
    row = only_row(report)
    assert report.passed
    assert report.incumbent is None
    assert row.verdict is Verdict.SKIPPED
    assert row.rule == "at most 0.005 below the incumbent"
    assert "nothing is published yet" in row.message
    assert row.candidate == 0.5


def test_a_worse_version_loses_against_the_incumbent() -> None:
    logits, gold = answers(871, 1000)
    theirs, _ = answers(884, 1000)
    report = read([gate(versusIncumbent=-0.005)], logits, gold, incumbent=incumbent_of(theirs))
    row = only_row(report)
    assert not report.passed
    assert report.incumbent == 3
    assert row.rule == "at most 0.005 below v3"
    assert row.message == (
        "accuracy 0.8710 is below the incumbent v3's 0.8840 - 0.005 "
        "(difference -0.0130, 95 % interval -0.0200 to -0.0060)"
    )
    assert row.bar == pytest.approx(0.879)
    assert row.difference == pytest.approx(-0.013)
    assert row.interval is not None
    assert row.interval[0] < row.difference < row.interval[1]


def test_a_loss_within_the_margin_passes_and_is_called_noise() -> None:
    logits, gold = answers(97, 100)
    theirs, _ = answers(98, 100)
    row = only_row(read([gate(versusIncumbent=-0.02)], logits, gold, incumbent=incumbent_of(theirs)))
    assert row.verdict is Verdict.PASSED
    assert row.message.startswith(
        "accuracy 0.9700 is at least the incumbent v3's 0.9800 - 0.02 (difference -0.0100"
    )
    assert row.message.endswith(", within noise)")


@pytest.mark.parametrize(("margin", "passed"), [(-0.01, True), (-0.0099, False), (0.0, False), (0.01, False)])
def test_the_margin_counts_from_the_incumbents_score(margin: float, passed: bool) -> None:
    logits, gold = answers(97, 100)
    theirs, _ = answers(98, 100)
    report = read([gate(versusIncumbent=margin)], logits, gold, incumbent=incumbent_of(theirs))
    assert report.passed is passed


@pytest.mark.parametrize("metric", list(CLASSIFICATION_METRICS))
def test_an_equal_version_is_exactly_at_a_margin_of_zero(metric: str) -> None:
    logits, gold = answers(83, 100)
    report = read(
        [gate(metric, versusIncumbent=0)], logits, gold, incumbent=incumbent_of(logits), leading=metric
    )
    row = only_row(report)
    assert report.passed
    assert (row.difference, row.interval) == (0.0, (0.0, 0.0))


def test_lower_is_better_turns_the_comparison_around() -> None:
    ours, gold = answers(90, 100)
    theirs, _ = answers(80, 100)
    gates = [gate("log_loss", versusIncumbent=0.01)]
    better = read(gates, ours, gold, incumbent=incumbent_of(theirs), leading="log_loss")
    worse = read(gates, theirs, gold, incumbent=incumbent_of(ours), leading="log_loss")
    assert (better.passed, worse.passed) == (True, False)
    assert only_row(better).rule == "at least 0.01 below v3"
    assert " is at most the incumbent v3's " in only_row(better).message
    assert " is above the incumbent v3's " in only_row(worse).message
    assert only_row(better).difference == pytest.approx(-only_row(worse).difference)  # type: ignore[operator]
    bar = only_row(better).bar
    assert bar == pytest.approx(only_row(better).incumbent - 0.01)  # type: ignore[operator]


def test_rows_that_the_incumbent_learned_from_are_left_out() -> None:
    logits, gold = answers(90, 100)
    theirs, _ = answers(60, 100)
    learned = np.arange(100) >= 40
    row = only_row(
        read([gate(versusIncumbent=0)], logits, gold, incumbent=incumbent_of(theirs, comparable=~learned))
    )
    assert (row.rows, row.candidate, row.incumbent) == (40, 1.0, 1.0)
    assert row.message.endswith("; 60 of 100 test rows left out, v3 was trained on the same texts")


def test_nothing_left_to_compare_on_fails_with_a_remedy() -> None:
    logits, gold = answers(90, 100)
    nothing = incumbent_of(logits, comparable=np.zeros(100, dtype=bool))
    report = read([gate(versusIncumbent=-1.0)], logits, gold, incumbent=nothing)
    row = only_row(report)
    assert not report.passed
    assert (row.rows, row.incumbent, row.interval) == (0, None, None)
    assert row.message == (
        "accuracy cannot be compared: v3 was trained on the text of every test row (100); "
        "give spec.data.test rows that v3 never saw"
    )
    assert read([], logits, gold, incumbent=nothing).passed


def test_labels_are_aligned_by_name() -> None:
    logits, gold = answers(80, 100)
    turned = incumbent_of(logits[:, ::-1].copy(), labels=LABELS[::-1])
    row = only_row(
        read([gate("log_loss", versusIncumbent=0)], logits, gold, incumbent=turned, leading="log_loss")
    )
    assert row.difference == pytest.approx(0, abs=1e-12)


def test_labels_that_the_incumbent_does_not_know_count_as_its_errors() -> None:
    labels = ["negative", "neutral", "positive"]
    logits, gold = answers(90, 90, labels=3)
    theirs = incumbent_of(logits[:, [0, 2]].copy(), labels=["negative", "positive"])
    gates = [gate(versusIncumbent=0), gate("log_loss", versusIncumbent=0)]
    report = read(gates, logits, gold, incumbent=theirs, labels=labels)
    first, second = report.rows
    assert first.incumbent == pytest.approx(60 / 90)
    assert first.message.endswith("; v3 does not know 'neutral' (30 rows), which counts as wrong")
    assert second.incumbent is not None
    assert math.isfinite(second.incumbent)
    assert second.incumbent > 10


def test_answers_that_only_the_incumbent_knows_are_wrong_and_dilute_no_mean() -> None:
    logits, gold = answers(100, 100)
    theirs = np.concatenate([logits, np.full((100, 1), -9, dtype=np.float32)], axis=1)
    theirs[:10, 2] = 9
    wider = incumbent_of(theirs, labels=[*LABELS, "spam"])
    rows = read([gate("f1", versusIncumbent=0), gate(versusIncumbent=0)], logits, gold, incumbent=wider).rows
    assert rows[0].candidate == 1.0
    assert rows[0].incumbent == pytest.approx(2 * 0.9 / 1.9)
    assert rows[1].incumbent == pytest.approx(0.9)


def test_without_a_bar_the_incumbent_is_shown_for_information() -> None:
    logits, gold = answers(50, 100)
    theirs, _ = answers(90, 100)
    report = read([gate(min=0.4)], logits, gold, incumbent=incumbent_of(theirs))
    shown = report.rows[1]
    assert report.passed
    assert (shown.where, shown.verdict, shown.bar) == ("", Verdict.SKIPPED, None)
    assert shown.difference == pytest.approx(-0.4)
    assert shown.interval is not None
    assert shown.message.startswith(
        "for information, no bar asks for it: accuracy 0.5000 against the incumbent v3's 0.9000 (difference -0.4000"
    )


def test_no_gates_and_no_incumbent_let_everything_through() -> None:
    report = read([], *answers(1, 100))
    assert report.passed
    assert report.rows == []


@pytest.mark.parametrize(
    "gates", [[], [gate(versusIncumbent=-1)], [gate(min=0.0), gate("log_loss", max=1e9)]]
)
@pytest.mark.parametrize("published", [True, False])
def test_a_model_whose_outputs_are_no_numbers_never_passes(gates: list[Gate], published: bool) -> None:
    logits, gold = answers(100, 100)
    broken = logits.copy()
    broken[7, 0] = math.nan
    report = read(gates, broken, gold, incumbent=incumbent_of(logits) if published else None)
    assert not report.passed
    assert report.rows[0].message.startswith("the outputs for 1 test row are not finite numbers")
    assert all(row.verdict is not Verdict.PASSED for row in report.rows)


def test_a_broken_incumbent_is_named_as_such() -> None:
    logits, gold = answers(90, 100)
    row = only_row(
        read([gate(versusIncumbent=0)], logits, gold, incumbent=incumbent_of(np.full_like(logits, math.inf)))
    )
    assert row.verdict is Verdict.FAILED
    assert row.message == "the incumbent v3 has no accuracy: its outputs are not all finite numbers"


def test_the_refusal_names_every_failure() -> None:
    logits, gold = answers(90, 100)
    theirs, _ = answers(99, 100)
    gates = [gate(min=0.99), gate("f1", min=0.1), gate("f1", versusIncumbent=0), gate("ece", max=0.0)]
    text = refusal(read(gates, logits, gold, incumbent=incumbent_of(theirs)))
    summary, *lines = text.splitlines()
    assert summary == "The variant int8 missed 3 of 4 bars. v3 stays the newest version."
    assert [line.split(":")[0].strip() for line in lines] == [
        f"spec.evaluation.gates[{n}]" for n in (0, 2, 3)
    ]
    assert "is below the incumbent v3's 0.9900" in lines[1]


def test_bars_stay_in_the_order_of_the_manifest() -> None:
    gates = [gate("f1", versusIncumbent=0), gate(min=0.1), gate("ece", max=1)]
    report = read(gates, *answers(90, 100))
    assert [row.metric for row in report.rows] == ["f1", "accuracy", "ece"]
    assert [row.where[-3:] for row in report.rows] == ["[0]", "[1]", "[2]"]


@st.composite
def two_models(draw: st.DrawFn) -> tuple[Logits, Logits, Gold]:
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = draw(st.integers(2, 40))
    gold = chance.integers(0, 2, rows)
    ours, theirs = (chance.normal(scale=3, size=(rows, 2)).astype(np.float32) for _ in range(2))
    return ours, theirs, gold


METRIC = st.sampled_from(list(CLASSIFICATION_METRICS))
BARS = st.lists(st.floats(-1, 1), min_size=2, max_size=5).map(sorted)


@settings(deadline=None, max_examples=30)
@given(two_models(), METRIC, BARS, st.sampled_from(["min", "max", "versusIncumbent"]))
def test_raising_a_bar_never_turns_a_failure_into_a_pass(
    models: tuple[Logits, Logits, Gold], metric: str, bars: list[float], kind: str
) -> None:
    ours, theirs, gold = models
    from_easy_to_hard = bars[::-1] if kind == "max" else bars
    gates = [gate(metric, **{kind: bar}) for bar in from_easy_to_hard]
    report = read(gates, ours, gold, incumbent=incumbent_of(theirs), leading=metric)
    passed = [row.verdict is Verdict.PASSED for row in report.rows[: len(gates)]]
    assert passed == sorted(passed, reverse=True)


@settings(deadline=None, max_examples=30)
@given(two_models(), METRIC, st.floats(-1, 1), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_no_verdict(
    models: tuple[Logits, Logits, Gold], metric: str, margin: float, chance: object
) -> None:
    ours, theirs, gold = models
    order = list(range(len(gold)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    gates = [gate(metric, versusIncumbent=margin), gate(metric, min=0.5)]
    before = read(gates, ours, gold, incumbent=incumbent_of(theirs))
    after = read(gates, ours[order], gold[order], incumbent=incumbent_of(theirs[order]))
    assert [row.verdict for row in before.rows] == [row.verdict for row in after.rows]
    assert [row.candidate for row in before.rows] == pytest.approx([row.candidate for row in after.rows])


@settings(deadline=None, max_examples=30)
@given(two_models(), METRIC)
def test_one_of_two_versions_is_never_worse_than_the_other(
    models: tuple[Logits, Logits, Gold], metric: str
) -> None:
    ours, theirs, gold = models
    gates = [gate(metric, versusIncumbent=0)]
    one = read(gates, ours, gold, incumbent=incumbent_of(theirs))
    other = read(gates, theirs, gold, incumbent=incumbent_of(ours))
    assert one.passed or other.passed
    assert one.rows[0].difference == pytest.approx(-other.rows[0].difference)  # type: ignore[operator]
