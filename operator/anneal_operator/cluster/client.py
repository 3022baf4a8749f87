"""The operator's way to the API server: a few verbs over HTTP, each safe to repeat.

Every call is repeated a bounded number of times while its error may pass, so every verb must bear being carried out
twice: a create that was answered into the void comes back as `AlreadyExists`, a delete as `NotFound`; apply is
idempotent; finalizers are guarded by the resource version.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from io import BytesIO
from random import Random
from typing import Any

import aiohttp

from anneal_operator.cluster.clock import Clock, SystemClock
from anneal_operator.cluster.credentials import Credentials
from anneal_operator.cluster.errors import ApiError, Expired, Transient, Unavailable, error_of
from anneal_operator.cluster.kinds import Kind, page_query
from anneal_operator.cluster.retries import Backoff
from anneal_operator.cluster.sessions import session
from anneal_operator.plan.observed import Object
from anneal_operator.resources.names import MANAGER

STATUS_MANAGER = f"{MANAGER}-status"
"""Field manager of the status, apart from the one of what the operator makes."""

PAGE = 500
"""Objects in one page of a list: few enough to parse at once, enough to read a list of all before it expires."""

_TRIES = 4
_BACKOFF = Backoff(first=0.25, longest=4.0)
_LONGEST_PAUSE = 30.0
_CONNECT_SECONDS = 5.0
_FIRST_ERROR = 400
_SERVER_ERROR = 500
_JSON = "application/json"
_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_JSON_PATCH = "application/json-patch+json"
_OPENAPI_KIND = "x-kubernetes-group-version-kind"
_MERGE_PATCH = "application/merge-patch+json"


def _no_fence() -> None:
    """Lets every write through."""


def _no_date(date: str | None, asked: float, answered: float) -> None:
    """Does not ask what time it is at the server."""


def _no_observer(verb: str, code: int, seconds: float) -> None:
    """Keeps no account of calls."""


class Client:
    """Reads and writes objects.

    Args:
        credentials: Whom it speaks to and as whom.
        clock: Time.
        random: Chance, for the waits between tries.
        fence: Called before each write; raises `Fenced` where this process may no longer write.
        observer: Told of every answer: verb, HTTP status (0: none came), seconds.
        dated: Told the `Date` of every answer, and when it was asked and answered by the monotonic clock.
        tries: How often a call is tried at most.
        timeout: Longest time that the server may take for an answer, in seconds.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        clock: Clock | None = None,
        random: Random | None = None,
        fence: Callable[[], None] = _no_fence,
        observer: Callable[[str, int, float], None] = _no_observer,
        dated: Callable[[str | None, float, float], None] = _no_date,
        tries: int = _TRIES,
        timeout: float = 30.0,
    ) -> None:
        self._credentials = credentials
        self._session = session(credentials)
        self._clock = clock or SystemClock()
        self._random = random or Random()  # noqa: S311  # spreads waits, hides nothing
        self._observer = observer
        self._dated = dated
        self._tries = tries
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=_CONNECT_SECONDS)
        self.fence = fence

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Returns an object as it is now.

        Raises:
            NotFound: It does not exist.
            ApiError: It cannot be read.
        """
        return await self._call("get", kind.path(namespace, name))

    async def objects(
        self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> AsyncIterator[Object]:
        """Yields the objects of a kind as they are now, page by page.

        Args:
            kind: Which objects.
            namespace: Where; empty: in all namespaces.
            labels: Label selector.
            fields: Field selector.

        Raises:
            ApiError: They cannot be read.
        """
        query = page_query(PAGE, labels, fields)
        while True:
            try:
                page = await self._call("list", kind.path(namespace), query=query)
            except Expired as error:
                if not error.continuation:
                    raise
                # The rest of the list, of a newer state than its start. Whoever acts on it looks twice anyway.
                query["continue"] = error.continuation
                continue
            for item in page.get("items") or ():
                # Items of a list carry no type of their own.
                yield {"apiVersion": kind.api_version, "kind": kind.kind, **item}
            continuation = page.get("metadata", {}).get("continue")
            if not continuation:
                return
            query["continue"] = continuation

    async def create(self, kind: Kind, body: Object) -> Object:
        """Creates an object and returns it.

        Raises:
            AlreadyExists: One of that name is there.
            Refused: The server will not have it.
            ApiError: It cannot be created.
        """
        path = kind.path(body["metadata"]["namespace"])
        return await self._call("create", path, query={"fieldManager": MANAGER}, body=body)

    async def replace(self, kind: Kind, body: Object) -> Object:
        """Puts an object in the place of the one whose resource version it carries, and returns it.

        Raises:
            Conflict: The object has changed since.
            ApiError: It cannot be written.
        """
        path = kind.path(body["metadata"]["namespace"], body["metadata"]["name"])
        return await self._call("update", path, query={"fieldManager": MANAGER}, body=body)

    async def apply(self, kind: Kind, body: Object) -> Object:
        """Makes an object look like the intent, whoever held its fields, and returns it.

        Raises:
            Refused: The server will not have it.
            ApiError: It cannot be written.
        """
        path = kind.path(body["metadata"]["namespace"], body["metadata"]["name"])
        query = {"fieldManager": MANAGER, "force": "true"}
        return await self._call("apply", path, query=query, body=body, content=_APPLY)

    async def apply_status(self, kind: Kind, seen: Object, status: Mapping[str, Any]) -> Object:
        """Writes the status of an object that is still as it was seen, and returns the object.

        Args:
            kind: Its kind.
            seen: The object that the status was thought out for.
            status: The whole status.

        Raises:
            Conflict: The object has changed since.
            NotFound: It is gone.
            ApiError: The status cannot be written.
        """
        meta = seen["metadata"]
        wanted = {key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion")}
        body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": wanted, "status": status}
        path = kind.path(meta["namespace"], meta["name"], "status")
        query = {"fieldManager": STATUS_MANAGER, "force": "true"}
        return await self._call("apply_status", path, query=query, body=body, content=_APPLY)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        """Deletes an object, if it still is the one with this UID; what it owns goes after it.

        Raises:
            Conflict: Another object has that name now.
            NotFound: It is gone already.
            ApiError: It cannot be deleted.
        """
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        await self._call("delete", kind.path(namespace, name), body=options)

    async def set_finalizers(self, kind: Kind, seen: Object, finalizers: list[str]) -> Object:
        """Sets the finalizers of an object that is still as it was seen, and returns it.

        Raises:
            Conflict: The object has changed since.
            NotFound: It is gone.
            ApiError: They cannot be set.
        """
        meta = seen["metadata"]
        # Writing the version that was seen makes the server compare it: a conflict where it is no longer the same. A
        # `test` of it would come back as 422 instead, which nobody could tell from a refusal.
        patch = [
            {"op": "replace", "path": "/metadata/uid", "value": meta["uid"]},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]},
            {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
        ]
        path = kind.path(meta["namespace"], meta["name"])
        return await self._call("patch", path, body=patch, content=_JSON_PATCH)

    async def merge(self, kind: Kind, namespace: str, name: str, change: Mapping[str, Any]) -> Object:
        """Changes single fields of an object and returns it. For Events, which nobody applies.

        Raises:
            ApiError: They cannot be changed.
        """
        path = kind.path(namespace, name)
        return await self._call("patch", path, body=change, content=_MERGE_PATCH)

    async def served(self, kind: Kind) -> frozenset[str]:
        """Returns the names of all kinds of a kind's group and version; empty: the server has no such group.

        Raises:
            ApiError: The server did not say.
        """
        answer = await self._call("discover", kind.root, missing={"resources": []})
        return frozenset(resource["kind"] for resource in answer["resources"])

    async def status_schema(self, kind: Kind) -> dict[str, Any] | None:
        """Returns the OpenAPI schema of a kind's status that the server goes by; None where it does not say.

        Raises:
            ApiError: The server did not answer.
        """
        answer = await self._call("discover", f"/openapi/v3{kind.root}", missing={})
        for schema in (answer.get("components") or {}).get("schemas", {}).values():
            if any(meant.get("kind") == kind.kind for meant in schema.get(_OPENAPI_KIND) or ()):
                status = (schema.get("properties") or {}).get("status")
                return status if isinstance(status, dict) else None
        return None

    async def _call(
        self,
        verb: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content: str = _JSON,
        missing: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        failures = 0
        while True:
            if body is not None:
                self.fence()
            try:
                return await self._try(verb, path, query=query, body=body, content=content, missing=missing)
            except Transient as error:
                failures += 1
                pause = _BACKOFF.delay(failures, self._random, at_least=error.retry_after or 0.0)
                if failures >= self._tries or pause > _LONGEST_PAUSE:
                    raise
                await self._clock.sleep(pause)

    async def _try(
        self,
        verb: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        body: object,
        content: str,
        missing: dict[str, Any] | None,
    ) -> dict[str, Any]:
        method = _METHODS[verb]
        request = f"{method} {path}"
        began = self._clock.monotonic()
        code = 0
        try:
            async with self._session.request(
                method,
                self._credentials.server + path,
                params=query,
                data=None if body is None else BytesIO(json.dumps(body, separators=(",", ":")).encode()),
                headers=None if body is None else {"Content-Type": content},
                timeout=self._timeout,
            ) as response:
                code = response.status
                if code < _SERVER_ERROR:  # else a proxy may have answered
                    self._dated(response.headers.get("Date"), began, self._clock.monotonic())
                raw = await response.read()
                retry_after = _seconds(response.headers.get("Retry-After"))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # A reply that breaks off leaves open whether the request was carried out; it counts as none.
            code = 0
            raise Unavailable(str(error) or type(error).__name__, request=request) from error
        finally:
            self._observer(verb, code, self._clock.monotonic() - began)
        if code == 404 and missing is not None:  # noqa: PLR2004  # Not Found
            return missing
        answer = _document(raw)
        if code >= _FIRST_ERROR:
            raise error_of(code, answer or {}, request=request, retry_after=retry_after)
        if answer is None:
            raise ApiError("the answer is no JSON object", code=code, request=request)
        return answer


_METHODS = {
    "get": "GET",
    "list": "GET",
    "discover": "GET",
    "create": "POST",
    "update": "PUT",
    "apply": "PATCH",
    "apply_status": "PATCH",
    "patch": "PATCH",
    "delete": "DELETE",
}


def _document(raw: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(raw)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _seconds(header: str | None) -> float | None:
    # The header may be a date too; the API server sends seconds, and a proxy's date is not worth a clock's skew.
    return float(header) if header is not None and header.isdigit() else None
