"""What a text shows: whether there is anything in it that a person can see. Pure."""

from __future__ import annotations

import unicodedata

_EMPTY_CATEGORIES = frozenset({"Cf", "Zs", "Zl", "Zp"})
"""Format characters (zero-width, soft hyphen, byte order mark, directions), and all kinds of space.

Control characters count as something: they are what damaged data has, and it is not called empty."""

_EMPTY_CHARACTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2065\u2800\u3164\uffa0\U0001d159")
"""Joiners, fillers and blanks that Unicode counts among letters, marks and signs."""

_EMPTY_RANGES = ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF))
"""Variation selectors, and what is kept free for further characters without a shape."""


def is_blank(text: str) -> bool:
    """Returns whether a text has no character that can be seen: it is empty, all spaces, or all invisible."""
    return all(map(is_invisible, text))


def is_invisible(character: str) -> bool:
    """Returns whether a character leaves no mark on paper."""
    return (
        character.isspace()
        or unicodedata.category(character) in _EMPTY_CATEGORIES
        or character in _EMPTY_CHARACTERS
        or any(first <= ord(character) <= last for first, last in _EMPTY_RANGES)
    )
