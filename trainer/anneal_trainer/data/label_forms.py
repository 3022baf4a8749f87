"""Labels that are the same thing written otherwise: `pos` and `Pos`, `1` and `1.0`, two Unicode forms of `café`. Pure.

They count as different labels, as nobody but their author knows; but their author is told.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from decimal import Context, Decimal

from anneal_api.texts import is_invisible

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?")
_BETWEEN_WORDS = re.compile(r"(?<=\w)[-\s]+(?=\w)")
_DASHES_BESIDE = "\u2212\u2043\u02d7"  # minus, bullet, modifier letter: no dashes to Unicode
_QUOTES_BESIDE = (
    "'\"`\u00b4\u02b9\u02ba\u02bb\u02bc\u02bd\u02c8\u02ca\u02cb\u02ee\u2032\u2033\u2035\u2036\ua78c"
)
_TRUTH = {"true": "1", "false": "0"}


def form_of(label: str) -> str:
    """Returns the form in which labels count as the same thing written otherwise.

    Case, spaces, underscores and dashes between words, Unicode forms, widths, kinds of dashes and quotes, and invisible
    characters make no difference; nor does how a number is written.
    """
    plain = _look_of(label).casefold()
    plain = " ".join(unicodedata.normalize("NFKC", plain).split())
    if _NUMBER.fullmatch(plain):
        number = Context(prec=max(1, len(plain))).normalize(Decimal(plain))
        return str(number or abs(number))
    return _BETWEEN_WORDS.sub(" ", plain.replace("_", "-"))


def same_labels(labels: Iterable[str]) -> list[list[str]]:
    """Returns the labels that are the same thing written otherwise: two or more each, sorted.

    `true` and `1` are the same where both are there, and so are `false` and `0`.
    """
    by_form: dict[str, list[str]] = {}
    for label in sorted(set(labels)):
        by_form.setdefault(form_of(label), []).append(label)
    for word, number in _TRUTH.items():
        if word in by_form and number in by_form:
            by_form[number] = sorted([*by_form[number], *by_form.pop(word)])
    return [group for group in by_form.values() if len(group) > 1]


def same_among(label: str, known: Iterable[str]) -> str:
    """Returns the known label that is the same as a label but for its writing; nothing where none is."""
    form = form_of(label)
    forms = {form, *(pair for truth in _TRUTH.items() for pair in truth if form in truth)}
    found = [other for other in sorted(known) if form_of(other) in forms]
    return next((other for other in found if form_of(other) == form), found[0] if found else "")


def quoted(labels: Iterable[str]) -> list[str]:
    """Returns labels in quotes; where some look alike, what makes the difference is escaped."""
    shown = list(labels)
    looks = {_look_of(label) for label in shown}
    return [f"'{escaped(label) if len(looks) < len(shown) else label}'" for label in shown]


def differ_in_case_only(labels: Iterable[str]) -> bool:
    """Returns whether labels differ in case and spaces only."""
    return len({" ".join(label.casefold().split()) for label in labels}) == 1


def has_invisible_ends(label: str) -> bool:
    """Returns whether a label begins or ends with a character that nobody sees and no space."""
    return bool(label) and any(unicodedata.category(end) == "Cf" for end in (label[0], label[-1]))


def escaped(label: str) -> str:
    """Returns a label with everything beyond ASCII as an escape."""
    return label.encode("unicode_escape").decode("ascii")


def _look_of(label: str) -> str:
    """Returns what a label looks like: spaces, dashes and quotes of one kind, nothing invisible, usual widths."""
    return "".join(map(_plain, unicodedata.normalize("NFKC", label))).strip()


def _plain(character: str) -> str:
    category = unicodedata.category(character)
    if character.isspace():
        return " "
    if is_invisible(character) or category == "Cc":
        return ""
    if category == "Pd" or character in _DASHES_BESIDE:
        return "-"
    if category in {"Pi", "Pf"} or character in _QUOTES_BESIDE:
        return "'"
    return character
