"""How numbers, sizes, times and texts are written in the report page and the model card.

A dash stands for a number that is absent or not finite. Minus signs are the real character: columns line up.
"""

# ruff: noqa: PLR2004

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

ABSENT = "–"  # noqa: RUF001
MINUS = "\N{MINUS SIGN}"
INTERVAL = "95\N{NO-BREAK SPACE}% interval"

SCORE_DIGITS = 4
"""Digits after the point of a score: enough for a margin of 0.001, and readable."""
_MOST_SCORE_DIGITS = 8

_UNFIT = frozenset("\ufffe\uffff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_METRIC_TITLES = {
    "accuracy": "Accuracy",
    "f1": "F1 (macro)",
    "precision": "Precision (macro)",
    "recall": "Recall (macro)",
    "f1_micro": "F1 (micro)",
    "precision_micro": "Precision (micro)",
    "recall_micro": "Recall (micro)",
    "f1_weighted": "F1 (weighted)",
    "log_loss": "Log loss",
    "ece": "Calibration error (ECE)",
}


def metric_title(name: str) -> str:
    """Returns a metric's name as a heading, for example `F1 (macro)` for `f1`."""
    return _METRIC_TITLES.get(name) or name.replace("_", " ").capitalize()


def score(value: float | None, *, beside: float | None = None) -> str:
    """Returns a score with 4 digits after the point.

    Args:
        value: The score.
        beside: A number that it is read against: digits are added until the two look different.
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    digits = SCORE_DIGITS
    if beside is not None and beside != value:
        while digits < _MOST_SCORE_DIGITS and f"{value:.{digits}f}" == f"{beside:.{digits}f}":
            digits += 1
    return _minus(f"{value:.{digits}f}")


def signed(value: float | None) -> str:
    """Returns a difference of two scores with its sign and 4 digits after the point."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return "0" if value == 0 else _minus(f"{value:+.{SCORE_DIGITS}f}")


def interval(ends: tuple[float, float] | None, *, sign: bool = False) -> str:
    """Returns the two ends of an interval, for example `0.8997 to 0.9251`."""
    if ends is None:
        return ABSENT
    write = signed if sign else score
    return f"{write(ends[0])} to {write(ends[1])}"


def percent(share: float | None) -> str:
    """Returns a share as a percentage with one digit; the smallest shares never look like none."""
    if share is None or not math.isfinite(share):
        return ABSENT
    if 0 < share < 0.001:
        return _unbroken("< 0.1 %")
    if 0.999 < share < 1:
        return _unbroken("> 99.9 %")
    return _unbroken("100 %" if share == 1 else "0 %" if share == 0 else f"{100 * share:.1f} %")


def count(number: int) -> str:
    """Returns a number of things with commas between the thousands."""
    return f"{number:,}"


def plural(number: int, thing: str, things: str | None = None) -> str:
    """Returns a number with its noun, for example `1 row` or `1,200 rows`."""
    return f"{count(number)} {thing if number == 1 else things or thing + 's'}"


def size(number: int) -> str:
    """Returns a number of bytes in units of 1000, for example `22.9 MB`."""
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{number} B" if unit == "B" else f"{_three_figures(value)} {unit}"
        value /= 1000
    return f"{_three_figures(value)} TB"


def milliseconds(value: float) -> str:
    """Returns a latency in milliseconds with three significant digits."""
    return f"{_three_figures(value)} ms" if math.isfinite(value) else ABSENT


def duration(seconds: float) -> str:
    """Returns a length of time in the two largest units that say something, for example `3 min 12 s`."""
    if not math.isfinite(seconds):
        return ABSENT
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def times(larger: float, smaller: float) -> str:
    """Returns how often one number holds another, for example `3.9×`."""  # noqa: RUF002
    if smaller <= 0 or not math.isfinite(larger / smaller):
        return ABSENT
    ratio = larger / smaller
    return f"{ratio:.0f}×" if ratio >= 100 else f"{ratio:.1f}×"  # noqa: RUF001


def rate(value: float) -> str:
    """Returns a small factor such as a learning rate the way manifests write it, for example `2e-5`."""
    if value == 0 or abs(value) >= 0.001:
        return f"{value:g}"
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def moment(iso: str) -> str:
    """Returns an ISO 8601 time in words, for example `2 March 2026, 14:03 UTC`; other texts as they are."""
    try:
        parsed = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    parsed = parsed.astimezone(UTC) if parsed.tzinfo else parsed
    return f"{parsed.day} {parsed:%B %Y, %H:%M} UTC"


def printable(text: str) -> str:
    """Returns the text with whitespace as single spaces and characters that no page may hold replaced.

    Control characters and lone surrogates break XML or the file's encoding; signs that turn the direction of
    writing let a text pass for another one. Data may hold all of them.
    """
    return printable_line(" ".join(text.split()))


def printable_line(text: str) -> str:
    """Returns the line as `printable` does, with its spaces kept."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _unprintable(each) else each for each in text)


def shortened(text: str, limit: int) -> str:
    """Returns the text, cut to a number of characters with a mark of the cut."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _unbroken(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _unprintable(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cs"} or character in _UNFIT


def _three_figures(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def _minus(text: str) -> str:
    return text.replace("-", MINUS)


FILTERS: dict[str, Callable[..., Any]] = {
    "count": count,
    "duration": duration,
    "interval": interval,
    "metric": metric_title,
    "milliseconds": milliseconds,
    "moment": moment,
    "percent": percent,
    "plural": plural,
    "rate": rate,
    "score": score,
    "signed": signed,
    "size": size,
}
"""What templates call the functions above."""
