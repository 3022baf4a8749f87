"""The load generator: a closed loop of keep-alive connections, in a process of its own.

    python -m tests.benchmarks.load --port 8000 --texts texts.json --connections 16 --seconds 6
    python -m tests.benchmarks.load --port 8000 --texts texts.json --answers answers.json

Every connection sends the next text as soon as the last one is answered. It speaks HTTP through `httptools` and
nothing else, because whatever the client costs is taken from the server on the same cores: about 40 microseconds a
request, a fourth of what a client library costs. All servers meet the same client, texts and order.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import cast

import httptools
import numpy as np
import uvloop

_HOST = "127.0.0.1"
_OK = 200
_NOT_YET = frozenset({404, 502, 503})
"""What proxies say while there is nothing behind them."""

_SEED = 20
_RECONNECT_SECONDS = 0.02
_TRIES = 2

Record = Callable[[int, float, float, int, bytes], None]
"""Told of every answer: place of the text, start and end in seconds, status (0: connection lost), body."""


class NoAnswer(Exception):
    """A server does not come up."""


class Connection(asyncio.Protocol):
    """One connection that asks again as soon as it is answered.

    Args:
        requests: Places of the texts to send, shared by all connections.
        messages: The requests, ready to be sent.
        record: Told of every answer.
    """

    def __init__(self, requests: Iterator[int], messages: list[bytes], record: Record) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._messages = messages
        self._record = record
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._place: int | None = None
        self._started = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self._send()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Called by the parser with a part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser when an answer is whole."""
        assert self._place is not None
        body, self._body = b"".join(self._body), []
        self._record(self._place, self._started, time.perf_counter(), self._parser.get_status_code(), body)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the event loop's name for it
        if self._place is not None:
            self._record(self._place, self._started, time.perf_counter(), 0, b"")
        if not self.ended.done():
            self.ended.set_result(self._place is not None)

    def close(self) -> None:
        """Ends the connection; an answer that is still due does not count."""
        self._place = None
        if self._transport is not None:
            self._transport.close()

    def _send(self) -> None:
        assert self._transport is not None
        self._place = next(self._requests, None)
        if self._place is None:
            self._transport.close()
            return
        self._started = time.perf_counter()
        self._transport.write(self._messages[self._place])


async def _keep_connected(
    port: int, open_connections: set[Connection], make: Callable[[], Connection]
) -> None:
    """Holds one connection; a server that closes it gets a new one."""
    lost = True
    while lost:
        _, connection = await asyncio.get_running_loop().create_connection(make, _HOST, port)
        open_connections.add(connection)
        lost = await connection.ended
        open_connections.discard(connection)
        if lost:
            await asyncio.sleep(_RECONNECT_SECONDS)


async def measure(
    port: int, messages: list[bytes], *, connections: int, warm_up: float, seconds: float
) -> dict[str, float]:
    """Returns requests per second, latencies in milliseconds and errors of a closed loop.

    Args:
        port: Where the server listens.
        messages: The requests.
        connections: How many are open.
        warm_up: Seconds at the beginning that do not count.
        seconds: Seconds that count.
    """
    order = list(range(len(messages)))
    random.Random(_SEED).shuffle(order)
    requests = cycle(order)
    begin = time.perf_counter() + warm_up
    end = begin + seconds
    latencies: list[float] = []
    errors = 0

    def record(_place: int, started: float, ended: float, status: int, _body: bytes) -> None:
        nonlocal errors
        if ended < begin or ended > end:
            return
        if status == _OK:
            latencies.append((ended - started) * 1000)
        else:
            errors += 1

    open_connections: set[Connection] = set()
    make = partial(Connection, requests, messages, record)
    tasks = [asyncio.create_task(_keep_connected(port, open_connections, make)) for _ in range(connections)]
    await asyncio.sleep(warm_up + seconds)
    for task in tasks:
        task.cancel()
    for connection in list(open_connections):
        connection.close()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    errors += sum(isinstance(outcome, OSError) for outcome in ended)  # the server took no connection any more
    if not latencies:
        raise SystemExit(f"No request was answered in {seconds} seconds; {errors} failed.")
    p50, p99 = np.percentile(latencies, [50, 99])
    return {
        "rps": len(latencies) / seconds,
        "p50 ms": float(p50),
        "p99 ms": float(p99),
        "errors": float(errors),
    }


async def answers(port: int, messages: list[bytes], *, connections: int) -> list[object]:
    """Sends every request once and returns the decoded answers, in order; None where there was none."""
    found: list[object] = [None] * len(messages)

    def record(place: int, _started: float, _ended: float, status: int, body: bytes) -> None:
        if status == _OK:
            found[place] = json.loads(body)

    for _ in range(_TRIES):
        # A proxy that has just learned of a replica may drop the connections that it has: those are asked again.
        missing = iter([place for place, answer in enumerate(found) if answer is None])
        make = partial(Connection, missing, messages, record)
        await asyncio.gather(*(_keep_connected(port, set(), make) for _ in range(connections)))
    return found


def request_for(text: str, port: int) -> bytes:
    """Returns `POST /predict` with one text, as it goes over the wire."""
    body = json.dumps({"text": text}, ensure_ascii=False).encode()
    head = (
        f"POST /predict HTTP/1.1\r\nHost: {_HOST}:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def wait_until_answers(port: int, text: str, *, within: float, pause: float) -> float:
    """Asks until the server answers with 200, and returns when it did, on the clock of `time.monotonic`.

    Args:
        port: Where it will listen.
        text: What to ask.
        within: Seconds after which it is given up.
        pause: Seconds between two questions.

    Raises:
        NoAnswer: It did not, or it answers something else.
    """
    deadline = time.monotonic() + within
    body = json.dumps({"text": text}).encode()
    last: object = "nothing was tried"
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(_HOST, port, timeout=30)
        try:
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            if response.status == _OK:
                return time.monotonic()
            if response.status not in _NOT_YET:
                raise NoAnswer(f"The server is up and answers {response.status}.")
            last = f"status {response.status}"
        except (OSError, http.client.HTTPException) as error:
            last = repr(error)
        finally:
            connection.close()
        time.sleep(pause)
    raise NoAnswer(f"No answer on port {port} within {within:.0f} seconds; the last try: {last}.")


def main() -> None:
    """Waits for the server, loads it, prints the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--texts", type=Path, required=True, help="JSON list of texts")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--within", type=float, default=120.0, help="seconds to wait for the first answer")
    parser.add_argument("--answers", type=Path, help="ask every text once and write the answers here")
    asked = parser.parse_args()
    texts: list[str] = json.loads(asked.texts.read_text(encoding="utf-8"))
    messages = [request_for(text, asked.port) for text in texts]
    wait_until_answers(asked.port, texts[0], within=asked.within, pause=0.1)
    if asked.answers:
        found = uvloop.run(answers(asked.port, messages, connections=asked.connections))
        asked.answers.write_text(json.dumps(found), encoding="utf-8")
        return
    figures = uvloop.run(
        measure(
            asked.port,
            messages,
            connections=asked.connections,
            warm_up=asked.warm_up,
            seconds=asked.seconds,
        )
    )
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
