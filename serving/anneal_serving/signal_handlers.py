"""What signals do to this process, kept from libraries that put handlers of their own in place."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals by which a person or a machine ends a process that may tidy up."""


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Puts back what the signals that end a process did before.

    Ray's start puts a handler in place that prints the stack, its end that of the system, and Ray Train one that
    answers Ctrl-C long after there is nothing left to abort.
    """
    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None:  # else it was not put there from Python
                    signal.signal(number, handler)
