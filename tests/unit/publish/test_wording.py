# ruff: noqa: RUF001
from __future__ import annotations

import math

import pytest

from anneal_trainer.publish import wording


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (wording.score(0.91284567), "0.9128"),
        (wording.score(math.nan), "–"),
        (wording.score(None), "–"),
        (wording.signed(-0.00421), "−0.0042"),
        (wording.signed(0.0), "0"),
        (wording.interval((-0.001, 0.025), sign=True), "−0.0010 to +0.0250"),
        (wording.percent(0.0004), "<\N{NO-BREAK SPACE}0.1\N{NO-BREAK SPACE}%"),
        (wording.percent(1.0), "100\N{NO-BREAK SPACE}%"),
        (wording.size(812), "812 B"),
        (wording.size(23_041_912), "23.0 MB"),
        (wording.size(999_999), "1.00 MB"),
        (wording.milliseconds(2.93123), "2.93 ms"),
        (wording.milliseconds(123.4), "123 ms"),
        (wording.duration(0.42), "0.4 s"),
        (wording.duration(219.4), "3 min 39 s"),
        (wording.duration(3599.7), "1 h 00 min"),
        (wording.times(90.8, 23.0), "3.9×"),
        (wording.rate(2e-5), "2e-5"),
        (wording.rate(0.01), "0.01"),
        (wording.plural(1, "bar"), "1 bar"),
        (wording.plural(1200, "row"), "1,200 rows"),
        (wording.moment("2026-03-02T15:03:11+01:00"), "2 March 2026, 14:03 UTC"),
        (wording.moment("yesterday"), "yesterday"),
        (wording.metric_title("f1"), "F1 (macro)"),
        (wording.metric_title("exact_match"), "Exact match"),
    ],
)
def test_values_are_written_for_people(written: str, expected: str) -> None:
    assert written == expected


def test_a_score_just_below_its_bar_does_not_look_equal_to_it() -> None:
    assert wording.score(0.91297, beside=0.913) == "0.91297"
    assert wording.score(0.913, beside=0.913) == "0.9130"


def test_characters_that_break_or_disguise_a_text_are_replaced() -> None:
    assert wording.printable("a\x00b\x1bc\ud800d\u202ee \n f") == "a�b�c�d�e f"
