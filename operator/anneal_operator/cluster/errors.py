"""Everything that a call to the API server can come to, other than what was asked for.

    ApiError                       the API server did not do what was asked
    |-- NotFound                   404: the object, or its kind, does not exist
    |-- AlreadyExists              409 on create: an object of that name is there
    |-- Conflict                   409: the object is no longer the one that was read
    |-- Expired                    410: a list's continuation is too old
    |-- Refused                    the server will not have it until somebody changes something
    |   |-- Forbidden              403: no right to do so, or an admission rule is against it
    |   |   |-- QuotaExceeded      the namespace has used up a quota
    |   |   `-- NamespaceTerminating   the namespace is being deleted
    |   `-- Invalid                400, 413, 422: the object breaks its schema or an admission rule
    |-- Transient                  it may work a moment later
    |   |-- Unauthorized           401: the token is not, or no longer, valid; tokens are read anew
    |   |-- TooManyRequests        429: the server asks for a pause
    |   `-- Unavailable            5xx, no connection, no answer in time
    `-- Fenced                     nothing was sent: another operator may hold the Lease by now

`Transient` errors of a call are retried inside the client, a bounded number of times.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_QUOTA = "exceeded quota"
_TERMINATING = "NamespaceTerminating"


class ApiError(Exception):
    """The API server did not do what was asked.

    Args:
        message: What it said.
        code: Its HTTP status; 0: it sent none.
        request: What was asked, as `PATCH /api/...`.
        retry_after: Seconds that it asked to wait, where it did.
    """

    def __init__(
        self, message: str, *, code: int = 0, request: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.request = request
        self.retry_after = retry_after

    def __str__(self) -> str:
        place = f"{self.request}: " if self.request else ""
        status = f" ({self.code})" if self.code else ""
        return f"{place}{self.message}{status}"


class NotFound(ApiError):
    """The object, or its kind, does not exist."""


class AlreadyExists(ApiError):
    """An object of that name is there already."""


class Conflict(ApiError):
    """The object is no longer the one that was read."""


class Expired(ApiError):
    """A list's continuation is too old.

    Args:
        message: What the server said.
        continuation: A token that goes on with the rest, of a newer state; empty: start again.
        code: HTTP status.
        request: What was asked.
    """

    def __init__(self, message: str, *, continuation: str = "", code: int = 410, request: str = "") -> None:
        super().__init__(message, code=code, request=request)
        self.continuation = continuation


class Refused(ApiError):
    """The server will not have it until somebody changes something."""


class Forbidden(Refused):
    """No right to do so, or an admission rule is against it."""


class QuotaExceeded(Forbidden):
    """The namespace has used up a quota."""


class NamespaceTerminating(Forbidden):
    """The namespace is being deleted: nothing new may be created in it."""


class Invalid(Refused):
    """The object breaks its schema or an admission rule."""


class Transient(ApiError):
    """It may work a moment later."""


class Unauthorized(Transient):
    """The token is not, or no longer, valid."""


class TooManyRequests(Transient):
    """The server asks for a pause."""


class Unavailable(Transient):
    """The server is down, out of reach or too slow."""


class Fenced(ApiError):
    """Nothing was sent: another operator may hold the Lease by now."""


_BY_CODE: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    408: Unavailable,
    409: Conflict,
    413: Invalid,
    422: Invalid,
    429: TooManyRequests,
}
_FIRST_SERVER_ERROR = 500


def error_of(
    code: int, status: Mapping[str, Any], *, request: str, retry_after: float | None = None
) -> ApiError:
    """Returns the error that an answer stands for.

    Args:
        code: HTTP status, 400 or more.
        status: The `Status` object in the body; empty where the body was none.
        request: What was asked.
        retry_after: The header `Retry-After` in seconds.
    """
    message = str(status.get("message") or status.get("reason") or "the API server gave no reason")
    details = status.get("details") or {}
    if retry_after is None and details.get("retryAfterSeconds"):
        retry_after = float(details["retryAfterSeconds"])
    if code == 410:  # noqa: PLR2004  # Gone
        metadata = status.get("metadata") or {}
        return Expired(message, continuation=str(metadata.get("continue") or ""), request=request)
    if code >= _FIRST_SERVER_ERROR:
        return Unavailable(message, code=code, request=request, retry_after=retry_after)
    kind = _BY_CODE.get(code, ApiError)
    if kind is Conflict and status.get("reason") == "AlreadyExists":
        kind = AlreadyExists
    elif kind is Forbidden and any(c.get("reason") == _TERMINATING for c in details.get("causes") or ()):
        kind = NamespaceTerminating
    elif kind is Forbidden and _QUOTA in message:
        # The API server has no reason of its own for quotas; every client goes by these words.
        kind = QuotaExceeded
    return kind(message, code=code, request=request, retry_after=retry_after)
