"""Labels that mean the same and are written differently: their author is told, with both forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_trainer.data.label_forms import form_of, quoted, same_among, same_labels

SAME = [
    ("1", "1.0"),
    ("1", "01"),
    ("1", "1e0"),
    ("1", "+1"),
    ("0", "-0.0"),
    ("-1", "\u22121"),
    ("0.5", ".50"),
    ("pos", "Pos"),
    ("very good", "very  good"),
    ("very good", "very\u00a0good"),
    ("caf\u00e9", "cafe\u0301"),
    ("A1", "\uff21\uff11"),
    ("pos", "pos\u200b"),
    ("pos", "\ufeffpos"),
    ("posi", "po\u00adsi"),
    ("pos", "pos\u2060"),
    ("pos", "\u200epos"),
    ("pos", "pos\x07"),
    ("non-toxic", "non\u2011toxic"),
    ("non-toxic", "non\u2013toxic"),
    ("non-toxic", "non_toxic"),
    ("non toxic", "NON_TOXIC"),
    ("can't", "can\u2019t"),
    ("\u201cyes\u201d", '"yes"'),
    ("Stra\u00dfe", "STRASSE"),
    ("fi", "\ufb01"),
    ("true", "True"),
    ("true", "1"),
    ("FALSE", "0.0"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_differs_in_writing_only_is_the_same_and_both_forms_can_be_told_apart(
    one: str, other: str
) -> None:
    assert same_labels([one, "something else", other]) == [sorted([one, other])]
    assert same_among(one, ["something else", other]) == other
    first, second = quoted([one, other])
    assert first != second


@pytest.mark.parametrize(
    "labels",
    [
        ["pos", "neg"],
        ["1", "-1"],
        ["1", "10", "0.1", "1.01"],
        ["A", "A-", "A+", "-A"],
        ["yes", "no", "1", "0"],
        ["cafe", "caf\u00e9"],
        ["c", "c++", "c#"],
        ["true", "0"],
        ["123456789012345678901234567890123", "123456789012345678901234567890124"],
        ["1e999", "1e998"],
        ["\U0001f600", "\U0001f622"],
        ["", "-"],
    ],
)
def test_labels_that_mean_something_else_stay_apart(labels: list[str]) -> None:
    assert same_labels(labels) == []


def test_what_looks_alike_is_shown_with_escapes_and_nothing_else_is() -> None:
    assert quoted(["pos", "pos\u200b"]) == ["'pos'", "'pos\\u200b'"]
    assert quoted(["caf\u00e9", "cafe\u0301"]) == ["'caf\\xe9'", "'cafe\\u0301'"]
    assert quoted(["caf\u00e9", "CAF\u00c9"]) == ["'caf\u00e9'", "'CAF\u00c9'"]


@given(label=st.text(max_size=20))
def test_a_form_is_its_own_form(label: str) -> None:
    assert form_of(form_of(label)) == form_of(label)
