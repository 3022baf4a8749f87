"""Who somebody is to the API server. What reads it from a pod or a kubeconfig is in `credential_sources`.

Kubelet replaces a service account's token while the pod runs, and a login program gives out tokens that expire, so a
token is read again and again rather than once.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_TOKEN_SECONDS = 30.0
_EARLY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Issued:
    """A token that a login program has given out.

    Attributes:
        token: The token; empty: it gave a certificate instead.
        expires: When it expires; None: it does not say.
    """

    token: str
    expires: datetime | None = None


@dataclass(slots=True)
class Token:
    """A bearer token, read from its file again every half minute, or asked for anew before it expires.

    Attributes:
        text: The token, where it is neither in a file nor given out.
        file: The file that holds it.
        issuer: Gives one out, which may take seconds.
    """

    text: str = ""
    file: Path | None = None
    issuer: Callable[[], Issued] | None = None
    _read_at: float | None = field(default=None, init=False)
    _expires: datetime | None = field(default=None, init=False)

    def current(self) -> str:
        """Returns the token; empty: there is none."""
        now = time.monotonic()
        if self.issuer is not None:
            if self._read_at is None or (self._expires is not None and _is_near(self._expires)):
                issued = self.issuer()
                self.text, self._expires, self._read_at = issued.token, issued.expires, now
        elif self.file is not None and (self._read_at is None or now - self._read_at > _TOKEN_SECONDS):
            self.text = self.file.read_text(encoding="utf-8").strip()
            self._read_at = now
        return self.text

    def renew(self) -> bool:
        """Makes the next use read the token anew, and returns whether that can bring another one."""
        self._read_at = None
        return self.file is not None or self.issuer is not None


def _is_near(moment: datetime) -> bool:
    return (moment - datetime.now(UTC)).total_seconds() < _EARLY_SECONDS


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the API server is and how to speak to it.

    Attributes:
        server: Its address, as `https://10.96.0.1`.
        namespace: Namespace that the credentials belong to; empty: none.
        tls: How to check the server and what to show it; None: plain HTTP.
        token: Bearer token.
        proxy: Address of a proxy in between; None: none.
        source: What they were read from, for people: a context of a kubeconfig, or the pod's service account.
    """

    server: str
    namespace: str = ""
    tls: ssl.SSLContext | None = None
    token: Token = field(default_factory=Token)
    proxy: str | None = None
    source: str = ""


class _NamedContext(ssl.SSLContext):
    """A TLS context that checks for a name of its own, whatever the address is."""

    server_name = ""

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:  # noqa: ANN401  # those of the base
        return super().wrap_socket(*arguments, **self._named(options))

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:  # noqa: ANN401  # those of the base
        return super().wrap_bio(*arguments, **self._named(options))

    def _named(self, options: dict[str, Any]) -> dict[str, Any]:
        return {**options, "server_hostname": self.server_name} if self.server_name else options


def trusting(authority: str | None, *, server_name: str = "", insecure: bool = False) -> ssl.SSLContext:
    """Returns a TLS context for an API server.

    Kubernetes' own clients take the authority that they are given as it is, so this one does too: Python would refuse
    one without a key identifier, which many clusters have.

    Args:
        authority: Certificates to trust, in PEM; None: those of the system.
        server_name: Name that the server's certificate must have; empty: that of its address.
        insecure: Trust whoever answers.

    Raises:
        ssl.SSLError: The authority is no certificate.
    """
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = server_name
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if authority is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=authority)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
