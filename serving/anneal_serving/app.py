"""The server as an ASGI app, made of a Predictor. It runs inside Ray Serve, uvicorn or a test."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from anneal_serving.meters import Meter, PrometheusMeter
from anneal_serving.model_info import ModelInfo
from anneal_serving.openapi import openapi_document
from anneal_serving.pages import page_routes
from anneal_serving.predict_route import PredictRoute
from anneal_serving.predictor import Predictor
from anneal_serving.requests import Limits
from anneal_serving.responses import error_response, json_response

VERSION_HEADER = "X-Model-Version"
"""Names the model that answered, on every response."""

_log = logging.getLogger(__name__)


def build_app(
    predictor: Predictor,
    info: ModelInfo,
    limits: Limits | None = None,
    *,
    meters: Sequence[Meter] = (),
    outlook: Callable[[], Mapping[str, object]] = dict,
) -> ModelApp:
    """Returns the server of a model.

    Args:
        predictor: Answers; it has answered before, so the app is ready at once.
        info: Describes the model.
        limits: How much a request may ask for.
        meters: Count beside the app's own `GET /metrics`.
        outlook: What `GET /health/ready` says beside its own, each time: whether another version is to take over.
    """
    limits = limits or Limits()
    prometheus = PrometheusMeter(info.version)
    counting = (prometheus, *meters)
    document = openapi_document(info, limits)

    async def live(_: Request) -> Response:
        return json_response({"status": "live"})

    async def ready(_: Request) -> Response:
        return json_response({"status": "ready", "version": info.version, **outlook()})

    async def model(_: Request) -> Response:
        return json_response(info.as_json())

    async def openapi(request: Request) -> Response:
        prefix = request.scope.get("root_path")  # where a proxy in front has the app below a path
        return json_response({**document, "servers": [{"url": prefix}]} if prefix else document)

    async def metrics(_: Request) -> Response:
        return Response(prometheus.exposition(), media_type=prometheus.content_type)

    routes = [
        Route("/predict", PredictRoute(predictor, limits, counting), methods=["POST"]),
        Route("/health/live", live),
        Route("/health/ready", ready),
        Route("/model", model),
        Route("/openapi.json", openapi),
        Route("/metrics", metrics),
        *page_routes(),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _http_error, Exception: _failure})
    app.router.redirect_slashes = False
    return ModelApp(app, info.version, counting)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "")
        return error_response(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "wrong_method",
            "This path does not take the method.",
            remedy=f"Use {allowed}.",
            headers={"allow": allowed},
        )
    if error.status_code == HTTPStatus.NOT_FOUND:
        return error_response(
            HTTPStatus.NOT_FOUND,
            "not_found",
            "There is nothing at this path.",
            remedy="Send POST /predict, or open /docs for all paths.",
        )
    status = HTTPStatus(error.status_code)
    return error_response(status, status.name.lower(), f"{status.phrase}.")


async def _failure(_: Request, __: Exception) -> Response:
    return error_response(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal",
        "The server failed on this request.",
        remedy="Report it; the server's log has the cause.",
    )


class ModelApp:
    """An ASGI app that names its model on every response, counts every request, and lets out no traceback.

    Args:
        app: Answers.
        version: Names the model.
        meters: Count.
    """

    def __init__(self, app: Starlette, version: str, meters: Sequence[Meter]) -> None:
        self._app = app
        self._header = (VERSION_HEADER.lower().encode(), version.encode())
        self._meters = meters
        self._known_paths = frozenset(route.path for route in app.routes if isinstance(route, Route))

    def close(self) -> None:
        """Lets go of the model; nothing may ask the app any more.

        Starlette's router refers to itself, and Ray exempts what a replica has at its start from the search for
        such cycles: the model would stay in memory for good.
        """
        self._app.router.routes.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), self._header]
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except Exception:  # noqa: BLE001  # Starlette has answered with `_failure`; the log gets the cause
            _log.exception("a request to %s failed", scope["path"])
        if status:  # else the client hung up before there was anything to answer
            path = scope["path"]
            route = path if path in self._known_paths else "other"
            seconds = time.perf_counter() - started
            for meter in self._meters:
                meter.count_request(route, status, seconds)
