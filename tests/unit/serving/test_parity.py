"""The parity probe, against a real server in this process."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from tiny_model import TEXTS, onnx_config, publish, right_answers

from anneal_api.published import PredictorConfig
from anneal_serving import parity
from anneal_serving.app import build_app
from anneal_serving.artifact import Artifact
from anneal_serving.model_info import ModelInfo


@pytest.fixture
def make(tiny: tuple[Path, PredictorConfig], tmp_path: Path) -> Callable[..., Path]:
    """Makes a published version."""

    def version(
        number: int = 1, file: str = "model.onnx", answers: Callable[[dict], dict] = lambda row: row
    ) -> Path:
        folder = tmp_path / f"{file}-v{number}"
        shutil.copytree(tiny[0], folder)
        config = onnx_config(tiny[1], file)
        publish(folder, config, version=number)
        publish(folder, config, version=number, parity=[answers(row) for row in right_answers(folder)])
        return folder

    return version


def app_of(folder: Path, **options: Any) -> ASGIApp:
    artifact = Artifact.open(folder)
    return build_app(artifact.predictor(), ModelInfo.of(artifact), **options)


@contextmanager
def running(app: ASGIApp) -> Iterator[str]:
    """Serves an app on a port of 127.0.0.1."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


class Between:
    """An app that lets a test change what is asked or answered."""

    def __init__(self, app: ASGIApp, instead: Callable[[str, int], tuple[int, str, object] | None]) -> None:
        self._app = app
        self._instead = instead
        self.paths: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        answer = self._instead(scope["path"], self.paths.count(scope["path"]))
        if answer is None:
            await self._app(scope, receive, send)
            return
        status, version, document = answer
        headers = [(b"x-model-version", version.encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(document).encode()})


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "_PAUSE_SECONDS", 0.02)


def test_a_server_that_answers_as_published_passes(
    make: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make()
    with running(app_of(folder)) as url:
        assert parity.main(["--url", url, "--version-folder", str(folder)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["equal"]
    assert (report["version"], report["rows"]) == ("reviews/v1", "held-out")
    assert (report["compared"], report["refused"]) == (len(TEXTS), 0)
    assert report["largestDifference"] < 1e-6
    assert report["firstDifference"] is None


def test_the_first_row_that_differs_is_named_without_its_text(
    make: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def other_label(row: dict) -> dict:
        return row | {"label": "neither"} if row["text"] in TEXTS[2:4] else row

    folder = make(answers=other_label)
    with running(app_of(folder)) as url:
        assert parity.main(["--url", url, "--version-folder", str(folder)]) == 1
    out = capsys.readouterr().out
    report = json.loads(out)
    assert not report["equal"]
    assert report["message"] == "2 of 6 answers are not the published ones; the first is row 3."
    assert report["firstDifference"]["row"] == 3
    assert report["firstDifference"]["expected"]["label"] == "neither"
    assert not any(text in out for text in TEXTS)


@pytest.mark.parametrize(("shift", "equal"), [(9e-4, True), (-9e-4, True), (2e-3, False), (-2e-3, False)])
def test_scores_may_differ_by_a_thousandth(make: Callable[..., Path], shift: float, equal: bool) -> None:
    folder = make(answers=lambda row: row | {"score": row["score"] + shift})
    with running(app_of(folder)) as url:
        report = parity.probe(url, str(folder), timeout=30)
    assert report.equal is equal
    assert report.largest_difference == pytest.approx(abs(shift), rel=1e-3)


def test_another_models_answers_fail(make: Callable[..., Path]) -> None:
    with running(app_of(make(file="int8.onnx"))) as url:
        report = parity.probe(url, str(make(file="model.onnx")), timeout=30)
    assert not report.equal
    assert report.largest_difference > 1e-3


def test_private_rows_are_replaced_by_texts_of_its_own(make: Callable[..., Path]) -> None:
    def private(row: dict) -> dict:
        return {
            "sha256": hashlib.sha256(row["text"].encode()).hexdigest(),
            "label": row["label"],
            "score": row["score"],
        }

    folder = make(answers=private)
    with running(app_of(folder)) as url:
        report = parity.probe(url, str(folder), timeout=30)
    assert report.equal, report
    assert (report.rows, report.compared) == ("generic", 5)
    with running(app_of(make(file="int8.onnx"))) as url:
        report = parity.probe(url, str(folder), timeout=30)
    assert (report.equal, report.rows) == (False, "generic")
    assert report.first_difference


def test_it_waits_until_the_wanted_version_answers_every_row(make: Callable[..., Path]) -> None:
    folder = make(2)

    def late(path: str, count: int) -> tuple[int, str, object] | None:
        if path == "/health/ready":
            wanted = {"version": 2, "state": "loading", "reason": ""}
            early = [
                (503, "", {"error": {"code": "loading", "message": "The model is being loaded."}}),
                (200, "reviews/v1", {"status": "ready", "version": "reviews/v1", "wanted": wanted}),
            ]
            return early[count - 1] if count <= len(early) else None
        passing = {
            1: (200, "reviews/v1", {"label": "neutral", "score": 0.1}),  # a replica that has not switched yet
            3: (503, "reviews/v2", {"error": {"code": "overloaded"}}),
            5: (500, "reviews/v2", {"error": {"code": "internal"}}),
        }
        return passing.get(count)

    between = Between(app_of(folder), late)
    with running(between) as url:
        report = parity.probe(url, str(folder), timeout=30)
    assert report.equal, report
    assert between.paths.count("/health/ready") == 2 + parity._READY_IN_A_ROW
    assert between.paths.count("/predict") == len(TEXTS) + 3


def test_a_replica_that_stays_behind_is_no_readiness(make: Callable[..., Path]) -> None:
    folder = make(2)
    old = (200, "reviews/v1", {"status": "ready", "version": "reviews/v1"})
    between = Between(app_of(folder), lambda _, count: old if count % 7 == 0 else None)
    with running(between) as url:
        report = parity.probe(url, str(folder), timeout=1)
    assert not report.equal
    assert report.compared == 0
    assert "reviews/v1 answers, not reviews/v2" in report.message


def test_a_version_that_never_answers_fails_with_the_servers_reason(make: Callable[..., Path]) -> None:
    wanted = {"version": 2, "state": "failed", "reason": "int8.onnx: the file was altered"}
    document = {"status": "ready", "version": "reviews/v1", "wanted": wanted}
    between = Between(app_of(make(1)), lambda *_: (200, "reviews/v1", document))
    with running(between) as url:
        report = parity.probe(url, str(make(2)), timeout=0.3)
    assert not report.equal
    assert report.compared == 0
    assert report.message == (
        f"GET {url}/health/ready: reviews/v2 did not answer in time. The last that was seen: reviews/v1 answers, "
        "not reviews/v2, which could not be loaded: int8.onnx: the file was altered."
    )


def test_a_server_that_is_not_there_fails_in_time(make: Callable[..., Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    started = time.monotonic()
    report = parity.probe(f"http://127.0.0.1:{port}", str(make()), timeout=0.5)
    assert not report.equal
    assert "no answer: ConnectionRefusedError" in report.message
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("url", ["reviews", "ftp://reviews", "http://", ""])
def test_what_is_no_url_is_said(make: Callable[..., Path], url: str) -> None:
    assert "The URL is none of an HTTP server" in parity.probe(url, str(make()), timeout=1).message


def test_a_row_that_the_server_refuses_on_principle_is_counted_apart(make: Callable[..., Path]) -> None:
    over_long = {"text": "a " * 30_000, "label": "neutral", "score": 0.5}
    folder = make(answers=lambda row: over_long if row["text"] == TEXTS[0] else row)
    with running(app_of(folder)) as url:
        report = parity.probe(url, str(folder), timeout=30)
    assert report.equal, report
    assert (report.compared, report.refused) == (len(TEXTS) - 1, 1)


def test_nothing_compared_is_no_pass(make: Callable[..., Path]) -> None:
    folder = make(answers=lambda row: row | {"text": "  "})
    with running(app_of(folder)) as url:
        report = parity.probe(url, str(folder), timeout=30)
    assert not report.equal
    assert report.message == "No row could be compared: the server refused all 6."


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"prediction": "positive"}, "The answer to row 1 has no label and score"),
        ({"label": "positive", "score": float("nan")}, "The answer to row 1 has no label and score"),
        (["positive"], "The answer to row 1 has no label and score"),
    ],
)
def test_an_answer_of_another_shape_fails(make: Callable[..., Path], document: object, message: str) -> None:
    folder = make()
    between = Between(
        app_of(folder), lambda path, _: (200, "reviews/v1", document) if path == "/predict" else None
    )
    with running(between) as url:
        report = parity.probe(url, str(folder), timeout=5)
    assert not report.equal
    assert message in report.message


def test_an_altered_version_is_not_compared_with(make: Callable[..., Path]) -> None:
    folder = make()
    (folder / "parity.jsonl").write_text("{}\n")
    report = parity.probe("http://127.0.0.1:9", str(folder), timeout=1)
    assert "parity.jsonl: The file has 3 bytes" in report.message


def test_the_report_is_the_containers_last_word_and_short(
    make: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    last_word = tmp_path / "termination-log"
    last_word.touch()
    monkeypatch.setattr(parity, "TERMINATION_LOG", last_word)
    wanted = {"version": 2, "state": "failed", "reason": "\u65e5" * 9000}
    document = {"status": "ready", "version": "reviews/v1", "wanted": wanted}
    between = Between(app_of(make(1)), lambda *_: (200, "reviews/v1", document))
    with running(between) as url:
        folder = str(make(2))
        assert parity.main(["--url", url, "--version-folder", folder, "--timeout", "0.3"]) == 1
    assert last_word.stat().st_size <= 4096
    assert json.loads(last_word.read_text()) == json.loads(capsys.readouterr().out)
    assert "could not be loaded" in json.loads(last_word.read_text())["message"]
