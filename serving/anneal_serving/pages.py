"""The pages for people: the playground at `/` and the API at `/docs`, with local assets only."""

from __future__ import annotations

import mimetypes
from hashlib import blake2b
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_HEADERS = {
    "cache-control": "no-cache",
    # A page that can load nothing from elsewhere works without a network and tells nobody that it was opened.
    "content-security-policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_PLAYGROUND = ("playground.css", "playground.js", "icon.svg")
_DOCS = ("docs.js",)
_SWAGGER = ("swagger-ui.css", "swagger-ui-bundle.js")


def page_routes() -> list[Route]:
    """Returns the routes of all pages and their assets."""
    own = resources.files("anneal_serving") / "playground"
    swagger = resources.files("fastapi_swagger.resources")
    return [
        _file_route("/", own / "index.html"),
        _file_route("/docs", own / "docs.html"),
        *(_file_route(f"/assets/{name}", own / name) for name in (*_PLAYGROUND, *_DOCS)),
        *(_file_route(f"/assets/{name}", swagger / name) for name in _SWAGGER),
    ]


def _file_route(path: str, file: Traversable) -> Route:
    content = file.read_bytes()
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    tag = f'"{blake2b(content, digest_size=8).hexdigest()}"'
    headers = {**_HEADERS, "etag": tag}

    async def answer(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=kind)

    return Route(path, answer)
