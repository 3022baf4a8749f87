"""Reads a request's body in an ASGI server without trusting what the client says of it."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.types import Receive

from anneal_serving.requests import Limits, RequestRefused

_DRAIN_BYTES = 64 << 20
_DRAIN_SECONDS = 5.0


class ClientGone(Exception):  # nobody is left to be told of an error
    """The client hung up before its request was complete."""


async def read_body(receive: Receive, limits: Limits) -> bytes:
    """Returns the body of a request.

    A body over the limit is read on for a while and thrown away: a client that is still sending may not see
    an answer that comes before its end.

    Args:
        receive: The ASGI channel.
        limits: The size of the body, counted as it comes, and the time that it may take.

    Raises:
        RequestRefused: The body is larger than allowed (413), or does not come (408).
        ClientGone: The client hung up.
    """
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            while True:
                chunk, more = await _next_chunk(receive)
                size += len(chunk)
                if size > limits.max_body_bytes:
                    chunks.clear()
                    break
                chunks.append(chunk)
                if not more:
                    return chunk if len(chunks) == 1 else b"".join(chunks)
    except TimeoutError:
        raise RequestRefused(
            HTTPStatus.REQUEST_TIMEOUT,
            "body_timeout",
            f"The body did not come within {limits.body_seconds:.0f} seconds.",
            remedy="Send it faster, or in smaller requests.",
        ) from None
    if more:
        await _drain(receive)
    raise RequestRefused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "body_too_large",
        f"The body is larger than {limits.max_body_bytes} bytes.",
        remedy="Send it in several requests.",
    )


async def _drain(receive: Receive) -> None:
    drained = 0
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while drained < _DRAIN_BYTES:
                chunk, more = await _next_chunk(receive)
                drained += len(chunk)
                if not more:
                    return
    except TimeoutError:
        return


async def _next_chunk(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)
