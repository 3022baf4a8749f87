"""What tests do about the real parts that they need, which are built once in a while and may not be there."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest
from cluster.progress import Say


def in_ci() -> bool:
    """Returns whether a part that is missing is a failure."""
    return os.environ.get("CI") == "true"


def teller(config: pytest.Config) -> Say:
    """Returns what shows a line to whoever waits in front of the test run."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")

    def show(line: str) -> None:
        with capture.global_and_fixture_disabled():
            terminal.write_line(f"\n{line}")

    return show


def not_to_be_had(part: str, why: object) -> NoReturn:
    """Skips what needs a part, which the end of the run says loudly; in CI it fails.

    Args:
        part: What is missing, for example `API server`.
        why: Why.
    """
    if in_ci():
        pytest.fail(f"CI needs a real {part}. {why}")
    pytest.skip(f"NOT TESTED ON A REAL {part.upper()}: {why}")
