"""Turns what pydantic found wrong into sentences for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic_core import ErrorDetails

from anneal_api.errors import Problem
from anneal_api.suggestions import closest, field_at, short, spec_path, unknown_field_remedy
from anneal_api.support import TASKS

Sentences = tuple[str, str]
"""What is wrong, and what to do about it."""

_INTEGER, _NUMBER, _TEXT = "a whole number", "a number", "text"

_EXPECTED = {
    "int_type": _INTEGER,
    "int_from_float": _INTEGER,
    "float_type": _NUMBER,
    "bool_type": "true or false",
    "string_type": _TEXT,
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}

_TYPE_REMEDIES = {
    _TEXT: "Put it in quotes.",
    "true or false": "Write `true` or `false`, without quotes.",
    "a list": "Write a list: one line a value, each after a dash.",
    "a mapping": "Write `name: value` lines, indented below it.",
}

_LIMITS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def problem_of(error: ErrorDetails) -> Problem:
    """Returns the problem that one error of pydantic stands for."""
    where = spec_path(error["loc"])
    what, remedy = _sentences(error)
    return Problem(what, where, remedy)


def _sentences(error: ErrorDetails) -> Sentences:
    if error["input"] is None and error["type"] not in {"missing", "extra_forbidden"}:
        return "This field is empty.", "Give it a value, or remove the line."
    return _WORDING.get(error["type"], _anything_else)(error)


def _missing(error: ErrorDetails) -> Sentences:
    field = field_at(error["loc"])
    name = error["loc"][-1]
    what = "This required field is missing."
    if field is None:
        return what, f"Add `{name}`."
    if len(field.choices) == 1:
        return what, f"Add `{name}: {field.choices[0]}`."
    return what, f"Add `{name}`: {field.summary}"


def _unknown_field(error: ErrorDetails) -> Sentences:
    return "There is no such field.", unknown_field_remedy(error["loc"])


def _not_a_choice(error: ErrorDetails) -> Sentences:
    field, value = field_at(error["loc"]), error["input"]
    choices = field.choices if field is not None else ()
    what = f"{short(value)} is not one of the values that this field may have."
    meant = closest(value, choices) if isinstance(value, str) else None
    if meant:
        return what, f"Did you mean `{meant}`?"
    if field is not None and field.path == "spec.task":
        choices = tuple(choice for choice in choices if choice in TASKS)
    return what, f"Use {' or '.join(f'`{choice}`' for choice in choices)}."


def _wrong_type(error: ErrorDetails) -> Sentences:
    expected = _EXPECTED[error["type"]]
    return f"This must be {expected}, but it is {_described(error['input'])}.", _type_remedy(error)


def _type_remedy(error: ErrorDetails) -> str:
    expected, value = _EXPECTED[error["type"]], error["input"]
    remedy = _TYPE_REMEDIES.get(expected, "")
    if expected == _TEXT and not isinstance(value, int | float):
        remedy = ""
    elif isinstance(value, str) and expected in {_INTEGER, _NUMBER} and _is_number(value):
        remedy = "Remove the quotes."
    elif isinstance(value, float) and expected == _INTEGER:
        remedy = "Write it without a fraction."
    return remedy


def _out_of_range(error: ErrorDetails) -> Sentences:
    key, words = _LIMITS[error["type"]]
    limit = float(_context(error)[key])
    shown = str(int(limit)) if limit.is_integer() else str(limit)
    return f"{short(error['input'])} is out of range.", f"Make it {words} {shown}."


def _too_short(error: ErrorDetails) -> Sentences:
    if not error["input"]:
        return "This is empty.", "Give it a value."
    return f"{short(error['input'])} is too short.", f"Use at least {_context(error)['min_length']}."


def _too_long_text(error: ErrorDetails) -> Sentences:
    limit = _context(error)["max_length"]
    return f"The text has {len(error['input'])} characters.", f"Use at most {limit}."


def _too_many(error: ErrorDetails) -> Sentences:
    limit = _context(error)["max_length"]
    return f"There are {len(error['input'])} entries.", f"Use at most {limit}."


def _bad_name(error: ErrorDetails) -> Sentences:
    remedy = "Use lower-case letters, digits and dashes; begin and end with a letter or digit."
    return f"{short(error['input'])} is not a valid name.", remedy


def _own_check(error: ErrorDetails) -> Sentences:
    reason = str(_context(error).get("error", error["msg"]))
    return f"{short(error['input'])} is not valid here.", f"{reason[:1].upper()}{reason[1:]}."


def _anything_else(error: ErrorDetails) -> Sentences:
    return f"{short(error['input'])} is not valid here: {error['msg']}.", ""


_WORDING: dict[str, Callable[[ErrorDetails], Sentences]] = {
    "missing": _missing,
    "extra_forbidden": _unknown_field,
    "enum": _not_a_choice,
    "literal_error": _not_a_choice,
    **dict.fromkeys(_EXPECTED, _wrong_type),
    **dict.fromkeys(_LIMITS, _out_of_range),
    "string_too_short": _too_short,
    "too_short": _too_short,
    "string_too_long": _too_long_text,
    "too_long": _too_many,
    "string_pattern_mismatch": _bad_name,
    "value_error": _own_check,
}


def _described(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f"the text {short(value)}"
        case int() | float():
            return f"the number {short(value)}"
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return short(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _context(error: ErrorDetails) -> dict[str, Any]:
    return error.get("ctx") or {}
