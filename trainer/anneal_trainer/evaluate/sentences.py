"""How scores are written in the sentences of selection and gate."""

from __future__ import annotations

import math

_DIGITS = 4
_MOST_DIGITS = 12


def score_text(value: float, *, beside: float | None = None) -> str:
    """Returns a score with 4 digits after the point.

    Args:
        value: The score.
        beside: A number that it is compared with. Where the two differ they must not look alike, so digits are
            added until they do not.
    """
    digits = _DIGITS
    if beside is not None:
        while digits < _MOST_DIGITS and value != beside and f"{value:.{digits}f}" == f"{beside:.{digits}f}":
            digits += 1
    return f"{value:.{digits}f}" if math.isfinite(value) else "not a number"


def difference_text(value: float) -> str:
    """Returns a difference with its sign; one that is not 0 never looks like it."""
    if value == 0:
        return "0"
    return ("+" if value > 0 else "-") + score_text(abs(value), beside=0.0)


def interval_text(interval: tuple[float, float]) -> str:
    """Returns the interval of a difference, for example `-0.0210 to -0.0040`."""
    return " to ".join(difference_text(end) for end in interval)


def count_text(number: int, thing: str) -> str:
    """Returns a number with its noun, for example `1 row` or `2 rows`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
