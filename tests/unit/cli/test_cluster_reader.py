"""The reader against a server that answers what a test wants, and the proxies that may stand in between."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

import pytest

from anneal_api.errors import AnnealError, ExitCode, ObjectNotFound, ResourceUnavailable
from anneal_cli.cluster_access import Cluster
from anneal_cli.cluster_proxy import proxy_for
from anneal_cli.cluster_reader import ClusterReader, UnknownKind
from anneal_operator.cluster.credentials import Credentials, Issued, Token, trusting
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
    """A server that gives its replies in turn, and a reader that asks it."""

    def __init__(self, *replies: Reply, token: Token | None = None, path: str = "") -> None:
        self.replies = list(replies)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.waits: list[float] = []
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
        credentials = Credentials(
            server=self.url + path, token=token or Token("secret"), source="context here"
        )
        self.reader = ClusterReader(credentials, environment={}, sleep=self.waits.append, random=Random(1))
        self.cluster = Cluster(self.reader, "team-a")


@contextmanager
def world(*replies: Reply, **options: Any) -> Iterator[World]:
    made = World(*replies, **options)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()


def status(code: int, message: str, **more: Any) -> Reply:
    return answer(code, {"kind": "Status", "message": message, **more})


def test_reads_an_object_as_who_it_is() -> None:
    with world(answer(200, {"metadata": {"name": "reviews"}}), path="/k8s/clusters/c-1") as it:
        assert it.reader.get(FINE_TUNE_JOB, "team-a", "reviews")["metadata"]["name"] == "reviews"
        path, headers = it.requests[0]
        assert path == f"/k8s/clusters/c-1{JOBS}/reviews"
        assert headers["Authorization"] == "Bearer secret"


def test_lists_all_pages() -> None:
    first = {"items": [{"a": 1}], "metadata": {"continue": "next", "resourceVersion": "7"}}
    last = {"items": [{"a": 2}], "metadata": {"resourceVersion": "7"}}
    with world(answer(200, first), answer(200, last)) as it:
        found, version = it.reader.listed(POD, "team-a", labels="x=y")
        assert [each["a"] for each in found] == [1, 2]
        assert version == "7"
        assert "labelSelector=x%3Dy" in it.requests[1][0]
        assert "continue=next" in it.requests[1][0]


def test_a_busy_server_is_asked_again_a_few_times() -> None:
    with world(answer(429, {}, Retry_After="2"), answer(503), answer(200, {})) as it:
        it.reader.get(POD, "team-a", "a")
        assert len(it.waits) == 2
        assert it.waits[0] >= 2.0
    with world(*[answer(500)] * 3) as it:
        with pytest.raises(Unavailable):
            it.reader.get(POD, "team-a", "a")
        assert len(it.requests) == 3


def test_a_refused_token_is_renewed_once() -> None:
    tokens = iter(["old", "new", "never"])
    token = Token(issuer=lambda: Issued(next(tokens)))
    with world(answer(401), answer(200, {}), token=token) as it:
        it.reader.get(POD, "team-a", "a")
        assert [headers["Authorization"] for _, headers in it.requests] == ["Bearer old", "Bearer new"]
    with world(answer(401)) as it:
        with pytest.raises(Unauthorized):
            it.reader.get(POD, "team-a", "a")
        assert len(it.requests) == 1  # a token that cannot be renewed is not tried again


def test_a_missing_kind_is_told_from_a_missing_object() -> None:
    with world(answer(404, b"404 page not found"), status(404, "gone", details={"name": "a"})) as it:
        with pytest.raises(UnknownKind):
            it.reader.listed(FINE_TUNE_JOB, "team-a")
        with pytest.raises(NotFound) as caught:
            it.reader.get(FINE_TUNE_JOB, "team-a", "a")
        assert not isinstance(caught.value, UnknownKind)


def changes(it: World, version: str = "5") -> list[tuple[str, Any]]:
    return list(it.reader.changes(FINE_TUNE_JOB, "team-a", "reviews", version, connected=lambda: None))


def test_a_watch_yields_events_however_they_are_cut() -> None:
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


def test_a_watch_that_breaks_or_is_too_old_says_so() -> None:
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


def test_a_log_comes_line_by_line() -> None:
    with world(pieces(b"one\ntw", b"o\n\nthree")) as it:
        lines = list(
            it.reader.log("team-a", "a", "prepare", follow=True, tail=5, since="2026", timestamps=True)
        )
        assert lines == [b"one\n", b"two\n", b"\n", b"three"]
        for part in ("container=prepare", "follow=true", "tailLines=5", "sinceTime=2026", "timestamps=true"):
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
def test_every_refusal_is_explained(reply: Reply, kind: type[AnnealError], code: ExitCode, what: str) -> None:
    with world(reply) as it:
        with pytest.raises(kind) as caught:
            it.cluster.job("reviews")
        assert what in caught.value.what
        assert caught.value.exit_code is code
        assert caught.value.where
        assert caught.value.remedy


def test_a_server_that_is_away_is_told_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{taken.getsockname()[1]}"
        waits: list[float] = []
        reader = ClusterReader(Credentials(server=server), environment={}, sleep=waits.append)
        with pytest.raises(ResourceUnavailable, match="does not answer: Connection refused"):
            Cluster(reader, "team-a").job("reviews")
        assert waits == []


def test_a_name_that_is_none_asks_nobody() -> None:
    with world() as it:
        for name in ("Reviews", "a/b", "../x", ""):
            with pytest.raises(ObjectNotFound):
                it.cluster.job(name)
        assert it.requests == []


def test_requests_go_through_the_proxy_that_the_kubeconfig_names() -> None:
    with world(answer(200, {})) as it:
        proxy = it.url.replace("http://", "http://jo:pass%20word@")
        reader = ClusterReader(Credentials(server="http://cluster.test:8001", proxy=proxy), environment={})
        reader.get(POD, "team-a", "a")
        path, headers = it.requests[0]
        assert path == "http://cluster.test:8001/api/v1/namespaces/team-a/pods/a"
        assert headers["Proxy-Authorization"] == "Basic am86cGFzcyB3b3Jk"
        secure = Credentials(server="https://cluster.test", proxy=proxy, tls=trusting(None))
        with pytest.raises(Unavailable, match="403"):
            ClusterReader(secure, environment={}).get(POD, "team-a", "a")
        assert it.requests[1][0] == "cluster.test:443"


@pytest.mark.parametrize(
    ("server", "exceptions", "proxied"),
    [
        ("https://k8s.example.com", "", True),
        ("https://k8s.example.com", "example.com", False),
        ("https://k8s.example.com", ".example.com, other", False),
        ("https://k8s.example.com", "k8s.example.com:443", True),  # the port is not in the address
        ("https://k8s.example.com:443", "k8s.example.com:443", False),
        ("https://myexample.com", "example.com", True),
        ("https://10.1.2.3:6443", "10.0.0.0/8", False),
        ("https://10.1.2.3:6443", "192.168.0.0/16,nonsense/x", True),
        ("https://k8s.example.com", "*", False),
        ("https://127.0.0.1:6443", "", False),
        ("https://localhost:6443", "", False),
        ("https://[::1]:6443", "", False),
    ],
)
def test_the_proxy_variables_are_read_as_kubectl_reads_them(
    server: str, exceptions: str, proxied: bool
) -> None:
    environment = {"HTTPS_PROXY": "proxy.example.com:3128", "no_proxy": exceptions}
    expected = "http://proxy.example.com:3128" if proxied else None
    assert proxy_for(server, None, environment) == expected
    assert proxy_for(server, "http://named:1", environment) == "http://named:1"


def test_a_proxy_or_an_address_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ResourceUnavailable, match="not supported here"):
        proxy_for("https://a", "socks5://127.0.0.1:1080", {})
    for server in ("127.0.0.1:6443", "ftp://a", "http://a:port", "https://"):
        with pytest.raises(ResourceUnavailable, match="begins with http"):
            ClusterReader(Credentials(server=server), environment={})


def test_an_error_without_words_still_says_something() -> None:
    with world(answer(418, b"")) as it, pytest.raises(ApiError, match="Teapot"):
        it.reader.get(POD, "team-a", "a")
