"""Writes one key of one ConfigMap, with the pod's own service account and nothing but the standard library.

A pod of an older attempt, or of an earlier object of the same name, must not write into a newer one's. So the ConfigMap
is looked at first: it has to belong to this very job. Every patch then names the version that was seen, so that a
request that was given up and arrives late changes nothing either.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

from anneal_trainer.cluster.report import ReportNotWrittenError

API_SERVER = "ANNEAL_API_SERVER"
"""Address of the API server, where it is not the one of the pod's cluster."""

API_CREDENTIALS = "ANNEAL_API_CREDENTIALS"
"""Folder with `token` and `ca.crt`, where it is not where Kubernetes mounts them."""

_CREDENTIALS = "/var/run/secrets/kubernetes.io/serviceaccount"
_FIELD_MANAGER = "anneal-pod"
_ROUNDS = 3
"""Somebody else may change the ConfigMap between our look and our patch, but not for ever."""

_HOPELESS = {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}


@dataclass(frozen=True, slots=True)
class ApiAccess:
    """How a pod reaches the API server.

    Attributes:
        url: Its address.
        credentials: Folder with `token`, which Kubernetes renews, and `ca.crt`.
        timeout: Longest wait for an answer, in seconds.
    """

    url: str
    credentials: Path
    timeout: float = 10.0

    @classmethod
    def of_pod(cls, environment: Mapping[str, str]) -> Self:
        """Returns how the pod with these environment variables does.

        Raises:
            ReportNotWrittenError: It is no pod.
        """
        url = environment.get(API_SERVER, "")
        if not url:
            host = environment.get("KUBERNETES_SERVICE_HOST", "")
            if not host:
                raise ReportNotWrittenError(
                    "there is no API server: KUBERNETES_SERVICE_HOST is not set", hopeless=True
                )
            host = f"[{host}]" if ":" in host else host
            url = f"https://{host}:{environment.get('KUBERNETES_SERVICE_PORT', '443')}"
        return cls(url, Path(environment.get(API_CREDENTIALS, _CREDENTIALS)))

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Sends a request; returns the status and the object, or what else was said under `message`.

        Args:
            method: GET or PATCH.
            path: With its query.
            body: A JSON merge patch.

        Raises:
            ReportNotWrittenError: There is no answer.
        """
        try:
            headers = {
                "Accept": "application/json",
                "Authorization": f"Bearer {(self.credentials / 'token').read_text(encoding='ascii').strip()}",
            }
            content = None
            if body is not None:
                content = json.dumps(body, ensure_ascii=False).encode()
                headers["Content-Type"] = "application/merge-patch+json"
            connection = self._connection()
            try:
                connection.request(method, path, body=content, headers=headers)
                answer = connection.getresponse()
                return answer.status, _object(answer.read())
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:  # a TLS error is an OSError too
            raise ReportNotWrittenError(f"{self.url}: {type(error).__name__}: {error}") from error

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.netloc, timeout=self.timeout)
        # Read anew each time, for certificates are renewed too.
        trust = ssl.create_default_context(cafile=str(self.credentials / "ca.crt"))
        return http.client.HTTPSConnection(parts.netloc, timeout=self.timeout, context=trust)


@dataclass(frozen=True, slots=True)
class _Seen:
    uid: str
    version: str


class ConfigMapKey:
    """One key of the ConfigMap of an attempt.

    Args:
        access: How to reach the API server.
        namespace: Namespace of the ConfigMap.
        name: Its name.
        key: The key that is written; all others are left alone.
        owner_uid: UID of the job that it must belong to.
    """

    def __init__(self, access: ApiAccess, *, namespace: str, name: str, key: str, owner_uid: str) -> None:
        self._access = access
        self._path = f"/api/v1/namespaces/{quote(namespace, safe='')}/configmaps/{quote(name, safe='')}"
        self._what = f"ConfigMap {namespace}/{name}"
        self._key = key
        self._owner_uid = owner_uid
        self._seen: _Seen | None = None

    def write(self, text: str) -> None:
        """Replaces the key's content.

        Raises:
            ReportNotWrittenError: The API server is away, refuses it, or the ConfigMap is not that of this job.
        """
        for _ in range(_ROUNDS):
            seen = self._seen or self._look()
            patch = {
                "metadata": {"uid": seen.uid, "resourceVersion": seen.version},
                "data": {self._key: text},
            }
            status, answer = self._access.request(
                "PATCH", f"{self._path}?fieldManager={_FIELD_MANAGER}", patch
            )
            if status == HTTPStatus.OK:
                self._seen = replace(seen, version=_metadata(answer).get("resourceVersion", ""))
                return
            self._seen = None
            if status != HTTPStatus.CONFLICT:
                raise self._refusal(status, answer)
        raise ReportNotWrittenError(f"{self._what} is changed all the time by somebody else")

    def _look(self) -> _Seen:
        status, answer = self._access.request("GET", self._path)
        if status != HTTPStatus.OK:
            raise self._refusal(status, answer)
        metadata = _metadata(answer)
        owners = [owner.get("uid") for owner in metadata.get("ownerReferences", ())]
        if self._owner_uid not in owners:
            raise ReportNotWrittenError(
                f"{self._what} belongs to another object of the same name", hopeless=True
            )
        return _Seen(metadata.get("uid", ""), metadata.get("resourceVersion", ""))

    def _refusal(self, status: int, answer: Mapping[str, Any]) -> ReportNotWrittenError:
        said = answer.get("message") or "no reason given"
        return ReportNotWrittenError(f"{self._what}: {said} ({status})", hopeless=status in _HOPELESS)


def _metadata(answer: Mapping[str, Any]) -> dict[str, Any]:
    metadata = answer.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _object(content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except ValueError:
        return {"message": content[:200].decode(errors="replace")}
    return answer if isinstance(answer, dict) else {"message": str(answer)[:200]}
