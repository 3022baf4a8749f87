"""Logs: one JSON object a line, with the job that a line is about."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

from anneal_operator.cluster.cache import JobKey

_JOB: ContextVar[JobKey | None] = ContextVar("job", default=None)


@contextmanager
def about(job: JobKey) -> Iterator[None]:
    """Marks every line that is logged inside as being about a job."""
    token = _JOB.set(job)
    try:
        yield
    finally:
        _JOB.reset(token)


class _Formatter(JsonFormatter):
    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        # Not the library's fields: it writes whatever a record carries, and kopf's carry all of its settings.
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data |= {"time": time, "level": record.levelname.lower()}
        log_data |= {"logger": record.name, "message": record.getMessage()}
        reference = getattr(record, "k8s_ref", {})  # of kopf's own lines about an object
        if job := _JOB.get():
            log_data["job"] = str(job)
        elif name := reference.get("name"):
            log_data["job"] = f"{reference.get('namespace')}/{name}"
        if trace := message_dict.get("exc_info"):
            log_data["error"] = trace


def configure(level: str, stream: TextIO | None = None) -> None:
    """Sends every log to a stream as JSON.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        stream: Where to; None: standard error.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Formatter(json_ensure_ascii=False))
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level.upper())
    # kopf tells of every event that it hands over. Its warnings and errors are worth reading.
    for name in ("kopf", "aiohttp.access"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))
