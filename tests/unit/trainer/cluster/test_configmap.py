"""A pod writes its key of the ConfigMap of its own attempt, whatever the API server does."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from config_map_server import NAME, NAMESPACE, ConfigMapServer
from report_contract import CONTRACT, OWNER, STRANGER, key

from anneal_trainer.cluster.configmap import ApiAccess
from anneal_trainer.cluster.report import ReportNotWrittenError


class TinyWorld:
    namespace = NAMESPACE
    name = NAME
    owner = OWNER
    stranger = STRANGER

    def __init__(self, server: ConfigMapServer) -> None:
        self.server = server

    def access(self) -> ApiAccess:
        return ApiAccess.of_pod(self.server.environment())

    def read(self) -> dict[str, Any]:
        assert self.server.config_map is not None
        return self.server.config_map

    def set(self, key: str, value: str) -> None:
        found = self.read()
        version = str(int(found["metadata"]["resourceVersion"]) + 1)
        self.server.config_map = {
            **found,
            "metadata": {**found["metadata"], "resourceVersion": version},
            "data": {**found.get("data", {}), key: value},
        }

    def recreate(self, owner_uid: str) -> None:
        self.server.recreate(owner_uid)

    def delete(self) -> None:
        self.server.config_map = None

    def spoil_token(self) -> None:
        (self.server.credentials / "token").write_text("expired")


@pytest.fixture
def world(server: ConfigMapServer) -> TinyWorld:
    return TinyWorld(server)


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_the_contract(world, check):
    check(world)


def test_a_request_says_who_sends_it_and_what_kind_of_patch_it_is(world):
    key(world).write("one")
    (_, _, _), (method, path, headers) = world.server.requests
    assert method == "PATCH"
    assert path == f"/api/v1/namespaces/default/configmaps/{NAME}?fieldManager=anneal-pod"
    assert headers["Authorization"] == "Bearer pod-token"
    assert headers["Content-Type"] == "application/merge-patch+json"


def test_the_token_is_read_anew_for_every_request(world):
    train = key(world)
    train.write("one")
    world.spoil_token()
    with pytest.raises(ReportNotWrittenError, match="401"):
        train.write("two")
    (world.server.credentials / "token").write_text("pod-token")
    train.write("three")
    assert world.server.data == {"train.json": "three"}


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_a_refusal_that_may_pass_is_not_hopeless(world, status):
    world.server.failures = [status]
    with pytest.raises(ReportNotWrittenError, match=str(status)) as caught:
        key(world).write("one")
    assert not caught.value.hopeless


def test_somebody_who_changes_it_all_the_time_does_not_hold_us_for_ever(world):
    train = key(world)
    train.write("one")
    world.server.failures = [409] * 10
    with pytest.raises(ReportNotWrittenError):
        train.write("two")


def test_an_address_where_nobody_listens(tmp_path: Path):
    (tmp_path / "token").write_text("t")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(ReportNotWrittenError, match="refused"):
        ApiAccess(f"http://127.0.0.1:{port}", tmp_path).request("GET", "/")


def test_a_server_that_never_answers_is_given_up(tmp_path: Path):
    (tmp_path / "token").write_text("t")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        access = ApiAccess(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path, timeout=0.3)
        started = time.monotonic()
        with pytest.raises(ReportNotWrittenError, match="timed out"):
            access.request("GET", "/")
        assert time.monotonic() - started < 5


def test_an_answer_that_is_no_http(tmp_path: Path):
    (tmp_path / "token").write_text("t")
    with socket.create_server(("127.0.0.1", 0)) as odd:

        def answer() -> None:
            connection, _ = odd.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"\x00\x01not http\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ReportNotWrittenError, match="BadStatusLine"):
            ApiAccess(f"http://127.0.0.1:{odd.getsockname()[1]}", tmp_path).request("GET", "/")
        thread.join()


def test_a_pod_without_a_token_says_so(world):
    (world.server.credentials / "token").unlink()
    with pytest.raises(ReportNotWrittenError, match="token"):
        key(world).write("one")


def test_a_pod_finds_its_api_server():
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
    access = ApiAccess.of_pod(environment)
    assert access.url == "https://10.0.0.1:6443"
    assert access.credentials == Path("/var/run/secrets/kubernetes.io/serviceaccount")
    assert ApiAccess.of_pod({"KUBERNETES_SERVICE_HOST": "fd00::1"}).url == "https://[fd00::1]:443"
    with pytest.raises(ReportNotWrittenError, match="KUBERNETES_SERVICE_HOST"):
        ApiAccess.of_pod({})
