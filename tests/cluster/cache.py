"""The folder that keeps what is expensive to make, and locks so that two processes never make the same."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .progress import Say


def cache_folder() -> Path:
    """Returns where binaries, parts of images and logs are kept: `$ANNEAL_CACHE/kind` or ~/.cache/anneal/kind."""
    chosen = os.environ.get("ANNEAL_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute() / "kind"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "anneal" / "kind"


@contextmanager
def locked(name: str, say: Say) -> Iterator[None]:
    """Holds a lock among all processes that share the cache; says so when it has to wait."""
    path = cache_folder() / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another process is at work on {name}: waiting for it.")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
