"""What a training leaves behind in the process that led it."""

from __future__ import annotations

import signal

from anneal_trainer.engine.launch import _interrupts_given_back


def test_ctrl_c_does_afterwards_what_it_did_before():
    before = signal.getsignal(signal.SIGINT)
    with _interrupts_given_back():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as Ray Train does, and never takes back
    assert signal.getsignal(signal.SIGINT) is before
