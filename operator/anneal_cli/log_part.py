"""The parts of a job that have a log. Apart from what reads them, so that `anneal --help` stays quick."""

from __future__ import annotations

from enum import StrEnum


class LogPart(StrEnum):
    """A part of a job's way that has a log."""

    PREPARE = "prepare"
    TRAIN = "train"
    FINISH = "finish"
    SERVE = "serve"
    PARITY = "parity"
