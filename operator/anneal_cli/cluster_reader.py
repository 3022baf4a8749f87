"""Reads objects, changes and logs from an API server.

It goes through the package kubernetes, of which the classes for each kind of object are left alone: they are slow to
import, and what they return has other names than the API.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from anneal_cli.kubeconfig import log_in, logged_errors
from anneal_operator.cluster.errors import ApiError, NotFound, Unauthorized, Unavailable, error_of
from anneal_operator.cluster.kinds import POD, Kind, page_query
from anneal_operator.resources.ownership import Object

_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 30.0
WATCH_SECONDS = 290
"""The server ends a watch after this long at most, and says every minute how far it is."""

_SILENCE_SECONDS = 150.0
_PAGE = 500
_BLOCK = 2**16
_NOT_FOUND, _FIRST_ERROR = 404, 400


class UnknownKind(NotFound):
    """404: the server has no such kind of object."""


class ClusterReader:
    """Reads from the API server that a kubeconfig names.

    Args:
        kubeconfig: The kubeconfig; None: as kubectl finds it.
        context: The context in it; empty: the current one.

    Raises:
        ResourceUnavailable: There is no way to log in.
    """

    def __init__(self, kubeconfig: Path | None = None, context: str = "") -> None:
        self._kubeconfig, self._context = kubeconfig, context
        self._login = log_in(kubeconfig, context)
        self.server, self.source = self._login.server, self._login.source
        self.namespace = self._login.namespace

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
        self,
        kind: Kind,
        namespace: str,
        name: str,
        version: str,
        *,
        connected: Callable[[], None],
        seconds: int = WATCH_SECONDS,
    ) -> Iterator[tuple[str, Object]]:
        """Yields what happens to one object, until the server or the network ends it: event type and object.

        Args:
            kind: Its kind.
            namespace: Its namespace.
            name: Its name.
            version: Resource version to go on from.
            connected: Called when the server has begun to answer.
            seconds: When the server is to end it.

        Raises:
            Expired: The version is too old: the object has to be read anew.
            ApiError: It cannot be watched, or the connection broke.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
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
        self, namespace: str, pod: str, container: str, *, follow: bool = False, tail: int | None = None
    ) -> Iterator[bytes]:
        """Yields the lines of a container's log, with their ends.

        Args:
            namespace: Namespace of the pod.
            pod: Its name.
            container: Name of the container.
            follow: Go on until the container ends.
            tail: Only so many of the last lines; None: all.

        Raises:
            NotFound: The pod does not exist.
            ApiError: The log cannot be read, or the connection broke.
        """
        query = {"container": container}
        query |= {"follow": "true"} if follow else {}
        query |= {"tailLines": str(tail)} if tail is not None else {}
        path = POD.path(namespace, pod, "log")
        with self._reply(path, query, silence=None if follow else _ANSWER_SECONDS) as response:
            yield from _lines(response, path)

    def _answer(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Returns the JSON object that the server answers with."""
        with self._reply(path, query, silence=_ANSWER_SECONDS) as response:
            document = _document(b"".join(_lines(response, path)))
        if document is None:
            raise ApiError("the answer is no JSON object", request=f"GET {path}")
        return document

    @contextmanager
    def _reply(self, path: str, query: Mapping[str, str], *, silence: float | None) -> Iterator[Any]:
        """Gives the answer to a request, where it is a good one; a refused login is renewed once.

        Args:
            path: Of the request.
            query: Of the request.
            silence: Longest wait for a piece of the answer, in seconds; None: for ever.
        """
        try:
            response = self._asked(path, query, silence)
        except Unauthorized:
            response = None
        if response is None:
            self._login = log_in(self._kubeconfig, self._context)
            response = self._asked(path, query, silence)
        with closing(response):
            yield response

    def _asked(self, path: str, query: Mapping[str, str], silence: float | None) -> Any:  # noqa: ANN401  # no types
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        request = f"GET {path}"
        try:
            with (
                logged_errors()
            ):  # a login that cannot be renewed is told of when the server refuses the old one
                return self._login.client.call_api(
                    path,
                    "GET",
                    query_params=list(query.items()),
                    header_params={"Accept": "application/json"},
                    auth_settings=["BearerToken"],
                    _preload_content=False,
                    _return_http_data_only=True,
                    _request_timeout=(_CONNECT_SECONDS, silence),
                )
        except ApiException as error:
            raise _refusal(error, request) from error
        except (HTTPError, OSError) as error:
            raise _lost(error, request) from _root(error)


def _lines(response: Any, path: str) -> Iterator[bytes]:  # noqa: ANN401  # of urllib3, which is imported late
    """Yields the lines of an answer as they come, with their ends; the last one may have none."""
    from urllib3.exceptions import HTTPError

    rest: list[bytes] = []
    try:
        for block in response.stream(_BLOCK):
            *lines, last = block.split(b"\n")
            for line in lines:
                yield b"".join((*rest, line, b"\n"))
                rest.clear()
            if last:
                rest.append(last)
    except (HTTPError, OSError) as error:
        raise _lost(error, f"GET {path}") from _root(error)
    if rest:
        yield b"".join(rest)


def _refusal(error: Any, request: str) -> ApiError:  # noqa: ANN401  # an ApiException, which has no types
    status = _document(error.body or "") or {}
    if error.status == _NOT_FOUND and not (status.get("details") or {}).get("name"):
        return UnknownKind("there is no such kind of object", code=_NOT_FOUND, request=request)
    if error.status < _FIRST_ERROR:
        return ApiError("the server sends elsewhere", code=error.status, request=request)
    after = (error.headers or {}).get("Retry-After") or ""
    if not status:
        status = {"message": error.reason or "the server gave no reason"}
    retry_after = float(after) if after.isdigit() else None
    return error_of(error.status, status, request=request, retry_after=retry_after)


def _document(raw: bytes | str) -> dict[str, Any] | None:
    try:
        document = json.loads(raw)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _lost(error: Exception, request: str) -> Unavailable:
    root = _root(error)
    words = getattr(root, "verify_message", "") or getattr(root, "strerror", "") or str(root)
    return Unavailable(str(words) or type(root).__name__, request=request)


def _root(error: BaseException) -> BaseException:
    """Returns what is at the bottom of an error of urllib3, which wraps what Python raises more than once."""
    inner = next((each for each in (*error.args, error.__cause__) if isinstance(each, BaseException)), None)
    return error if inner is None else _root(inner)
