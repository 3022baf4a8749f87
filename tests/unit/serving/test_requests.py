from __future__ import annotations

import json
import pickle
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_serving.requests import Limits, PredictRequest, RequestRefused, parse_request

LIMITS = Limits(max_items=3, max_characters=10)


def refused(body: bytes) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        parse_request(body, LIMITS)
    return caught.value


def test_one_text_and_several_texts_are_understood() -> None:
    assert parse_request(b'{"text": "good"}', LIMITS) == PredictRequest(["good"], single=True)
    assert parse_request(b'\xef\xbb\xbf{"text": "good"}', LIMITS).texts == ["good"]
    several = parse_request(b'{"inputs": ["good", {"text": "bad"}]}', LIMITS)
    assert several == PredictRequest(["good", "bad"], single=False)
    assert parse_request(b'{"inputs": ["good"]}', LIMITS).single is False


@pytest.mark.parametrize(
    ("body", "status", "code", "where"),
    [
        (b"", 400, "not_json", "line 1, column 1"),
        (b"text=good", 400, "not_json", "line 1, column 1"),
        (b'{"text": "good"', 400, "not_json", "line 1, column 16"),
        (b'{"text": NaN}', 400, "not_json", ""),
        (b'{"text": -Infinity}', 400, "not_json", ""),
        (b'{"text": ' + b"1" * 5000 + b"}", 400, "not_json", ""),
        (b"[" * 100_000, 400, "not_json", ""),
        (b'{"text":' * 100_000, 400, "not_json", ""),
        (b'{"text": "\xe9"}', 400, "not_utf8", "byte 11"),
        ('{"text": "good"}'.encode("utf-16"), 400, "not_utf8", "byte 1"),
        (b"null", 422, "wrong_type", ""),
        (b'["good"]', 422, "wrong_type", ""),
        (b'"good"', 422, "wrong_type", ""),
        (b"{}", 422, "one_of", ""),
        (b'{"text": "good", "inputs": ["good"]}', 422, "one_of", ""),
        (b'{"text": "good", "model": "v2"}', 422, "unknown_field", "model"),
        (b'{"Text": "good"}', 422, "unknown_field", "Text"),
        (b'{"text": null}', 422, "wrong_type", "text"),
        (b'{"text": 7}', 422, "wrong_type", "text"),
        (b'{"text": true}', 422, "wrong_type", "text"),
        (b'{"text": 1e999}', 422, "wrong_type", "text"),
        (b'{"text": ["good"]}', 422, "wrong_type", "text"),
        (b'{"text": ""}', 422, "empty", "text"),
        (b'{"text": " \\n\\u3000"}', 422, "empty", "text"),
        (b'{"text": "\\u200b\\ufeff\\u3164"}', 422, "empty", "text"),
        (b'{"inputs": ["good", "\\u00ad"]}', 422, "empty", "inputs[1]"),
        (b'{"text": "01234567890"}', 422, "too_long", "text"),
        (b'{"text": "\\ud800"}', 422, "not_unicode", "text"),
        (b'{"inputs": "good"}', 422, "wrong_type", "inputs"),
        (b'{"inputs": {"text": "good"}}', 422, "wrong_type", "inputs"),
        (b'{"inputs": []}', 422, "empty", "inputs"),
        (b'{"inputs": ["a", "b", "c", "d"]}', 413, "too_many_items", "inputs"),
        (b'{"inputs": ["good", 7]}', 422, "wrong_type", "inputs[1]"),
        (b'{"inputs": ["good", ""]}', 422, "empty", "inputs[1]"),
        (b'{"inputs": [{"text": null}]}', 422, "wrong_type", "inputs[0].text"),
        (b'{"inputs": [{}]}', 422, "missing", "inputs[0]"),
        (b'{"inputs": [{"text": "good", "id": 1}]}', 422, "unknown_field", "inputs[0].id"),
        (b'{"inputs": [["good"]]}', 422, "wrong_type", "inputs[0]"),
    ],
)
def test_a_bad_body_is_refused_with_its_place(body: bytes, status: int, code: str, where: str) -> None:
    refusal = refused(body)
    assert (refusal.status, refusal.code, refusal.where) == (status, code, where)
    assert refusal.what.endswith(".")
    assert refusal.remedy


def test_a_misspelt_field_gets_a_suggestion() -> None:
    assert refused(b'{"txt": "good"}').remedy == "Did you mean `text`?"
    assert refused(b'{"input": ["good"]}').remedy == "Did you mean `inputs`?"


def test_a_hostile_field_name_is_repeated_in_a_safe_form() -> None:
    refusal = refused(b'{"\\ud800' + b"x" * 100_000 + b'": 1}')
    assert len(refusal.where) < 100
    refusal.where.encode()


def test_whole_surrogate_pairs_and_odd_characters_pass() -> None:
    assert parse_request(b'{"text": "\\ud83d\\ude00 \\u0000"}', LIMITS).texts == ["\U0001f600 \x00"]


def test_a_refusal_survives_pickling() -> None:
    refusal = refused(b'{"text": ""}')
    copy = pickle.loads(pickle.dumps(refusal))
    assert (copy.status, copy.code, str(copy)) == (HTTPStatus.UNPROCESSABLE_ENTITY, "empty", str(refusal))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["text", "inputs"]) | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_understood_or_refused(body: bytes) -> None:
    try:
        request = parse_request(body, LIMITS)
    except RequestRefused as caught:
        refusal = caught
    else:
        assert 1 <= len(request.texts) <= LIMITS.max_items
        assert all(text.strip() and len(text) <= LIMITS.max_characters for text in request.texts)
        return
    assert refusal.status in {400, 413, 422}
    refusal.what.encode()
    refusal.where.encode()
