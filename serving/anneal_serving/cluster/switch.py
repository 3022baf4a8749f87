"""Switches versions without a gap: one answers while the next is loaded, beside the requests, on a thread.

Ray takes a replica out of service while its `reconfigure` runs, and restarts one whose `reconfigure` raises, on the
very configuration that broke it. So a wish is only recorded there. What comes of it is decided here: the new
version takes over when it has been verified and has answered once, and when it cannot, the old one stays.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from anneal_api.errors import AnnealError
from anneal_serving.cluster.wish import Wish
from anneal_serving.responses import error_response, json_response

_LONGEST_REASON = 2000


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A version that is ready to answer.

    Attributes:
        name: Job and number, for example `reviews/v3`.
        app: Answers requests with it.
        close: Frees what it holds, once nothing asks it any more.
    """

    name: str
    app: ASGIApp
    close: Callable[[], None]


class SwitchMeter(Protocol):
    """Notes which version is wanted and which one serves."""

    def wanted(self, version: int) -> None:
        """Notes the number of the version that shall serve."""

    def serving(self, version: int) -> None:
        """Notes the number of the version that serves."""

    def failed(self) -> None:
        """Counts an attempt to load a version that came to nothing."""


@dataclass(slots=True)
class _InService:
    """A version that answers, or did: how many requests it has in work, and whether no more will come."""

    loaded: LoadedVersion
    wish: Wish
    requests: int = 0
    retired: bool = False


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why the wanted version does not serve."""

    version: int | None
    reason: str
    refused: bool = False


class VersionSwitch:
    """An ASGI app that answers with the version that was wished for last, of those that could be loaded.

    Args:
        load: Verifies and loads a version, and lets it answer once. Runs on a thread; may take minutes.
        meter: Notes what is wanted and what serves.
        log: Is told of every switch.
        first_retry: Seconds after which a version that could not be loaded is tried again; each time doubled.
        longest_retry: The most seconds between two attempts.
    """

    def __init__(
        self,
        load: Callable[[Wish], LoadedVersion],
        meter: SwitchMeter,
        *,
        log: logging.Logger,
        first_retry: float = 10.0,
        longest_retry: float = 300.0,
    ) -> None:
        self._load = load
        self._meter = meter
        self._log = log
        self._first_retry = first_retry
        self._longest_retry = longest_retry
        self._changed = threading.Condition()  # guards all that follows
        self._serving: _InService | None = None
        self._wish: Wish | None = None
        self._failure: _Failure | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def serves(self) -> bool:
        """Whether a version answers."""
        return self._serving is not None

    def load_first(self, wish: Wish) -> None:
        """Loads the first version and puts it into service, in the caller's thread.

        Raises:
            AnnealError: It cannot be loaded; nothing answers.
        """
        self._meter.wanted(wish.version)
        loaded = self._load(wish)
        with self._changed:
            self._wish = wish
            self._serving = _InService(loaded, wish)
        self._meter.serving(wish.version)
        self._log.info("%s serves", loaded.name)

    def ask(self, wish: Wish) -> None:
        """Records which version shall serve, and returns at once. The last wish counts."""
        with self._changed:
            if wish == self._wish and not (self._failure and self._failure.refused):
                return
            self._wish = wish
            self._failure = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._fulfil, name="version-switch", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        self._meter.wanted(wish.version)

    def refuse(self, reason: str, version: int | None) -> None:
        """Records that a wish cannot be understood; what serves goes on serving.

        Args:
            reason: What is wrong with it.
            version: The number that it names, where it names one.
        """
        with self._changed:
            if self._serving:
                self._wish = self._serving.wish
            self._failure = _Failure(version, reason, refused=True)
            self._changed.notify_all()
        if version is not None:
            self._meter.wanted(version)
        self._meter.failed()
        self._log.error("the version that shall serve is unknown, so the old one goes on: %s", reason)

    def outlook(self) -> dict[str, object]:
        """Returns what is to become of the version that serves: empty where it is the one that is wanted."""
        with self._changed:
            wish, failure, serving = self._wish, self._failure, self._serving
        if failure:
            wanted = {"version": failure.version, "state": "failed", "reason": failure.reason}
        elif wish and (serving is None or serving.wish != wish):
            wanted = {"version": wish.version, "state": "loading", "reason": ""}
        else:
            return {}
        return {"wanted": wanted}

    def close(self) -> None:
        """Ends the thread and frees the version that serves."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            serving, self._serving = self._serving, None
        if self._thread:
            self._thread.join()
        if serving:
            serving.loaded.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request with the version that serves when it comes, whatever is switched meanwhile."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        with self._in_work() as version:
            app = version.app if version else _nothing_serves
            await app(scope, receive, send)

    @contextmanager
    def _in_work(self) -> Iterator[LoadedVersion | None]:
        """Holds the version that serves, so that it is not freed before the request is through."""
        with self._changed:
            serving = self._serving
            if serving:
                serving.requests += 1
        try:
            yield serving.loaded if serving else None
        finally:
            if serving:
                with self._changed:
                    serving.requests -= 1
                    unused = serving.retired and not serving.requests
                if unused:
                    # Freeing waits for rows in work: not in the event loop that answers everybody.
                    threading.Thread(target=serving.loaded.close, name="version-close", daemon=True).start()

    def _fulfil(self) -> None:
        retry = self._first_retry
        last: Wish | None = None
        while (wish := self._next_wish()) is not None:
            if wish != last:
                last, retry = wish, self._first_retry
            started = time.monotonic()
            try:
                loaded = self._load(wish)
            except Exception as error:  # noqa: BLE001  # whatever is wrong with it, the old one must go on
                self._note_failure(wish, error, retry)
                self._wait_for_another(wish, retry)
                retry = min(2 * retry, self._longest_retry)
            else:
                self._take_over(wish, loaded, time.monotonic() - started)
                del loaded  # a name here would keep the model in memory until the next switch

    def _next_wish(self) -> Wish | None:
        """Waits until the wanted version is not the one that serves; None: it is over."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._closed
                    or (
                        self._wish is not None and (self._serving is None or self._serving.wish != self._wish)
                    )
                )
            )
            return None if self._closed else self._wish

    def _wait_for_another(self, wish: Wish, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._wish != wish, timeout=seconds)

    def _note_failure(self, wish: Wish, error: Exception, retry: float) -> None:
        reason = str(error) if isinstance(error, AnnealError) else f"{type(error).__name__}: {error}"
        with self._changed:
            if self._wish == wish:
                self._failure = _Failure(wish.version, reason[:_LONGEST_REASON])
            name = self._serving.loaded.name if self._serving else "nothing"
        self._meter.failed()
        # The trace tells nothing where the words are ours, and everything where they are not.
        self._log.error(
            "version %d cannot be loaded, %s goes on serving; next attempt in %.0f seconds: %s",
            wish.version,
            name,
            retry,
            reason,
            exc_info=None if isinstance(error, AnnealError) else error,
        )

    def _take_over(self, wish: Wish, loaded: LoadedVersion, seconds: float) -> None:
        with self._changed:
            wanted = not self._closed and self._wish == wish
            if wanted:
                old, self._serving = self._serving, _InService(loaded, wish)
                self._failure = None
                if old:
                    old.retired = True
                unused = old if old and not old.requests else None
            else:
                # Another wish came while this one was loaded, a way back perhaps: nobody must get it now.
                unused = _InService(loaded, wish)
        if wanted:
            self._meter.serving(wish.version)
            self._log.info("%s serves, after %.1f seconds of loading", loaded.name, seconds)
        if unused:
            unused.loaded.close()


async def _nothing_serves(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    if scope["path"] == "/health/live":
        response = json_response({"status": "live"})
    else:
        response = error_response(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "loading",
            "The model is being loaded.",
            remedy="Wait for the seconds that Retry-After names, and send the request again.",
            headers={"retry-after": "1"},
        )
    await response(scope, receive, send)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
