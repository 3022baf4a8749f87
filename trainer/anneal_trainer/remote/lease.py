"""Holds a name in a bucket against every other process, wherever it runs.

The holder writes a small file anew every few seconds, each time on the condition that it is still its own. Whoever
waits watches the file: if it does not change for longer than a holder may be silent, the holder is gone, and the
waiting one takes it over, on the condition that it is still what it watched. No two clocks are compared: the way of
the Leases of Kubernetes.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from anneal_api.errors import ResourceUnavailable
from anneal_api.uris import LocationError
from anneal_trainer.remote.writable_bucket import Content, WritableBucket, knows_no_conditions

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long holders and those who wait give each other.

    Attributes:
        renew_seconds: A holder writes this often.
        silent_seconds: A holder that is silent for this long is gone.
        look_seconds: Whoever waits looks this often.
    """

    renew_seconds: float = 15.0
    silent_seconds: float = 75.0
    look_seconds: float = 2.0


class StillHeld(ResourceUnavailable):
    """Another process holds it, and the wait for it is over."""


@contextmanager
def lease(
    bucket: WritableBucket,
    name: str,
    *,
    wait_seconds: float,
    lost: Callable[[], None],
    patience: Patience | None = None,
) -> Iterator[None]:
    """Holds a name while the block runs.

    Args:
        bucket: Where the name is.
        name: The name: a file that is made where there is none.
        wait_seconds: How long to wait for another holder.
        lost: Called, from another thread, if somebody took it over: this process was silent for too long.
        patience: How long holders and those who wait give each other.

    Raises:
        StillHeld: Another process holds it still.
        ResourceUnavailable: The store cannot be reached, or it knows no conditions.
        LocationError: The bucket may not be used.
    """
    patience = patience or Patience()
    holder = f"{os.getpid()} on {socket.gethostname()}"
    held = _Held(bucket, name, holder, _taken(bucket, name, holder, wait_seconds, patience), lost, patience)
    with held:
        yield


def _taken(bucket: WritableBucket, name: str, holder: str, wait_seconds: float, patience: Patience) -> str:
    """Waits for the name and takes it; returns the etag of what was written."""
    deadline = time.monotonic() + wait_seconds
    watched: Content | None = None
    since = time.monotonic()
    while True:
        found = bucket.read(name)
        if found is None:
            etag = bucket.create(name, _record(holder))
            if etag is not None:
                _require_conditions(bucket, name)
                return etag
        else:
            if watched is None or found.etag != watched.etag:
                watched, since = found, time.monotonic()
            gone = time.monotonic() - since > patience.silent_seconds
            if _is_free(found) or gone:
                etag = bucket.replace(name, _record(holder), found.etag)
                if etag is not None:
                    return etag
        if found is not None and time.monotonic() >= deadline:
            raise StillHeld(
                f"Another run of this job is at work (process {_holder(found) or 'unknown'}).",
                where=f"{bucket.uri}/{name}",
                remedy="Wait for it, or stop it.",
            )
        time.sleep(patience.look_seconds)


class _Held:
    """A lease that is held: a thread renews it."""

    def __init__(
        self,
        bucket: WritableBucket,
        name: str,
        holder: str,
        etag: str,
        lost: Callable[[], None],
        patience: Patience,
    ) -> None:
        self._bucket = bucket
        self._name = name
        self._holder = holder
        self._etag = etag
        self._lost = lost
        self._patience = patience
        self._ended = threading.Event()
        self._is_lost = False
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._is_lost:
            return
        try:
            self._bucket.replace(self._name, _record(""), self._etag)
        except (LocationError, ResourceUnavailable) as error:
            _logger.warning("The work folder could not be let go, the next pod has to wait: %s", error)

    def _renew(self) -> None:
        while not self._ended.wait(self._patience.renew_seconds):
            try:
                etag = self._bucket.replace(self._name, _record(self._holder), self._etag)
            except (LocationError, ResourceUnavailable) as error:
                _logger.warning("The work folder's lease could not be renewed, trying again: %s", error)
                continue
            if etag is None and not self._is_ours():
                self._is_lost = True
                _logger.error("Another pod took the work folder over: this one was silent for too long.")
                self._lost()
                return
            if etag is not None:
                self._etag = etag

    def _is_ours(self) -> bool:
        """Whether what is there is a write of our own whose answer did not get through."""
        try:
            found = self._bucket.read(self._name)
        except (LocationError, ResourceUnavailable):
            return True  # nobody can tell now; the next renewal will
        if found is None or _holder(found) != self._holder:
            return False
        self._etag = found.etag
        return True


def _require_conditions(bucket: WritableBucket, name: str) -> None:
    """Makes sure, when a job's first pod comes, that the store heeds what keeps pods apart."""
    if bucket.create(name, b"{}") is not None or bucket.replace(name, b"{}", '"0"') is not None:
        raise knows_no_conditions(bucket.uri)


def _record(holder: str) -> bytes:
    # Something new each time, so that the etag changes.
    return json.dumps({"holder": holder, "renewal": uuid.uuid4().hex}).encode()


def _holder(found: Content) -> str:
    try:
        return str(json.loads(found.content)["holder"])
    except (ValueError, KeyError, TypeError):
        return ""


def _is_free(found: Content) -> bool:
    return not _holder(found)
