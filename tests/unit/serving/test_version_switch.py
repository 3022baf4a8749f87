"""Switching versions in place, with real models and without Ray."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import logging
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from resource_samples import MINIMAL, Sample
from starlette.types import Receive, Scope, Send
from tiny_model import TEXTS, onnx_config, publish

from anneal_api.errors import ArtifactInvalid
from anneal_api.published import PredictorConfig
from anneal_serving.backends.onnxruntime import OnnxRuntimeBackend
from anneal_serving.cluster.loading import load_version
from anneal_serving.cluster.switch import LoadedVersion, VersionSwitch
from anneal_serving.cluster.wish import Wish

LOG = logging.getLogger("anneal.test")


class Meter:
    def __init__(self) -> None:
        self.wanted_version: int | None = None
        self.serving_version: int | None = None
        self.failures = 0
        self.requests: dict[tuple[str, int], int] = {}

    def wanted(self, version: int) -> None:
        self.wanted_version = version

    def serving(self, version: int) -> None:
        self.serving_version = version

    def failed(self) -> None:
        self.failures += 1

    def for_version(self, version: str) -> RequestMeter:
        return RequestMeter(self, version)


class RequestMeter:
    def __init__(self, meter: Meter, version: str) -> None:
        self._meter = meter
        self._version = version

    def count_request(self, _route: str, status: int, _seconds: float) -> None:
        key = self._version, status
        self._meter.requests[key] = self._meter.requests.get(key, 0) + 1

    def count_rows(self, rows: int) -> None:
        pass


def wish_of(folder: Path, **changes: Any) -> Wish:
    content = (folder / "manifest.json").read_bytes()
    return Wish(
        **{
            "version_folder": str(folder),
            "version": json.loads(content)["version"],
            "digest": hashlib.sha256(content).hexdigest(),
            **changes,
        }
    )


@pytest.fixture(scope="module")
def versions(tiny: tuple[Path, PredictorConfig], tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Versions 1 to 3: the second one is int8, and answers differently."""
    job = tmp_path_factory.mktemp("job")
    for number, file in ((1, "model.onnx"), (2, "int8.onnx"), (3, "model.onnx")):
        shutil.copytree(tiny[0], job / f"v{number}")
        publish(job / f"v{number}", onnx_config(tiny[1], file), version=number)
    return {number: job / f"v{number}" for number in (1, 2, 3)}


@pytest.fixture
def meter() -> Meter:
    return Meter()


@pytest.fixture
def switch(versions: dict[int, Path], meter: Meter) -> Iterator[VersionSwitch]:
    """A switch that serves version 1."""

    def load(wish: Wish) -> LoadedVersion:
        return load_version(
            wish, threads=1, max_tokens=100, meter_for=meter.for_version, outlook=made.outlook
        )

    made = VersionSwitch(load, meter, log=LOG, first_retry=0.05, longest_retry=0.1)
    made.load_first(wish_of(versions[1]))
    yield made
    made.close()


def client(app: VersionSwitch) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://model")


def get(app: VersionSwitch, path: str) -> httpx.Response:
    async def send() -> httpx.Response:
        async with client(app) as session:
            return await session.get(path)

    return asyncio.run(send())


def predict(app: VersionSwitch, text: str) -> httpx.Response:
    async def send() -> httpx.Response:
        async with client(app) as session:
            return await session.post("/predict", json={"text": text})

    return asyncio.run(send())


def serving(app: VersionSwitch) -> str:
    return get(app, "/health/ready").headers["x-model-version"]


async def until_serving(session: httpx.AsyncClient, version: str) -> None:
    async with asyncio.timeout(30):
        while (await session.get("/health/ready")).headers["x-model-version"] != version:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def outlook(app: VersionSwitch) -> dict[str, Any]:
    wanted = get(app, "/health/ready").json().get("wanted")
    assert isinstance(wanted, dict)
    return wanted


def test_a_new_wish_takes_over_with_header_health_meters_and_answers(
    switch: VersionSwitch, versions: dict[int, Path], meter: Meter
) -> None:
    before = predict(switch, TEXTS[3])
    switch.ask(wish_of(versions[2]))
    wait_for(lambda: serving(switch) == "reviews/v2")
    after = predict(switch, TEXTS[3])
    assert before.headers["x-model-version"] == "reviews/v1"
    assert after.headers["x-model-version"] == "reviews/v2"
    assert before.json() != after.json()
    assert get(switch, "/health/ready").json() == {"status": "ready", "version": "reviews/v2"}
    assert get(switch, "/model").json()["variant"] == "int8"
    assert (meter.wanted_version, meter.serving_version, meter.failures) == (2, 2, 0)
    assert meter.requests["reviews/v1", 200] >= 1
    assert meter.requests["reviews/v2", 200] >= 2


def test_requests_under_way_are_finished_by_the_version_that_took_them(
    switch: VersionSwitch, versions: dict[int, Path]
) -> None:
    async def scenario() -> tuple[httpx.Response, str]:
        more = asyncio.Event()

        async def slow_body() -> Any:
            yield b'{"text": '
            await more.wait()
            yield b'"a gripping film"}'

        async with client(switch) as session:
            under_way = asyncio.create_task(session.post("/predict", content=slow_body()))
            await asyncio.sleep(0.05)
            switch.ask(wish_of(versions[2]))
            await until_serving(session, "reviews/v2")
            meanwhile = (await session.post("/predict", json={"text": "fine"})).headers["x-model-version"]
            more.set()
            return await under_way, meanwhile

    first, meanwhile = asyncio.run(scenario())
    assert (first.status_code, first.headers["x-model-version"]) == (200, "reviews/v1")
    assert meanwhile == "reviews/v2"


def test_no_request_fails_while_versions_go_to_and_fro(
    switch: VersionSwitch, versions: dict[int, Path]
) -> None:
    wishes = [wish_of(versions[number]) for number in (2, 3, 1, 2)]

    async def scenario() -> list[tuple[int, str]]:
        answers: list[tuple[int, str]] = []
        over = False

        async def ask_on() -> None:
            async with client(switch) as session:
                while not over:
                    answer = await session.post("/predict", json={"text": TEXTS[len(answers) % len(TEXTS)]})
                    answers.append((answer.status_code, answer.headers["x-model-version"]))

        askers = [asyncio.create_task(ask_on()) for _ in range(4)]
        async with client(switch) as session:
            for wish in wishes:
                switch.ask(wish)
                await until_serving(session, f"reviews/v{wish.version}")
        over = True
        await asyncio.gather(*askers)
        return answers

    answers = asyncio.run(scenario())
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == {"reviews/v1", "reviews/v2", "reviews/v3"}


def test_an_altered_version_never_answers_and_says_why(
    switch: VersionSwitch,
    versions: dict[int, Path],
    meter: Meter,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = tmp_path / "v2"
    shutil.copytree(versions[2], broken)
    wish = wish_of(broken)
    content = bytearray((broken / "int8.onnx").read_bytes())
    content[-1] ^= 1
    (broken / "int8.onnx").write_bytes(content)
    with caplog.at_level(logging.ERROR, "anneal.test"):
        switch.ask(wish)
        wait_for(lambda: meter.failures >= 2)  # it is tried again: a volume may lag behind
    wanted = outlook(switch)
    assert serving(switch) == "reviews/v1"
    assert predict(switch, TEXTS[0]).status_code == 200
    assert (wanted["version"], wanted["state"]) == (2, "failed")
    assert "int8.onnx: The file's content was altered" in wanted["reason"]
    assert (meter.wanted_version, meter.serving_version) == (2, 1)
    assert "version 2 cannot be loaded, reviews/v1 goes on serving" in caplog.text
    content[-1] ^= 1
    (broken / "int8.onnx").write_bytes(content)
    wait_for(lambda: serving(switch) == "reviews/v2")
    assert get(switch, "/health/ready").json() == {"status": "ready", "version": "reviews/v2"}


def test_the_way_back_from_a_version_that_cannot_be_loaded_needs_no_loading(
    switch: VersionSwitch, versions: dict[int, Path], meter: Meter, tmp_path: Path
) -> None:
    switch.ask(wish_of(versions[2], version_folder=str(tmp_path / "gone")))
    wait_for(lambda: meter.failures)
    assert "no manifest.json" in outlook(switch)["reason"]
    switch.ask(wish_of(versions[1]))
    assert get(switch, "/health/ready").json() == {"status": "ready", "version": "reviews/v1"}
    assert meter.wanted_version == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"digest": "0" * 64}, "its SHA-256 is"),
        ({"version": 7}, "The folder holds version 2, and 7 was asked for"),
    ],
)
def test_another_version_than_the_one_that_was_published_is_refused(
    switch: VersionSwitch, versions: dict[int, Path], meter: Meter, changes: dict[str, Any], reason: str
) -> None:
    switch.ask(wish_of(versions[2], **changes))
    wait_for(lambda: meter.failures)
    assert reason in outlook(switch)["reason"]
    assert serving(switch) == "reviews/v1"


def test_a_smaller_budget_of_tokens_holds_without_a_restart(
    switch: VersionSwitch, versions: dict[int, Path]
) -> None:
    assert predict(switch, TEXTS[4]).status_code == 200
    switch.ask(wish_of(versions[1], max_batch_tokens=8))
    wait_for(lambda: predict(switch, TEXTS[4]).status_code == 413)


def test_a_wish_that_cannot_be_understood_changes_nothing(
    switch: VersionSwitch, versions: dict[int, Path], meter: Meter
) -> None:
    switch.refuse("The deployment's user_config is odd.", 9)
    assert outlook(switch) == {
        "version": 9,
        "state": "failed",
        "reason": "The deployment's user_config is odd.",
    }
    assert (meter.wanted_version, meter.serving_version, meter.failures) == (9, 1, 1)
    assert predict(switch, TEXTS[0]).status_code == 200
    switch.ask(wish_of(versions[1]))
    assert get(switch, "/health/ready").json() == {"status": "ready", "version": "reviews/v1"}
    assert meter.wanted_version == 1


def test_a_first_version_that_cannot_be_loaded_is_said_at_once(
    versions: dict[int, Path], meter: Meter, tmp_path: Path
) -> None:
    def load(wish: Wish) -> LoadedVersion:
        return load_version(wish, threads=1, max_tokens=9, meter_for=meter.for_version, outlook=dict)

    switch = VersionSwitch(load, meter, log=LOG)
    with pytest.raises(ArtifactInvalid, match=r"no manifest\.json"):
        switch.load_first(wish_of(versions[1], version_folder=str(tmp_path)))
    assert not switch.serves
    assert get(switch, "/health/live").status_code == 200
    for answer in (get(switch, "/health/ready"), predict(switch, "fine")):
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["error"]["code"] == "loading"


def test_a_model_out_of_service_leaves_the_memory(
    switch: VersionSwitch, versions: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions: list[weakref.ref[Any]] = []
    make = OnnxRuntimeBackend.__init__

    def remember(self: OnnxRuntimeBackend, *arguments: Any) -> None:
        make(self, *arguments)
        sessions.append(weakref.ref(self._session))

    monkeypatch.setattr(OnnxRuntimeBackend, "__init__", remember)
    gc.collect()
    gc.disable()  # as in a replica: Ray freezes what was there at its start
    try:
        for number in (2, 3, 1):
            switch.ask(wish_of(versions[number]))
            wait_for(lambda number=number: serving(switch) == f"reviews/v{number}")
            assert predict(switch, TEXTS[0]).status_code == 200
        wait_for(lambda: [session() is None for session in sessions] == [True, True, False])
    finally:
        gc.enable()


class Loading:
    """Versions that load when they are let, and note whether they were closed."""

    def __init__(self) -> None:
        self.let: dict[int, threading.Event] = {}
        self.begun: list[int] = []
        self.closed: list[int] = []

    def __call__(self, wish: Wish) -> LoadedVersion:
        self.begun.append(wish.version)
        assert self.let.setdefault(wish.version, threading.Event()).wait(30)

        async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
            headers = [(b"x-model-version", f"reviews/v{wish.version}".encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"{}"})

        return LoadedVersion(f"reviews/v{wish.version}", app, lambda: self.closed.append(wish.version))

    def allow(self, version: int) -> None:
        self.let.setdefault(version, threading.Event()).set()


def number(version: int) -> Wish:
    return Wish(version_folder="/none", version=version, digest="0" * 64)


def test_only_the_last_of_several_wishes_ever_answers(meter: Meter) -> None:
    loading = Loading()
    switch = VersionSwitch(loading, meter, log=LOG)
    loading.allow(1)
    switch.load_first(number(1))
    switch.ask(number(2))
    wait_for(lambda: loading.begun == [1, 2])
    switch.ask(number(3))
    switch.ask(number(4))
    for version in (2, 4):
        loading.allow(version)
    wait_for(lambda: serving(switch) == "reviews/v4")
    wait_for(lambda: sorted(loading.closed) == [1, 2])
    assert loading.begun == [1, 2, 4]
    switch.close()
    assert sorted(loading.closed) == [1, 2, 4]


def test_the_way_back_is_open_while_the_next_version_loads(meter: Meter) -> None:
    loading = Loading()
    switch = VersionSwitch(loading, meter, log=LOG)
    loading.allow(1)
    switch.load_first(number(1))
    switch.ask(number(2))
    wait_for(lambda: loading.begun == [1, 2])
    assert switch.outlook() == {"wanted": {"version": 2, "state": "loading", "reason": ""}}
    switch.ask(number(1))
    assert switch.outlook() == {}
    loading.allow(2)
    wait_for(lambda: loading.closed == [2])
    assert serving(switch) == "reviews/v1"
    assert (meter.wanted_version, meter.serving_version) == (1, 1)
    switch.close()


@pytest.mark.parametrize("serving", [{}, {"cpu": 2, "maxBatchTokens": 2048}])
def test_what_the_operator_writes_is_understood(serving: dict[str, Any]) -> None:
    sample = Sample({**MINIMAL, "serving": serving})
    (application,) = json.loads(sample.service["spec"]["serveConfigV2"])["applications"]
    (deployment,) = application["deployments"]
    wish = Wish.of(deployment["user_config"])
    assert application["import_path"] == "anneal_serving.cluster:build"
    assert wish.version_folder == "/mnt/pvc/models/anneal/nlp/reviews-1a2b3c4d/v4"
    assert (wish.version, wish.digest) == (sample.version.version, sample.version.digest)
    assert wish.threads == serving.get("cpu", 1)
    assert wish.max_batch_tokens == serving.get("maxBatchTokens", 4096)


@pytest.mark.parametrize(
    "user_config",
    [
        None,
        {},
        "v2",
        {"version_folder": "/v2", "version": 0, "digest": "0" * 64},
        {"version_folder": "/v2", "version": 2, "digest": "0" * 63},
        {"version_folder": "/v2", "version": 2, "digest": "0" * 64, "typo": 1},
        {"version_folder": "/v2", "version": 2, "digest": "0" * 64, "max_batch_tokens": 0},
        {"version_folder": "/v2", "version": 2, "digest": "0" * 64, "threads": 0},
    ],
)
def test_a_user_config_that_names_no_version_is_refused(user_config: Any) -> None:
    with pytest.raises(ArtifactInvalid, match="user_config"):
        Wish.of(user_config)
