"""Reads objects, changes and logs from an API server, over the standard library's HTTP.

The operator's client is asynchronous, writes, and brings libraries that only the operator has. This one reads, has
started before a person notices, and is stopped by Ctrl-C wherever it waits.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from random import Random
from typing import Any
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

from anneal_api.errors import ResourceUnavailable
from anneal_cli.cluster_proxy import proxy_for
from anneal_operator.cluster.credentials import Credentials
from anneal_operator.cluster.errors import ApiError, NotFound, Transient, Unauthorized, Unavailable, error_of
from anneal_operator.cluster.kinds import POD, Kind, page_query
from anneal_operator.cluster.retries import Backoff
from anneal_operator.resources.ownership import Object

_AGENT = "anneal"
_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 30.0
# The server ends a watch after this long, and says every minute how far it is: one that is silent is cut off.
_WATCH_SECONDS = 290
_SILENCE_SECONDS = 150.0
_PAGE = 500
_TRIES = 3
_BACKOFF = Backoff(first=0.5, longest=4.0)
_BLOCK = 2**16
_FIRST_REDIRECT, _FIRST_ERROR = 300, 400
_NOT_FOUND = 404
# A laptop that slept, or a gateway that forgot the connection, is noticed after a minute and a half.
_KEEP_ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


class UnknownKind(NotFound):
    """404: the server has no such kind of object."""


class ClusterReader:
    """Reads from an API server.

    Args:
        credentials: Whom it speaks to and as whom.
        environment: Environment variables, for proxies; None: the process's.
        sleep: Waits between tries.
        random: Chance, for the same.

    Raises:
        ResourceUnavailable: The server's address, or the proxy's, is none.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        environment: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        random: Random | None = None,
    ) -> None:
        self.credentials = credentials
        self._sleep = sleep
        self._random = random or Random()  # noqa: S311  # spreads waits, hides nothing
        self._place = _split(credentials.server)
        environment = os.environ if environment is None else environment
        proxy = proxy_for(credentials.server, credentials.proxy, environment)
        self._proxy = None if proxy is None else _split(proxy)

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Returns an object as it is now.

        Raises:
            UnknownKind: The server has no such kind.
            NotFound: The object does not exist.
            ApiError: It cannot be read.
        """
        return self._answer(kind.path(namespace, name), {})

    def listed(
        self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> tuple[list[Object], str]:
        """Returns the objects of a kind as they are now, and the version to watch from.

        Args:
            kind: Which objects.
            namespace: Where; empty: in all namespaces.
            labels: Label selector.
            fields: Field selector.

        Raises:
            UnknownKind: The server has no such kind.
            ApiError: They cannot be read.
        """
        query = page_query(_PAGE, labels, fields)
        found: list[Object] = []
        while True:
            page = self._answer(kind.path(namespace), query)
            found += page.get("items") or ()
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return found, str(metadata.get("resourceVersion") or "")
            query["continue"] = str(metadata["continue"])

    def changes(
        self, kind: Kind, namespace: str, name: str, version: str, *, connected: Callable[[], None]
    ) -> Iterator[tuple[str, Object]]:
        """Yields what happens to one object, until the server or the network ends it: event type and object.

        Args:
            kind: Its kind.
            namespace: Its namespace.
            name: Its name.
            version: Resource version to go on from.
            connected: Called when the server has begun to answer.

        Raises:
            Expired: The version is too old: the object has to be read anew.
            ApiError: It cannot be watched, or the connection broke.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        path = kind.path(namespace)
        with self._reply(path, query, silence=_SILENCE_SECONDS) as response:
            connected()
            for line in _lines(response, path):
                event = _document(line)
                if event is None:
                    raise Unavailable("the connection broke off", request=f"GET {path}")
                if event.get("type") == "ERROR":
                    status = event.get("object") or {}
                    raise error_of(int(status.get("code") or 500), status, request=f"GET {path}")
                yield str(event["type"]), event["object"]

    def log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: str = "",
        timestamps: bool = False,
    ) -> Iterator[bytes]:
        """Yields the lines of a container's log, with their ends.

        Args:
            namespace: Namespace of the pod.
            pod: Its name.
            container: Name of the container.
            follow: Go on until the container ends.
            tail: Only so many of the last lines; None: all.
            since: Only what was written from then on; RFC 3339.
            timestamps: Begin each line with the time when it was written.

        Raises:
            NotFound: The pod does not exist.
            ApiError: The log cannot be read, or the connection broke.
        """
        query = {"container": container}
        query |= {"follow": "true"} if follow else {}
        query |= {"timestamps": "true"} if timestamps else {}
        query |= {"tailLines": str(tail)} if tail is not None else {}
        query |= {"sinceTime": since} if since else {}
        path = POD.path(namespace, pod, "log")
        with self._reply(path, query, silence=None if follow else _ANSWER_SECONDS) as response:
            yield from _lines(response, path)

    def _answer(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Returns the JSON object that the server answers with."""
        failures = 0
        while True:
            try:
                with self._reply(path, query, silence=_ANSWER_SECONDS) as response:
                    document = _document(b"".join(_lines(response, path)))
            except Transient as error:
                failures += 1
                # Without a code nobody answered, which a person had better hear at once.
                if not error.code or isinstance(error, Unauthorized) or failures >= _TRIES:
                    raise
                wait = _BACKOFF.delay(failures, self._random, at_least=min(error.retry_after or 0.0, 10.0))
                self._sleep(wait)
                continue
            if document is None:
                raise ApiError("the answer is no JSON object", request=f"GET {path}")
            return document

    @contextmanager
    def _reply(self, path: str, query: Mapping[str, str], *, silence: float | None) -> Iterator[HTTPResponse]:
        """Gives the answer to a request, where it is a good one.

        Args:
            path: Of the request.
            query: Of the request.
            silence: Longest wait for a piece of the answer, in seconds; None: for ever.
        """
        connection = self._connection()
        try:
            response = self._asked(connection, path, query, silence)
        except Unauthorized:
            connection.close()
            if not self.credentials.token.renew():
                raise
            connection = self._connection()
            response = self._asked(connection, path, query, silence)
        with closing(connection), closing(response):
            yield response

    def _asked(
        self, connection: HTTPConnection, path: str, query: Mapping[str, str], silence: float | None
    ) -> HTTPResponse:
        request = f"GET {path}"
        try:
            headers = self._headers()
            connection.connect()
            link = connection.sock
            _keep_alive(link)
            link.settimeout(_ANSWER_SECONDS)
            connection.request("GET", self._target(path, query), headers=headers)
            response = connection.getresponse()
            raw = b"" if response.status < _FIRST_REDIRECT else response.read()
            link.settimeout(silence)
        except (OSError, HTTPException) as error:
            connection.close()
            raise Unavailable(_why(error), request=request) from error
        if response.status < _FIRST_REDIRECT:
            return response
        connection.close()
        if response.status < _FIRST_ERROR:
            raise ApiError("the server sends elsewhere", code=response.status, request=request)
        raise _refusal(response, raw, request)

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": _AGENT}
        # Asked before connecting: a login program may give the certificate to connect with.
        if token := self.credentials.token.current():
            headers["Authorization"] = f"Bearer {token}"
        if self._proxy is not None and self.credentials.tls is None:
            headers |= _proxy_headers(self._proxy)
        return headers

    def _connection(self) -> HTTPConnection:
        tls, near = self.credentials.tls, self._proxy or self._place
        host, port = near.hostname or "", near.port
        if tls is None:
            return HTTPConnection(host, port or 80, timeout=_CONNECT_SECONDS)
        if self._proxy is None:
            return HTTPSConnection(host, port or 443, timeout=_CONNECT_SECONDS, context=tls)
        connection = HTTPSConnection(host, port or 80, timeout=_CONNECT_SECONDS, context=tls)
        connection.set_tunnel(
            self._place.hostname or "", self._place.port or 443, headers=_proxy_headers(self._proxy)
        )
        return connection

    def _target(self, path: str, query: Mapping[str, str]) -> str:
        target = f"{self._place.path.rstrip('/')}{path}{'?' if query else ''}{urlencode(query)}"
        through_proxy = self._proxy is not None and self.credentials.tls is None
        return f"{self._place.scheme}://{self._place.netloc}{target}" if through_proxy else target


def _split(address: str) -> SplitResult:
    try:
        place = urlsplit(address)
        if place.scheme in {"http", "https"} and place.hostname and place.port != 0:
            return place
    except ValueError:  # of a port that is no number
        pass
    raise ResourceUnavailable(
        "The address is none that begins with http:// or https://.",
        where=address,
        remedy="Mend it in the kubeconfig.",
    )


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    named = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(named.encode()).decode()}"}


def _keep_alive(link: socket.socket) -> None:
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if option := getattr(socket, name, None):  # not every system has them
            link.setsockopt(socket.IPPROTO_TCP, option, value)


def _lines(response: HTTPResponse, path: str) -> Iterator[bytes]:
    """Yields the lines of an answer as they come, with their ends; the last one may have none."""
    rest: list[bytes] = []
    try:
        while block := response.read1(_BLOCK):
            *lines, last = block.split(b"\n")
            for line in lines:
                yield b"".join((*rest, line, b"\n"))
                rest.clear()
            if last:
                rest.append(last)
    except (OSError, HTTPException) as error:
        raise Unavailable(_why(error), request=f"GET {path}") from error
    if rest:
        yield b"".join(rest)


def _refusal(response: HTTPResponse, raw: bytes, request: str) -> ApiError:
    status = _document(raw) or {}
    if response.status == _NOT_FOUND and not (status.get("details") or {}).get("name"):
        return UnknownKind("there is no such kind of object", code=_NOT_FOUND, request=request)
    after = response.headers.get("Retry-After") or ""
    retry_after = float(after) if after.isdigit() else None
    if not status:
        status = {"message": response.reason or "the server gave no reason"}
    return error_of(response.status, status, request=request, retry_after=retry_after)


def _document(raw: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(raw)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _why(error: Exception) -> str:
    words = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error)
    return str(words) or type(error).__name__
