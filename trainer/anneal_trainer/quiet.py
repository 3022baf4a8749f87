"""Keeps libraries that talk a lot from a person's terminal."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging

_TALKATIVE = (
    "transformers",
    "torch.onnx",
    "torch.__trace",  # each step of an export, for whoever has a handler at the root
    "onnxscript",
    "onnx_ir",
    "ray.train",
    "ray.serve",
    "ray.data",
    "ray",
)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Lets only errors of the talkative libraries through, and no progress bars."""
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def quiet_output() -> Iterator[None]:
    """Swallows what a library prints, beside `quiet_libraries`: whole programs, where one cannot be exported."""
    nowhere, disabled = io.StringIO(), logging.root.manager.disable
    logging.disable(max(disabled, logging.WARNING))
    try:
        with quiet_libraries(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            yield
    finally:
        logging.disable(disabled)
