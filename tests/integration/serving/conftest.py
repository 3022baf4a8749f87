from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_model import onnx_config, publish, write_tiny_model

SCRIPT = Path(__file__).parent / "serve_until_stdin_closes.py"


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        url: Where it answers.
        ray_metrics: Where Ray shows the metrics of all replicas.
        folder: The published version.
        mark: A word in the environment of the server's processes, and of no other.
    """

    url: str
    ray_metrics: str
    folder: Path
    mark: str


@pytest.fixture(scope="session")
def version_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job") / "v1"
    publish(folder, onnx_config(write_tiny_model(folder), "int8.onnx"))
    return folder


@pytest.fixture(scope="session")
def server(version_folder: Path) -> Iterator[Server]:
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(version_folder), "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"ANNEAL_TEST_MARK": mark},
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        line = process.stdout.readline()
        assert line.startswith("{"), line + process.stdout.read()
        place = json.loads(line)
        yield Server(place["url"], place["rayMetrics"], version_folder, mark)
        process.stdin.close()
        rest = process.stdout.read()
        assert process.wait(60) == 0
        assert rest == ""  # nothing is said behind a person's back
