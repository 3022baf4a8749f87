"""Which variant the gate reads, and the words for it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal_api.metrics import CLASSIFICATION_METRICS, Metric
from anneal_api.spec.compression import Preference
from anneal_api.spec.evaluation import Evaluation, Gate
from anneal_api.tasks import Task
from anneal_trainer.evaluate.selection import TOLERANCE, Candidate, Choice, clears, select, shown_metrics

F1 = CLASSIFICATION_METRICS["f1"]
LOG_LOSS = CLASSIFICATION_METRICS["log_loss"]


def candidate(name: str, f1: float, *, size: int = 100, latency: float = 10.0, **metrics: float) -> Candidate:
    return Candidate(name, size * 1_000_000, latency, {"f1": f1, **metrics})


FP32 = candidate("fp32", 0.900, size=90, latency=7.0, accuracy=0.91)
INT8 = candidate("int8", 0.898, size=23, latency=3.0, accuracy=0.905)
SMALL = candidate("small", 0.895, size=12, latency=4.0, accuracy=0.895)
BROKEN = candidate("broken", 0.700, size=1, latency=1.0, accuracy=0.7)


def choose(
    *candidates: Candidate,
    leading: Metric = F1,
    max_drop: float = 0.01,
    prefer: Preference = Preference.SMALLEST,
    gates: list[Gate] | None = None,
) -> dict[str, Choice]:
    choices = select(
        candidates, uncompressed="fp32", leading=leading, max_drop=max_drop, prefer=prefer, gates=gates or []
    )
    assert [choice.name for choice in choices] == [each.name for each in candidates]
    assert sum(choice.selected for choice in choices) == 1
    return {choice.name: choice for choice in choices}


def chosen(choices: dict[str, Choice]) -> str:
    return next(choice.name for choice in choices.values() if choice.selected)


def bar(metric: str, **bars: float) -> Gate:
    return Gate(metric=metric, **bars)


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [(Preference.SMALLEST, "small"), (Preference.FASTEST, "int8"), (Preference.MOST_ACCURATE, "fp32")],
)
def test_preference_decides_among_the_good_enough(prefer: Preference, expected: str) -> None:
    choices = choose(FP32, INT8, SMALL, BROKEN, prefer=prefer)
    assert chosen(choices) == expected
    assert not choices["broken"].eligible
    assert "of 3 variants that are good enough on validation" in choices[expected].why


def test_reasons_are_said_in_words() -> None:
    choices = choose(FP32, INT8, SMALL, BROKEN)
    assert {name: choice.why for name, choice in choices.items()} == {
        "fp32": "the uncompressed model; small is smaller (12.0 MB against 90.0 MB)",
        "int8": "f1 is 0.0020 worse than fp32's on validation, within compression.maxDrop; "
        "small is smaller (12.0 MB against 23.0 MB)",
        "small": "f1 is 0.0050 worse than fp32's on validation, within compression.maxDrop; "
        "the smallest of 3 variants that are good enough on validation",
        "broken": "f1 is 0.2000 lower than fp32's on validation, more than compression.maxDrop 0.01",
    }
    assert [round(choice.drop, 9) for choice in choices.values()] == [0.0, 0.002, 0.005, 0.2]


def test_variants_that_clear_the_bars_on_validation_come_first() -> None:
    choices = choose(FP32, INT8, SMALL, gates=[bar("accuracy", min=0.9)])
    assert chosen(choices) == "int8"
    assert choices["small"].eligible
    assert choices["small"].why.endswith("on validation accuracy 0.8950 is not at least 0.9")


def test_the_most_accurate_is_read_where_none_clears_the_bars() -> None:
    choices = choose(FP32, INT8, SMALL, BROKEN, gates=[bar("f1", min=0.99)])
    assert chosen(choices) == "fp32"
    assert choices["fp32"].why == (
        "the uncompressed model; every variant misses a bar on validation; this is the most accurate one, "
        "and the gate decides on test"
    )
    assert choices["int8"].why.endswith("fp32 is more accurate (f1 0.9000 against 0.8980)")


def test_bars_against_the_incumbent_do_not_select() -> None:
    assert chosen(choose(FP32, INT8, gates=[bar("f1", versusIncumbent=0.5)])) == "int8"


def test_a_maximum_is_a_bar_too() -> None:
    variants = [candidate("fp32", 0.9, size=9, log_loss=0.2), candidate("int8", 0.9, size=2, log_loss=0.4)]
    choices = choose(*variants, gates=[bar("log_loss", max=0.3)])
    assert chosen(choices) == "fp32"
    assert choices["int8"].why.endswith("on validation log_loss 0.4000 is not at most 0.3")


def test_lower_is_better_turns_drops_around() -> None:
    variants = [
        candidate("fp32", 0.9, size=9, log_loss=0.200),
        candidate("better", 0.9, size=8, log_loss=0.190),
        candidate("worse", 0.9, size=1, log_loss=0.215),
    ]
    choices = choose(*variants, leading=LOG_LOSS)
    assert chosen(choices) == "better"
    assert [round(choice.drop, 9) for choice in choices.values()] == [0.0, -0.01, 0.015]
    assert choices["worse"].why == (
        "log_loss is 0.0150 higher than fp32's on validation, more than compression.maxDrop 0.01"
    )
    assert choices["better"].why.startswith("log_loss is 0.0100 better than fp32's")
    assert chosen(choose(*variants, leading=LOG_LOSS, prefer=Preference.MOST_ACCURATE)) == "better"


def test_a_drop_at_the_bound_is_within_it() -> None:
    # 0.9 - 0.89 is a little more than 0.01 in floating point.
    assert choose(FP32, candidate("edge", 0.89, size=1))["edge"].selected
    assert not choose(FP32, candidate("edge", 0.8899999, size=1))["edge"].eligible


def test_ties_go_to_the_smaller_one_and_then_by_name() -> None:
    even = {"f1": 0.9, "latency": 5.0}
    a, b, c = (candidate(name, size=size, **even) for name, size in (("a", 9), ("b", 8), ("c", 8)))
    choices = choose(candidate("fp32", 0.9, size=50, latency=6.0), a, b, c, prefer=Preference.FASTEST)
    assert chosen(choices) == "b"
    assert choices["a"].why.endswith("otherwise equal, b is smaller (8.0 MB against 9.0 MB)")
    assert choices["c"].why.endswith("equal to b, which comes first by name")


def test_the_uncompressed_model_is_chosen_where_it_is_alone() -> None:
    only = choose(FP32)["fp32"]
    assert (only.selected, only.drop) == (True, 0.0)
    assert only.why == "the uncompressed model; the only variant that is good enough on validation"
    assert "no other variant is left" in choose(FP32, BROKEN, gates=[bar("f1", min=0.95)])["fp32"].why


def test_a_variant_without_scores_is_never_chosen() -> None:
    choices = choose(FP32, candidate("nan", math.nan, size=1))
    assert chosen(choices) == "fp32"
    assert choices["nan"].why.startswith("its f1 on validation cannot be compared")


def test_a_model_without_scores_goes_to_the_gate_alone() -> None:
    assert chosen(choose(candidate("fp32", math.nan), candidate("int8", 0.9, size=1))) == "fp32"


@pytest.mark.parametrize(
    ("evaluation", "expected"),
    [
        (Evaluation(metrics=["accuracy", "f1"], gates=[bar("ece", max=0.1)]), ["accuracy", "f1", "ece"]),
        (Evaluation(gates=[bar("log_loss", max=1), bar("f1", min=0.1)]), ["log_loss", "f1"]),
        (Evaluation(), ["f1", "accuracy"]),
    ],
)
def test_the_leading_metric_is_shown_first(evaluation: Evaluation, expected: list[str]) -> None:
    assert shown_metrics(Task.TEXT_CLASSIFICATION, evaluation) == expected


SCORES = st.floats(0, 1) | st.just(math.nan)


@st.composite
def variants(draw: st.DrawFn) -> list[Candidate]:
    names = ["fp32", *draw(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6))]
    return [
        Candidate(
            name,
            draw(st.integers(1, 5)) * 1000,
            draw(st.sampled_from([1.0, 2.0, 3.0])),
            {"f1": draw(SCORES), "accuracy": draw(SCORES), "log_loss": draw(SCORES)},
        )
        for name in names
    ]


LEADING = st.sampled_from([F1, LOG_LOSS])
PREFER = st.sampled_from(list(Preference))
GATES = st.lists(
    st.builds(bar, st.sampled_from(["f1", "accuracy"]), min=st.floats(0, 1))
    | st.builds(bar, st.just("log_loss"), max=st.floats(0, 1)),
    max_size=3,
)


@settings(deadline=None, max_examples=200)
@given(variants(), LEADING, st.floats(0, 0.5), PREFER, GATES)
def test_what_is_chosen_is_eligible_and_clears_what_can_be_cleared(
    given_variants: list[Candidate], leading: Metric, max_drop: float, prefer: Preference, gates: list[Gate]
) -> None:
    choices = choose(*given_variants, leading=leading, max_drop=max_drop, prefer=prefer, gates=gates)
    by_name = {each.name: each for each in given_variants}
    picked = chosen(choices)
    assert choices[picked].eligible
    for name, choice in choices.items():
        assert choice.why
        within = choice.drop <= max_drop + TOLERANCE
        assert choice.eligible == (within or name == "fp32")
    qualified = {
        name
        for name, choice in choices.items()
        if choice.eligible and all(clears(gate, by_name[name].metrics[gate.metric]) for gate in gates)
    }
    assert not qualified or picked in qualified
    if qualified and prefer is Preference.SMALLEST:
        assert by_name[picked].bytes == min(by_name[name].bytes for name in qualified)


@settings(deadline=None, max_examples=100)
@given(variants(), LEADING, PREFER, GATES, st.randoms(use_true_random=False))
def test_the_order_of_the_variants_does_not_matter(
    given_variants: list[Candidate], leading: Metric, prefer: Preference, gates: list[Gate], chance: object
) -> None:
    shuffled = list(given_variants)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    options = {"leading": leading, "prefer": prefer, "gates": gates}
    first, second = choose(*given_variants, **options), choose(*shuffled, **options)  # type: ignore[arg-type]
    assert chosen(first) == chosen(second)
    assert {name: choice.eligible for name, choice in first.items()} == {
        name: choice.eligible for name, choice in second.items()
    }


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(list(CLASSIFICATION_METRICS.values())))
def test_a_gain_is_the_others_loss(ours: float, theirs: float, metric: Metric) -> None:
    assert metric.gain(ours, theirs) == -metric.gain(theirs, ours)
