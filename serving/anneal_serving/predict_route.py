"""`POST /predict`: the route that the model answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus

import numpy as np
from numpy.typing import NDArray
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from anneal_serving.body import ClientGone, read_body
from anneal_serving.codecs import Classification
from anneal_serving.meters import Meter
from anneal_serving.predictor import Predictor
from anneal_serving.requests import Limits, RequestRefused, parse_request
from anneal_serving.responses import answer_response, error_response, refusal_response


class PredictRoute:
    """An ASGI app that answers texts. All work of the model runs on the predictor's threads.

    Args:
        predictor: Answers.
        limits: How much a request may ask for.
        meters: Are told of the rows answered.
    """

    def __init__(self, predictor: Predictor, limits: Limits, meters: Sequence[Meter]) -> None:
        self._predictor = predictor
        self._limits = limits
        self._meters = meters
        self._in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        try:
            response = await self._respond(scope, receive)
        except RequestRefused as refusal:
            response = refusal_response(refusal)
        except ClientGone:
            return
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        body = await read_body(receive, self._limits)
        _refuse_encoding(Headers(scope=scope).get("content-encoding", ""))
        request = parse_request(body, self._limits)
        if self._in_progress >= self._limits.max_in_progress:
            return error_response(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "overloaded",
                "The server has more requests than it can answer soon.",
                remedy="Wait for the seconds that Retry-After names, and send the request again.",
                headers={"retry-after": "1"},
            )
        self._in_progress += 1
        try:
            answers = await self._answer(request.texts)
        finally:
            self._in_progress -= 1
        for meter in self._meters:
            meter.count_rows(len(answers))
        return answer_response(answers, single=request.single)

    async def _answer(self, texts: list[str]) -> list[Classification]:
        loop = asyncio.get_running_loop()
        if len(texts) == 1:
            return await loop.run_in_executor(self._predictor.executor, self._answer_one, texts)
        rows = await loop.run_in_executor(self._predictor.executor, self._encode, texts)
        logits = np.empty((len(rows), len(self._predictor.labels)), dtype=np.float32)
        waiting = iter(enumerate(rows))

        async def take_rows() -> None:
            # A row at a time: a request with one text is never behind more than a row of each larger one.
            for index, row in waiting:
                logits[index] = await loop.run_in_executor(
                    self._predictor.executor, self._predictor.row_logits, row
                )

        await asyncio.gather(*(take_rows() for _ in range(min(self._predictor.threads, len(rows)))))
        return self._predictor.codec.decode(logits)

    def _answer_one(self, texts: list[str]) -> list[Classification]:
        (row,) = self._encode(texts)
        return self._predictor.codec.decode(self._predictor.row_logits(row)[np.newaxis])

    def _encode(self, texts: list[str]) -> list[NDArray[np.int32]]:
        rows = self._predictor.codec.encode(texts)
        tokens = sum(map(len, rows))
        if tokens > self._limits.max_tokens:
            raise RequestRefused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "too_many_tokens",
                f"The request has {tokens} tokens, and at most {self._limits.max_tokens} are allowed.",
                "inputs" if len(texts) > 1 else "text",
                "Send it in several requests.",
            )
        return rows


def _refuse_encoding(encoding: str) -> None:
    if encoding not in {"", "identity"}:
        raise RequestRefused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "compressed_body",
            "The body is compressed.",
            "Content-Encoding",
            "Send the JSON as it is.",
        )
