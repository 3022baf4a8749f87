"""Logs: one JSON object a line, with the job that a line is about."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from anneal_operator.cluster.cache import JobKey

_JOB: ContextVar[JobKey | None] = ContextVar("job", default=None)
# kopf tells of every event that it hands over. Its warnings and errors are worth reading.
_QUIET = ("kopf", "aiohttp.access")


@contextmanager
def about(job: JobKey) -> Iterator[None]:
    """Marks every line that is logged inside as being about a job."""
    token = _JOB.set(job)
    try:
        yield
    finally:
        _JOB.reset(token)


class JsonFormatter(logging.Formatter):
    """Writes a line as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if job := _job_of(record):
            line["job"] = job
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _job_of(record: logging.LogRecord) -> str:
    if (job := _JOB.get()) is not None:
        return str(job)
    # kopf's own lines about an object.
    reference = getattr(record, "k8s_ref", None) or {}
    return f"{reference.get('namespace')}/{reference['name']}" if reference.get("name") else ""


def configure(level: str, stream: TextIO | None = None) -> None:
    """Sends every log to a stream as JSON.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        stream: Where to; None: standard error.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
