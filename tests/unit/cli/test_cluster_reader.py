"""The reader against a server that answers what a test wants, and the proxies that may stand in between."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from anneal_api.errors import AnnealError, ExitCode, ObjectNotFound, ResourceUnavailable
from anneal_cli.cluster_access import Cluster
from anneal_cli.cluster_reader import ClusterReader, UnknownKind
from anneal_operator.cluster.errors import ApiError, Expired, NotFound, Unauthorized, Unavailable
from anneal_operator.cluster.kinds import FINE_TUNE_JOB, POD

Reply = Callable[[BaseHTTPRequestHandler], None]
JOBS = "/apis/anneal.dev/v1alpha1/namespaces/team-a/finetunejobs"


def answer(code: int, body: Any = None, **headers: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(raw)))
        handler.end_headers()
        handler.wfile.write(raw)

    return reply


def pieces(*parts: bytes, whole: bool = True) -> Reply:
    """Answers in chunks, as watches and logs are; not whole: the connection breaks after the last one."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for part in parts:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        if whole:
            handler.wfile.write(b"0\r\n\r\n")
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)

    return reply


class World:
    """A server that gives its replies in turn, and a reader that asks it by a kubeconfig."""

    def __init__(
        self, folder: Path, *replies: Reply, path: str = "", user: dict[str, Any] | None = None
    ) -> None:
        self.replies = list(replies)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.folder, self.user = folder, {"token": "secret"} if user is None else user
        world = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                world.requests.append((self.path, dict(self.headers)))
                world.replies.pop(0)(self)

            def do_CONNECT(self) -> None:
                world.requests.append((self.path, dict(self.headers)))
                self.send_error(403, "no tunnels")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.reader = self.reader_of(server=self.url + path)
        self.cluster = Cluster(self.reader, "team-a")

    def reader_of(self, **cluster: str) -> ClusterReader:
        """Returns a reader of another cluster."""
        document = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team-a"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": self.user}],
        }
        file = self.folder / "config"
        file.write_text(json.dumps(document))
        return ClusterReader(file)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AbstractContextManager[World]]:
    """Makes such a server; waiting for a busy one takes no time."""
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr("urllib3.util.retry.time.sleep", lambda _: None)

    @contextmanager
    def made(*replies: Reply, **options: Any) -> Iterator[World]:
        it = World(tmp_path, *replies, **options)
        thread = threading.Thread(target=it.server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield it
        finally:
            it.server.shutdown()
            it.server.server_close()
            thread.join()

    return made


Worlds = Callable[..., AbstractContextManager[World]]


def status(code: int, message: str, **more: Any) -> Reply:
    return answer(code, {"kind": "Status", "message": message, **more})


def test_reads_an_object_as_who_it_is(world: Worlds) -> None:
    with world(answer(200, {"metadata": {"name": "reviews"}}), path="/k8s/clusters/c-1") as it:
        assert it.reader.get(FINE_TUNE_JOB, "team-a", "reviews")["metadata"]["name"] == "reviews"
        path, headers = it.requests[0]
        assert path == f"/k8s/clusters/c-1{JOBS}/reviews"
        assert headers["authorization"] == "Bearer secret"


def test_lists_all_pages(world: Worlds) -> None:
    first = {"items": [{"a": 1}], "metadata": {"continue": "next", "resourceVersion": "7"}}
    last = {"items": [{"a": 2}], "metadata": {"resourceVersion": "7"}}
    with world(answer(200, first), answer(200, last)) as it:
        found, version = it.reader.listed(POD, "team-a", labels="x=y")
        assert [each["a"] for each in found] == [1, 2]
        assert version == "7"
        assert "labelSelector=x%3Dy" in it.requests[1][0]
        assert "continue=next" in it.requests[1][0]


def test_a_busy_server_is_asked_again_a_few_times(world: Worlds) -> None:
    with world(answer(429, {}, Retry_After="2"), answer(503), answer(200, {})) as it:
        it.reader.get(POD, "team-a", "a")
        assert len(it.requests) == 3
    with world(*[answer(500)] * 3) as it:
        with pytest.raises(Unavailable):
            it.reader.get(POD, "team-a", "a")
        assert len(it.requests) == 3


def test_a_refused_login_is_renewed_once(world: Worlds, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old\n")

    def replaced(handler: BaseHTTPRequestHandler) -> None:
        (tmp_path / "token").write_text("new\n")
        answer(401)(handler)

    with world(replaced, answer(200, {}), user={"tokenFile": "token"}) as it:
        it.reader.get(POD, "team-a", "a")
        assert [headers["authorization"] for _, headers in it.requests] == ["Bearer old", "Bearer new"]
    with world(answer(401), answer(401)) as it:
        with pytest.raises(Unauthorized):
            it.reader.get(POD, "team-a", "a")
        assert len(it.requests) == 2


def test_a_missing_kind_is_told_from_a_missing_object(world: Worlds) -> None:
    with world(answer(404, b"404 page not found"), status(404, "gone", details={"name": "a"})) as it:
        with pytest.raises(UnknownKind):
            it.reader.listed(FINE_TUNE_JOB, "team-a")
        with pytest.raises(NotFound) as caught:
            it.reader.get(FINE_TUNE_JOB, "team-a", "a")
        assert not isinstance(caught.value, UnknownKind)


def changes(it: World, version: str = "5") -> list[tuple[str, Any]]:
    return list(it.reader.changes(FINE_TUNE_JOB, "team-a", "reviews", version, connected=lambda: None))


def test_a_watch_yields_events_however_they_are_cut(world: Worlds) -> None:
    first = json.dumps({"type": "MODIFIED", "object": {"metadata": {"resourceVersion": "6"}}}).encode()
    second = json.dumps({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}).encode()
    with world(pieces(first[:10], first[10:] + b"\n" + second[:3], second[3:] + b"\n")) as it:
        assert [(happened, body["metadata"]["resourceVersion"]) for happened, body in changes(it)] == [
            ("MODIFIED", "6"),
            ("BOOKMARK", "9"),
        ]
        path = it.requests[0][0]
        assert "fieldSelector=metadata.name%3Dreviews" in path
        assert "resourceVersion=5" in path
        assert "allowWatchBookmarks=true" in path


def test_a_watch_that_breaks_or_is_too_old_says_so(world: Worlds) -> None:
    old = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}
    with world(
        pieces(json.dumps(old).encode() + b"\n"), pieces(b'{"type": "MODI', whole=False), answer(410, {})
    ) as it:
        with pytest.raises(Expired):
            changes(it)
        with pytest.raises(Unavailable):
            changes(it)
        with pytest.raises(Expired):
            changes(it)


def test_a_log_comes_line_by_line(world: Worlds) -> None:
    with world(pieces(b"one\ntw", b"o\n\nthree")) as it:
        lines = list(it.reader.log("team-a", "a", "prepare", follow=True, tail=5))
        assert lines == [b"one\n", b"two\n", b"\n", b"three"]
        for part in ("container=prepare", "follow=true", "tailLines=5"):
            assert part in it.requests[0][0]


@pytest.mark.parametrize(
    ("reply", "kind", "code", "what"),
    [
        (
            status(403, 'finetunejobs is forbidden: User "jo" cannot get', reason="Forbidden"),
            ResourceUnavailable,
            ExitCode.RESOURCE_UNAVAILABLE,
            "does not allow it: finetunejobs is forbidden",
        ),
        (
            answer(401, {"message": "Unauthorized"}),
            ResourceUnavailable,
            ExitCode.RESOURCE_UNAVAILABLE,
            "does not accept the credentials of the context here",
        ),
        (
            status(404, "not found", details={"name": "reviews"}),
            ObjectNotFound,
            ExitCode.NOT_FOUND,
            "no FineTuneJob 'reviews' in the namespace 'team-a'",
        ),
        (
            answer(404, b"404 page not found"),
            ObjectNotFound,
            ExitCode.NOT_FOUND,
            "does not know FineTuneJobs",
        ),
        (
            answer(302, b"", Location="http://login"),
            ResourceUnavailable,
            ExitCode.RESOURCE_UNAVAILABLE,
            "elsewhere",
        ),
        (answer(200, b"<html>"), ResourceUnavailable, ExitCode.RESOURCE_UNAVAILABLE, "no JSON object"),
    ],
)
def test_every_refusal_is_explained(
    world: Worlds, reply: Reply, kind: type[AnnealError], code: ExitCode, what: str
) -> None:
    with world(reply, reply) as it:
        with pytest.raises(kind) as caught:
            it.cluster.job("reviews")
        assert what in caught.value.what
        assert caught.value.exit_code is code
        assert caught.value.where
        assert caught.value.remedy


def test_a_server_that_is_away_is_told_at_once(world: Worlds) -> None:
    with socket.socket() as taken, world() as it:
        taken.bind(("127.0.0.1", 0))
        reader = it.reader_of(server=f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ResourceUnavailable, match="does not answer: Connection refused"):
            Cluster(reader, "team-a").job("reviews")


def test_a_server_that_nobody_vouches_for_is_told(world: Worlds) -> None:
    with world() as it:
        reader = it.reader_of(server=it.url.replace("http://", "https://"))
        with pytest.raises(ResourceUnavailable, match=r"does not answer: .*SSL"):
            Cluster(reader, "team-a").job("reviews")


def test_a_name_that_is_none_asks_nobody(world: Worlds) -> None:
    with world() as it:
        for name in ("Reviews", "a/b", "../x", ""):
            with pytest.raises(ObjectNotFound):
                it.cluster.job(name)
        assert it.requests == []


def test_requests_go_through_the_proxy_that_the_kubeconfig_names(world: Worlds) -> None:
    with world(answer(200, {})) as it:
        proxy = it.url.replace("http://", "http://jo:pass%20word@")
        reader = it.reader_of(**{"server": "http://cluster.test:8001", "proxy-url": proxy})
        reader.get(POD, "team-a", "a")
        path, headers = it.requests[0]
        assert path == "http://cluster.test:8001/api/v1/namespaces/team-a/pods/a"
        assert headers["proxy-authorization"] == "Basic am86cGFzcyB3b3Jk"
        secure = it.reader_of(**{"server": "https://cluster.test", "proxy-url": proxy})
        with pytest.raises(Unavailable, match="403"):
            secure.get(POD, "team-a", "a")
        assert it.requests[1][0] == "cluster.test:443"


def test_requests_go_through_the_proxy_of_the_environment(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(answer(200, {}), answer(200, {})) as it:
        monkeypatch.setenv("HTTP_PROXY", it.url.removeprefix("http://"))
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        it.reader_of(server="http://cluster.test").get(POD, "team-a", "a")
        assert it.requests[0][0].startswith("http://cluster.test/")
        it.reader_of(server=it.url).get(POD, "team-a", "a")  # this machine is reached without one
        assert it.requests[1][0].startswith("/api/")
        monkeypatch.setenv("NO_PROXY", ".test")
        with pytest.raises(Unavailable):
            it.reader_of(server="http://cluster.test").get(POD, "team-a", "a")


def test_a_proxy_of_an_unknown_kind_is_refused(world: Worlds) -> None:
    with world() as it, pytest.raises(ResourceUnavailable, match="socks5"):
        it.reader_of(**{"server": "http://cluster.test", "proxy-url": "socks5://127.0.0.1:1080"})


def test_an_error_without_words_still_says_something(world: Worlds) -> None:
    with world(answer(418, b"")) as it, pytest.raises(ApiError, match="Teapot"):
        it.reader.get(POD, "team-a", "a")
