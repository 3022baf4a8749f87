"""Whether there is anything to see in a text."""

from __future__ import annotations

import pytest

from anneal_api.texts import is_blank


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "\t\r\n", "\u00a0", "\u3000", "\u2028"),
        *("\u200b", "\ufeff", "\u00ad", "\u2060", "\u200d\u200c", "\u202e", "\u061c", "\u180e", "\U000e0001"),
        *("\u3164", "\u115f\u1160", "\uffa0", "\u2800", "\u034f", "\ufe0f", " \u200b \ufeff\n"),
    ],
)
def test_a_text_without_a_visible_character_is_blank(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize(
    "text", ["a", ".", "\u200b.", "\x00", "\u0301", "\u00df", "\U0001f600", "\u2801", "\ufffd", "0", "\u4e2d"]
)
def test_whatever_can_be_seen_counts(text: str) -> None:
    assert not is_blank(text)
