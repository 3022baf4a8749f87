"""A tiny API server over real HTTP that knows one ConfigMap; what it answers is held against the real one by a test."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "pod-token"
NAMESPACE = "default"
NAME = "reviews-g1-a1"


@dataclass
class ConfigMapServer:
    """The server, and what it was asked.

    Attributes:
        url: Where it answers.
        credentials: Folder with the token that it takes.
        config_map: The object; None where there is none.
        failures: Statuses to answer the next requests with, instead of doing what they ask.
        written: Every text that a PATCH wrote, in order.
        requests: Method, path and headers of every request.
    """

    url: str
    credentials: Path
    config_map: dict[str, Any] | None
    failures: list[int] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def data(self) -> dict[str, str]:
        """The ConfigMap's data."""
        assert self.config_map is not None
        return self.config_map.get("data", {})

    @property
    def reports(self) -> list[dict[str, Any]]:
        """Every report that was written, in order."""
        return [json.loads(text) for text in self.written]

    def environment(self) -> dict[str, str]:
        """What tells a pod where the server is."""
        return {"ANNEAL_API_SERVER": self.url, "ANNEAL_API_CREDENTIALS": str(self.credentials)}

    def recreate(self, owner_uid: str) -> None:
        """Puts another object in the place of the ConfigMap."""
        assert self.config_map is not None
        number = int(self.config_map["metadata"]["resourceVersion"]) + 1
        self.config_map = config_map(owner_uid, uid=f"uid-{number}", version=number)


def config_map(owner_uid: str, *, uid: str = "uid-1", version: int = 1) -> dict[str, Any]:
    """Returns an attempt's ConfigMap as the operator makes it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "uid": uid,
            "resourceVersion": str(version),
            "ownerReferences": [
                {
                    "apiVersion": "anneal.dev/v1alpha1",
                    "kind": "FineTuneJob",
                    "name": "reviews",
                    "uid": owner_uid,
                }
            ],
        },
    }


@contextmanager
def config_map_server(folder: Path, owner_uid: str) -> Iterator[ConfigMapServer]:
    """Runs a server with the ConfigMap of an attempt of a job."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token").write_text(f"{TOKEN}\n")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_PATCH(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, body: bytes | None) -> None:
            with state.lock:
                state.requests.append((self.command, self.path, dict(self.headers)))
                status, answer = respond(state, self, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = ConfigMapServer(f"http://127.0.0.1:{server.server_port}", folder, config_map(owner_uid))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def respond(
    state: ConfigMapServer, request: BaseHTTPRequestHandler, body: bytes | None
) -> tuple[int, dict[str, Any]]:
    path = request.path.partition("?")[0]
    if state.failures:
        return _status(state.failures.pop(0), "told to fail")
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        return _status(401, "Unauthorized")
    if state.config_map is None or path != f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}":
        return _status(404, f'configmaps "{path.rpartition("/")[2]}" not found')
    if body is None:
        return 200, state.config_map
    if request.headers.get("Content-Type") != "application/merge-patch+json":
        return _status(415, "the body of the request was in an unknown format")
    return _patch(state, state.config_map, json.loads(body))


def _patch(
    state: ConfigMapServer, found: dict[str, Any], patch: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    metadata = found["metadata"]
    for name in ("uid", "resourceVersion"):
        if name in patch.get("metadata", {}) and patch["metadata"][name] != metadata[name]:
            return _status(409, f"the object has been modified: {name} is {metadata[name]}")
    data = {**found.get("data", {}), **patch["data"]}
    if data != found.get("data"):
        version = str(int(metadata["resourceVersion"]) + 1)
        state.config_map = {**found, "metadata": {**metadata, "resourceVersion": version}, "data": data}
    state.written += patch["data"].values()
    assert state.config_map is not None
    return 200, state.config_map


def _status(code: int, message: str) -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}
