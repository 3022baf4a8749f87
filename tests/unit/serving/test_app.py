from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import jsonschema
import numpy as np
import pytest
from fastapi.openapi.models import OpenAPI
from numpy.typing import NDArray
from starlette.types import ASGIApp, Message, Scope
from tiny_model import LABELS, TEXTS

from anneal_serving.app import build_app
from anneal_serving.model_info import ModelInfo
from anneal_serving.predictor import Predictor
from anneal_serving.requests import Limits

INFO = ModelInfo(
    version="reviews/v3",
    task="text-classification",
    labels=tuple(LABELS),
    variant="fp32",
    base_model="pkg://tiny/model",
    created_at="2026-01-02T03:04:05Z",
    metrics={"accuracy": 0.9},
    max_length=16,
    examples=(TEXTS[0],),
)
LIMITS = Limits(max_tokens=100, max_items=20, max_in_progress=2, body_seconds=0.3)


@pytest.fixture(scope="module")
def app(predictor: Predictor) -> ASGIApp:
    return build_app(predictor, INFO, LIMITS)


def client(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://model")


def call(app: ASGIApp, method: str, path: str, **request: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        async with client(app) as session:
            return await session.request(method, path, **request)

    return asyncio.run(send())


def answers_well(app: ASGIApp) -> bool:
    return call(app, "POST", "/predict", json={"text": TEXTS[0]}).status_code == 200


def test_one_text_gets_one_answer(app: ASGIApp, predictor: Predictor) -> None:
    response = call(app, "POST", "/predict", json={"text": TEXTS[0]})
    (expected,) = predictor.predict([TEXTS[0]])
    assert response.status_code == 200
    assert response.headers["x-model-version"] == "reviews/v3"
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "label": expected.label,
        "score": expected.score,
        "scores": [{"label": label, "score": score} for label, score in expected.scores.items()],
    }
    scores = [row["score"] for row in response.json()["scores"]]
    assert scores == sorted(scores, reverse=True)


def test_several_texts_get_the_same_answers_as_alone(app: ASGIApp) -> None:
    alone = [call(app, "POST", "/predict", json={"text": text}).json() for text in TEXTS]
    inputs = [*TEXTS[:2], *({"text": text} for text in TEXTS[2:])]
    together = call(app, "POST", "/predict", json={"inputs": inputs}).json()
    assert together == {"predictions": alone}


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "not_json"),
        (b"not json", 400, "not_json"),
        (b"[" * 500_000, 400, "not_json"),
        (b'{"text": "\xff"}', 400, "not_utf8"),
        (b'{"text": "\\udfff"}', 422, "not_unicode"),
        (b'{"text": 7}', 422, "wrong_type"),
        (b'{"text": ""}', 422, "empty"),
        (b'{"inputs": []}', 422, "empty"),
        (json.dumps({"text": "a" * 60_000}).encode(), 422, "too_long"),
        (json.dumps({"inputs": ["a"] * 10_000}).encode(), 413, "too_many_items"),
        (json.dumps({"inputs": [TEXTS[4]] * 20}).encode(), 413, "too_many_tokens"),
        (b'{"text": "' + b"a" * (2 << 20) + b'"}', 413, "body_too_large"),
    ],
)
def test_a_bad_request_is_refused_and_the_next_one_answered(
    app: ASGIApp, content: bytes, status: int, code: str
) -> None:
    response = call(app, "POST", "/predict", content=content)
    assert response.status_code == status
    assert response.headers["x-model-version"] == "reviews/v3"
    error = response.json()["error"]
    assert error.keys() == {"code", "message", "where", "remedy"}
    assert error["code"] == code
    assert error["message"]
    assert answers_well(app)


@pytest.mark.parametrize(
    "text", ["\x00", "\U0010ffff\ufffe", "\u202e\u0000x", "e\u0301" * 2000, "\U0001f468\u200d" * 99]
)
def test_odd_characters_are_answered(app: ASGIApp, text: str) -> None:
    assert call(app, "POST", "/predict", json={"text": text}).status_code == 200


def test_a_body_is_counted_as_it_comes_whatever_its_declared_length(app: ASGIApp) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x" * (1 << 20)

    for headers in ({}, {"content-length": "10"}):
        response = call(app, "POST", "/predict", content=endless(), headers=headers)
        assert response.status_code == 413
        assert response.json()["error"]["code"] == "body_too_large"
    assert answers_well(app)


def test_a_body_that_never_comes_is_given_up(app: ASGIApp) -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield b'{"text": '
        await asyncio.sleep(30)

    response = call(app, "POST", "/predict", content=stalled())
    assert (response.status_code, response.json()["error"]["code"]) == (408, "body_timeout")


def test_a_client_that_hangs_up_is_let_go(app: ASGIApp) -> None:
    async def hang_up() -> list[Message]:
        sent: list[Message] = []
        messages = iter([{"type": "http.request", "body": b"{", "more_body": True}])

        async def receive() -> Message:
            return next(messages, {"type": "http.disconnect"})

        async def send(message: Message) -> None:
            sent.append(message)

        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": "/predict",
            "headers": [],
            "query_string": b"",
        }
        await app(scope, receive, send)
        return sent

    assert asyncio.run(hang_up()) == []
    assert answers_well(app)


def test_a_compressed_body_is_refused_by_name(app: ASGIApp) -> None:
    body = gzip.compress(b'{"text": "good"}')
    response = call(app, "POST", "/predict", content=body, headers={"content-encoding": "gzip"})
    assert (response.status_code, response.json()["error"]["code"]) == (415, "compressed_body")


@pytest.mark.parametrize(
    "path", ["/nope", "/predict/", "/predict/x", "/assets/../app.py", "/assets/%2e%2e/app.py"]
)
def test_an_unknown_path_is_404_as_json(app: ASGIApp, path: str) -> None:
    response = call(app, "GET", path)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"
    assert response.headers["x-model-version"] == "reviews/v3"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/predict", "POST"), ("DELETE", "/predict", "POST"), ("POST", "/model", "GET")],
)
def test_a_wrong_method_is_405_and_names_the_right_one(
    app: ASGIApp, method: str, path: str, allowed: str
) -> None:
    response = call(app, method, path)
    assert response.status_code == 405
    assert allowed in response.headers["allow"]
    assert response.json()["error"]["code"] == "wrong_method"


def test_health_and_model_say_what_serves(app: ASGIApp) -> None:
    assert call(app, "GET", "/health/live").json() == {"status": "live"}
    assert call(app, "GET", "/health/ready").json() == {"status": "ready", "version": "reviews/v3"}
    model = call(app, "GET", "/model").json()
    assert model["labels"] == LABELS
    assert model["metrics"] == {"accuracy": 0.9}


def test_metrics_count_requests_rows_and_time(predictor: Predictor) -> None:
    app = build_app(predictor, INFO, LIMITS)
    call(app, "POST", "/predict", json={"inputs": TEXTS[:3]})
    call(app, "POST", "/predict", content=b"{")
    call(app, "GET", "/a/path/of/ones/own")
    text = call(app, "GET", "/metrics").text
    version = 'model_version="reviews/v3"'
    assert f'anneal_requests_total{{{version},route="/predict",status="200"}} 1.0' in text
    assert f'anneal_requests_total{{{version},route="/predict",status="400"}} 1.0' in text
    assert f'anneal_requests_total{{{version},route="other",status="404"}} 1.0' in text
    assert f"anneal_rows_total{{{version}}} 3.0" in text
    assert f'anneal_request_seconds_count{{{version},route="/predict"}} 2.0' in text


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_and_all_they_load_come_from_the_server(app: ASGIApp, path: str) -> None:
    page = call(app, "GET", path)
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    loaded = [
        part.split('"')[0] for part in page.text.replace('href="assets', 'src="assets').split('src="')[1:]
    ]
    assert len(loaded) >= 3
    for asset in loaded:
        response = call(app, "GET", f"/{asset}")
        assert response.status_code == 200
        assert response.content
    again = call(app, "GET", path, headers={"if-none-match": page.headers["etag"]})
    assert again.status_code == 304


def test_the_description_of_the_api_is_valid_and_true(app: ASGIApp) -> None:
    document = call(app, "GET", "/openapi.json").json()
    OpenAPI.model_validate(document)
    schemas = document["components"]["schemas"]

    def check(name: str, value: object) -> None:
        jsonschema.validate(
            value, {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        )

    assert schemas["Classification"]["properties"]["label"]["enum"] == LABELS
    for example in document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"][
        "examples"
    ].values():
        answer = call(app, "POST", "/predict", json=example["value"])
        check("OneText" if "text" in example["value"] else "SeveralTexts", example["value"])
        check("Classification" if "text" in example["value"] else "Predictions", answer.json())
    check("Error", call(app, "POST", "/predict", content=b"{").json())
    check("Model", call(app, "GET", "/model").json())
    check("Status", call(app, "GET", "/health/ready").json())
    for path, operations in document["paths"].items():
        for method in operations:
            assert call(app, method.upper(), path).status_code != 404


class SlowPredictor(Predictor):
    """Answers when it is let; or breaks."""

    def __init__(self, like: Predictor) -> None:
        self.config, self.codec, self.threads = like.config, like.codec, 2
        self.executor = ThreadPoolExecutor(2)
        self.let = threading.Event()
        self.broken = False

    def row_logits(self, _row: NDArray[np.int32]) -> NDArray[np.float32]:
        if self.broken:
            raise RuntimeError("a secret of the inside")
        self.let.wait(20)
        return np.zeros(len(LABELS), dtype=np.float32)


def test_overload_is_told_at_once_and_health_still_answers(predictor: Predictor) -> None:
    slow = SlowPredictor(predictor)
    app = build_app(slow, INFO, LIMITS)

    async def overload() -> tuple[list[int], httpx.Response, httpx.Response]:
        async with client(app) as session:
            working = [asyncio.create_task(session.post("/predict", json={"text": "a"})) for _ in range(2)]
            await asyncio.sleep(0.1)
            turned_away = await session.post("/predict", json={"text": "a"})
            health = await session.get("/health/ready")
            slow.let.set()
            return [(await task).status_code for task in working], turned_away, health

    worked, turned_away, health = asyncio.run(overload())
    assert worked == [200, 200]
    assert turned_away.status_code == 503
    assert int(turned_away.headers["retry-after"]) >= 1
    assert turned_away.json()["error"]["code"] == "overloaded"
    assert health.status_code == 200
    assert answers_well(app)
    slow.close()


@pytest.mark.parametrize("body", [{"text": "a"}, {"inputs": ["a", "b", "c"]}])
def test_a_failure_inside_is_a_plain_500_and_the_next_request_is_answered(
    predictor: Predictor, body: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    slow = SlowPredictor(predictor)
    slow.let.set()
    app = build_app(slow, INFO, LIMITS)
    slow.broken = True
    response = call(app, "POST", "/predict", json=body)
    assert response.status_code == 500
    assert response.headers["x-model-version"] == "reviews/v3"
    assert response.json()["error"]["code"] == "internal"
    assert "secret" not in response.text
    assert "a secret of the inside" in caplog.text
    slow.broken = False
    assert answers_well(app)
    slow.close()
