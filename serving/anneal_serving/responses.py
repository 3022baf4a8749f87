"""The JSON that a server sends: answers and errors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus

from starlette.responses import Response

from anneal_serving.codecs import Classification
from anneal_serving.requests import RequestRefused


def json_response(
    document: object, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> Response:
    """Returns a document as a JSON response."""
    content = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(content, status, headers, "application/json")


def error_response(
    status: HTTPStatus,
    code: str,
    message: str,
    *,
    where: str = "",
    remedy: str = "",
    headers: dict[str, str] | None = None,
) -> Response:
    """Returns an error in the one shape that all errors have."""
    error = {"code": code, "message": message, "where": where, "remedy": remedy}
    return json_response({"error": error}, status, headers)


def refusal_response(refusal: RequestRefused) -> Response:
    """Returns what a client is told of a request that gets no answer."""
    return error_response(
        refusal.status, refusal.code, refusal.what, where=refusal.where, remedy=refusal.remedy
    )


def answer_response(answers: Sequence[Classification], *, single: bool) -> Response:
    """Returns the model's answers: one object for a single text, else a list of them under `predictions`."""
    shaped = [_shape(answer) for answer in answers]
    return json_response(shaped[0] if single else {"predictions": shaped})


def _shape(answer: Classification) -> dict[str, object]:
    return {
        "label": answer.label,
        "score": answer.score,
        "scores": [{"label": label, "score": score} for label, score in answer.scores.items()],
    }
