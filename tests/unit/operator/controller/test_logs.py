"""Logs are one JSON object a line and say which job they are about."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from anneal_operator.cluster.cache import JobKey
from anneal_operator.controller.logs import about, configure


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in ("kopf", "aiohttp.access")}
    stream = io.StringIO()
    configure("info", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, was in quiet.items():
        logging.getLogger(name).setLevel(was)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_names_its_job_and_only_inside(written: io.StringIO) -> None:
    log = logging.getLogger("anneal_operator.x")
    with about(JobKey("ns", "reviews")):
        log.info("step %d", 3)
    log.warning("later")
    inside, outside = lines(written)
    assert inside["job"] == "ns/reviews"
    assert (inside["level"], inside["message"], inside["logger"]) == ("info", "step 3", "anneal_operator.x")
    assert inside["time"].endswith("+00:00")
    assert "job" not in outside


def test_a_traceback_stays_on_its_line(written: io.StringIO) -> None:
    try:
        raise ValueError("broken\nin two")
    except ValueError:
        logging.getLogger("x").exception("a bug")
    (line,) = lines(written)
    assert "ValueError: broken" in line["error"]


def test_kopfs_chatter_is_left_out_and_its_worries_name_their_object(written: io.StringIO) -> None:
    logging.getLogger("kopf.objects").info("Handler 'hear' succeeded.")
    reference = {"namespace": "ns", "name": "reviews"}
    logging.getLogger("kopf.objects").error("failed", extra={"k8s_ref": reference, "anything": object()})
    (line,) = lines(written)
    assert line["job"] == "ns/reviews"
    assert set(line) == {"time", "level", "logger", "message", "job"}
