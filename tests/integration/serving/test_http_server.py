"""The real server: Ray Serve, its proxy and its replica, over real HTTP."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest
from tiny_model import TEXTS

from anneal_serving.artifact import Artifact

if TYPE_CHECKING:
    from conftest import Server

pytestmark = pytest.mark.integration

BODY_50_MB = b'{"text": "' + b"a" * (50 << 20) + b'"}'
LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
LISTENING = "0A"


def in_chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 1 << 16):
        yield body[start : start + (1 << 16)]


def predict(server: Server, **request: object) -> httpx.Response:
    return httpx.post(f"{server.url}/predict", timeout=60, **request)  # type: ignore[arg-type]


def answers_well(server: Server) -> bool:
    return predict(server, json={"text": TEXTS[0]}).status_code == 200


def test_answers_over_http_are_those_of_the_predictor(server: Server) -> None:
    with Artifact.open(server.folder).predictor() as predictor:
        expected = predictor.predict(TEXTS)
    together = predict(server, json={"inputs": TEXTS}).json()["predictions"]
    alone = [predict(server, json={"text": text}).json() for text in TEXTS]
    assert together == alone
    for answer, wanted in zip(together, expected, strict=True):
        assert (answer["label"], answer["score"]) == (wanted.label, wanted.score)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param({"content": b""}, 400, id="empty"),
        pytest.param({"content": b"\x00\xff\xfe" * 100}, 400, id="not UTF-8"),
        pytest.param({"content": b"[" * 900_000}, 400, id="deep"),
        pytest.param({"content": b'{"text": NaN}'}, 400, id="NaN"),
        pytest.param({"content": b'{"text": "\\ud800"}'}, 422, id="lone surrogate"),
        pytest.param({"json": {"text": 7}}, 422, id="wrong type"),
        pytest.param({"json": {"text": "  "}}, 422, id="blank"),
        pytest.param({"json": {"inputs": []}}, 422, id="empty list"),
        pytest.param({"json": {"txt": "good"}}, 422, id="unknown field"),
        pytest.param({"json": {"text": "a " * 100_000}}, 422, id="over-long"),
        pytest.param({"json": {"inputs": ["good"] * 10_000}}, 413, id="10 000 items"),
        pytest.param({"json": {"inputs": [" ".join(TEXTS)] * 200}}, 413, id="too many tokens"),
        pytest.param({"content": BODY_50_MB}, 413, id="50 MB"),
        pytest.param({"content": b"\xff" * (50 << 20)}, 413, id="50 MB of rubbish"),
    ],
)
def test_a_bad_request_is_refused_with_a_reason_and_the_next_one_answered(
    server: Server, request_: dict[str, object], status: int
) -> None:
    response = predict(server, **request_)
    assert response.status_code == status
    assert response.headers["x-model-version"] == "reviews/v1"
    assert response.json()["error"]["message"]
    assert answers_well(server)


def test_50_mb_in_chunks_are_answered_soon(server: Server) -> None:
    started = time.monotonic()
    response = predict(server, content=in_chunks(BODY_50_MB))
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"
    assert time.monotonic() - started < 20
    assert answers_well(server)


@pytest.mark.parametrize(
    "raw",
    [
        b'POST /predict HTTP/1.1\r\nHost: m\r\nContent-Length: 1000\r\n\r\n{"text"',
        b"POST /predict HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /predict HTTP/1.1\r\nHost: m\r\nContent-Length: -5\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET " + b"/" * 100_000,
    ],
)
def test_a_client_that_breaks_the_protocol_or_hangs_up_does_no_harm(server: Server, raw: bytes) -> None:
    address = urlsplit(server.url)
    for _ in range(5):
        with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
            connection.sendall(raw)
            connection.settimeout(0.2)
            try:
                first = connection.recv(100)
            except (TimeoutError, ConnectionResetError):
                continue
            assert b" 5" not in first[8:11]
    assert answers_well(server)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/predict", 405),
        ("PUT", "/predict", 405),
        ("GET", "/nope", 404),
        ("GET", "/%00", 404),
        ("GET", "/health/live", 200),
        ("HEAD", "/health/ready", 200),
        ("GET", "/model", 200),
    ],
)
def test_paths_and_methods(server: Server, method: str, path: str, status: int) -> None:
    response = httpx.request(method, f"{server.url}{path}", timeout=30)
    assert response.status_code == status
    assert response.headers["x-model-version"] == "reviews/v1"


def test_64_clients_at_once_all_get_their_own_answer(server: Server) -> None:
    expected = {text: predict(server, json={"text": text}).json() for text in TEXTS}

    def ask(number: int) -> bool:
        text = TEXTS[number % len(TEXTS)]
        with httpx.Client(timeout=60) as client:
            return all(
                client.post(f"{server.url}/predict", json={"text": text}).json() == expected[text]
                for _ in range(5)
            )

    with ThreadPoolExecutor(64) as clients:
        assert all(clients.map(ask, range(64)))


def test_metrics_are_on_the_server_and_in_rays_export(server: Server) -> None:
    assert answers_well(server)
    own = httpx.get(f"{server.url}/metrics", timeout=30).text
    assert 'anneal_requests_total{model_version="reviews/v1",route="/predict",status="200"}' in own
    deadline = time.monotonic() + 60
    exported = ""
    while "ray_anneal_rows_total" not in exported and time.monotonic() < deadline:
        time.sleep(1)
        exported = httpx.get(server.ray_metrics, timeout=30).text
    assert "ray_anneal_rows_total" in exported
    assert "ray_anneal_requests_total" in exported
    assert 'model_version="reviews/v1"' in exported


def test_nothing_listens_beyond_this_machine(server: Server) -> None:
    listening = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING:
                listening[f"socket:[{fields[9]}]"] = fields[1].partition(":")[0]
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if server.mark.encode() not in (process / "environ").read_bytes():
                continue
            sockets = {str(link.readlink()) for link in (process / "fd").iterdir()}
            name = (process / "cmdline").read_bytes()[:60]
        except OSError:
            continue  # it ended meanwhile
        found |= {one: (listening[one], name) for one in sockets & listening.keys()}
    assert len(found) > 3
    assert {one: place for one, place in found.items() if place[0] not in LOOPBACK} == {}


def start(folder: Path, port: int | None) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).parent / "serve_until_stdin_closes.py"
    return subprocess.run(
        [sys.executable, str(script), str(folder), str(port)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_taken_port_is_said_at_once(server: Server) -> None:
    port = urlsplit(server.url).port
    done = start(server.folder, port)
    assert done.returncode == 1
    assert done.stderr.startswith(f"ResourceUnavailable: Port {port}")


def test_a_model_that_cannot_answer_is_not_served(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "v1"
    shutil.copytree(server.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["predictor"]["labels"].pop()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = start(folder, 0)
    assert done.returncode == 1
    assert done.stderr.startswith("ArtifactInvalid: ")


def test_the_description_of_the_api_is_served(server: Server) -> None:
    document = json.loads(httpx.get(f"{server.url}/openapi.json", timeout=30).content)
    assert "/predict" in document["paths"]
