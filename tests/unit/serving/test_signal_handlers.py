"""A library's own handlers go when it is done."""

from __future__ import annotations

import signal

from anneal_serving.signal_handlers import ENDING, handlers_kept


def test_signals_do_afterwards_what_they_did_before():
    before = [signal.getsignal(number) for number in ENDING]
    with handlers_kept():
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)  # as Ray and Ray Train do, and never take back
    assert [signal.getsignal(number) for number in ENDING] == before
