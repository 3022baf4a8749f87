"""What a request may say: the body of `POST /predict`, taken apart and checked by hand. No I/O."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Never

from anneal_api.errors import RequestInvalid
from anneal_api.texts import is_blank
from anneal_serving.codecs.text_classification import is_unicode


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request, and one server, may ask for.

    Attributes:
        max_tokens: Tokens of one request, all its texts together, after the cut to the model's longest input.
        max_items: Texts of one request.
        max_characters: Characters of one text.
        max_body_bytes: Bytes of one body.
        max_in_progress: Requests that are computed or wait for it; more are turned away with 503.
        body_seconds: How long a client may take to send a body.
    """

    max_tokens: int = 4096
    max_items: int = 256
    max_characters: int = 50_000
    max_body_bytes: int = 1 << 20
    max_in_progress: int = 128
    body_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """The texts to answer.

    Attributes:
        texts: At least one.
        single: Whether the request was `{"text": ...}`, which gets one answer and no list.
    """

    texts: list[str]
    single: bool


class RequestRefused(RequestInvalid):
    """A request that gets no answer from the model.

    Args:
        status: The HTTP status.
        code: A word for programs, for example `too_many_tokens`.
        what: What is wrong, one sentence.
        where: The place in the body, for example `inputs[3].text`.
        remedy: What to do about it, one sentence.
    """

    def __init__(self, status: HTTPStatus, code: str, what: str, where: str = "", remedy: str = "") -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.status = status
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.status, self.code, self.what, self.where, self.remedy)


_FIELDS = ("text", "inputs")
_EXAMPLE = 'Send {"text": "..."} or {"inputs": ["...", "..."]}.'


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def parse_request(body: bytes, limits: Limits) -> PredictRequest:
    """Returns the texts that a body asks about.

    Raises:
        RequestRefused: The body is no UTF-8 or no JSON (400), has more texts than allowed (413), or says
            something else than it should: wrong types, unknown fields, empty or over-long texts (422).
    """
    document = _parse_json(body)
    if not isinstance(document, dict):
        raise _unprocessable("wrong_type", f"The body is {_kind(document)}, not an object.", "", _EXAMPLE)
    _refuse_unknown(document, _FIELDS, "")
    if len(document) != 1:
        what = (
            "The body has both `text` and `inputs`."
            if document
            else "The body has neither `text` nor `inputs`."
        )
        raise _unprocessable("one_of", what, "", _EXAMPLE)
    if "text" in document:
        return PredictRequest([_checked_text(document["text"], "text", limits)], single=True)
    return PredictRequest(_checked_inputs(document["inputs"], limits), single=False)


def _parse_json(body: bytes) -> object:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestRefused(
            HTTPStatus.BAD_REQUEST,
            "not_utf8",
            "The body is not UTF-8.",
            f"byte {error.start + 1}",
            "Encode the JSON as UTF-8.",
        ) from None
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        what = f"The body is not JSON: {error.msg}." if text.strip() else "The body is empty."
        where = f"line {error.lineno}, column {error.colno}"
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "not_json", what, where, _EXAMPLE) from None
    except RecursionError:
        what = "The body is nested too deeply."
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "not_json", what, "", _EXAMPLE) from None
    except ValueError as error:  # a constant such as NaN, or a number with thousands of digits
        what = f"The body is not JSON: {error}."
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "not_json", what, "", _EXAMPLE) from None


def _checked_inputs(inputs: object, limits: Limits) -> list[str]:
    if not isinstance(inputs, list):
        raise _unprocessable("wrong_type", f"`inputs` is {_kind(inputs)}, not a list.", "inputs", _EXAMPLE)
    if not inputs:
        raise _unprocessable("empty", "`inputs` is an empty list.", "inputs", "Send at least one text.")
    if len(inputs) > limits.max_items:
        raise RequestRefused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too_many_items",
            f"`inputs` has {len(inputs)} items, and at most {limits.max_items} are allowed.",
            "inputs",
            "Send them in several requests.",
        )
    return [_checked_item(item, f"inputs[{index}]", limits) for index, item in enumerate(inputs)]


def _checked_item(item: object, where: str, limits: Limits) -> str:
    if not isinstance(item, dict):
        return _checked_text(item, where, limits)
    _refuse_unknown(item, ("text",), where)
    if "text" not in item:
        raise _unprocessable("missing", "The item has no `text`.", where, 'Write {"text": "..."}.')
    return _checked_text(item["text"], f"{where}.text", limits)


def _checked_text(text: object, where: str, limits: Limits) -> str:
    if not isinstance(text, str):
        raise _unprocessable("wrong_type", f"The text is {_kind(text)}, not a string.", where, _EXAMPLE)
    if is_blank(text):
        raise _unprocessable("empty", "The text is empty.", where, "Send at least one word.")
    if len(text) > limits.max_characters:
        raise _unprocessable(
            "too_long",
            f"The text has {len(text)} characters, and at most {limits.max_characters} are allowed.",
            where,
            "Send a part of it, or parts of it as several texts.",
        )
    if not text.isascii() and not is_unicode(text):
        raise _unprocessable(
            "not_unicode",
            "The text holds half a surrogate pair, which is no character.",
            where,
            "Escape characters beyond U+FFFF as a whole pair, or send them as UTF-8.",
        )
    return text


def _refuse_unknown(document: dict[str, Any], known: tuple[str, ...], place: str) -> None:
    for name in document:
        if name not in known:
            shown = _shown(name)
            close = difflib.get_close_matches(name[:64], known, n=1)
            meant = f"Did you mean `{close[0]}`?" if close else _EXAMPLE
            where = f"{place}.{shown}" if place else shown
            raise _unprocessable("unknown_field", f"There is no field `{shown}`.", where, meant)


def _shown(name: str) -> str:
    """Returns a client's own word in a form that is safe to repeat: short, and valid Unicode."""
    longest = 64
    cut = name if len(name) <= longest else f"{name[:longest]}..."
    return cut.encode(errors="backslashreplace").decode()


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def _unprocessable(code: str, what: str, where: str, remedy: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, code, what, where, remedy)
