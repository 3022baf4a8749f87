"""What a signal to end does to a command: it unwinds as on Ctrl-C, quietly, and never hangs."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from anneal_api.errors import ExitCode

LAST_WORDS = "Interrupted. Run the same command again: it goes on where it was."

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_LONGEST_UNWINDING = 5.0
"""Seconds; after ten, `docker stop` kills what is still there."""


class Stopping:
    """Ends a command on SIGTERM and SIGHUP as Ctrl-C does.

    Whoever sends the signal often sends it to every process of the command, so that Ray's go down at the same time, and
    with many words. From the signal on, what is written to standard error is dropped, until `over` is called.

    Python handles a signal only when the main thread comes back from whatever library it is in, and to tidy up after a
    Ray that is gone takes long: a thread of its own makes sure that there is an end.

    Attributes:
        came: Whether a signal came.
    """

    def __init__(self) -> None:
        self.came = False
        self._spoken = False
        self._hushing = threading.Lock()
        self._standard_error = -1

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Answers the signals inside. One that the process was started to ignore, as by `nohup`, stays ignored."""
        mine = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
        if not mine or threading.current_thread() is not threading.main_thread():
            yield
            return
        ear, mouth = socket.socketpair()
        mouth.setblocking(False)
        for number in mine:
            signal.signal(number, self._handle)
        before = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(ear,), name="signals", daemon=True).start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            mouth.close()
            for number in mine:
                # A process that is told to end twice is on its way already.
                signal.signal(number, signal.SIG_IGN if self.came else signal.SIG_DFL)

    def over(self) -> None:
        """Lets standard error be read again, for the last words, and lets no further signal disturb them."""
        if self.came:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._speak()

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.came:
            return
        self.came = True
        self._hush()
        raise KeyboardInterrupt

    def _watch(self, ear: socket.socket) -> None:
        with ear:
            while numbers := ear.recv(64):
                if any(signal.getsignal(number) == self._handle for number in numbers):
                    break
            else:
                return
            # It stays open: where nobody listens, Python complains of the next signal.
            self._hush()
            time.sleep(_LONGEST_UNWINDING)
        if self._speak():
            with suppress(OSError):
                os.write(2, f"{LAST_WORDS}\n".encode())
        # Ray's processes end with this one, by themselves.
        os._exit(ExitCode.INTERRUPTED)

    def _hush(self) -> None:
        with self._hushing, suppress(OSError, ValueError):
            if self._standard_error < 0 and not self._spoken:
                sys.stderr.flush()
                self._standard_error = os.dup(2)
                silent = os.open(os.devnull, os.O_WRONLY)
                os.dup2(silent, 2)
                os.close(silent)

    def _speak(self) -> bool:
        """Gives standard error back; returns whether the last words are still to be said."""
        with self._hushing:
            first = not self._spoken
            self._spoken = True
            if self._standard_error >= 0:
                with suppress(OSError):
                    os.dup2(self._standard_error, 2)
                    os.close(self._standard_error)
            return first
