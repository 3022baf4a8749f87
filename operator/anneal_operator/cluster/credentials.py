"""Who the operator is to the API server: its pod's service account, or a kubeconfig where people develop.

Kubelet replaces a service account's token while the pod runs, so the token is read again and again rather than once.
"""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from ruamel.yaml import YAML

from anneal_api.errors import ResourceUnavailable

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TOKEN_SECONDS = 30.0
_AGENT = "anneal-operator"


@dataclass(slots=True)
class Token:
    """A bearer token, read from its file again every half minute.

    Attributes:
        text: The token, where it is no file.
        file: The file that holds it.
    """

    text: str = ""
    file: Path | None = None
    _read_at: float | None = field(default=None, init=False)

    def current(self) -> str:
        """Returns the token; empty: there is none."""
        now = time.monotonic()
        if self.file is not None and (self._read_at is None or now - self._read_at > _TOKEN_SECONDS):
            self.text = self.file.read_text(encoding="utf-8").strip()
            self._read_at = now
        return self.text


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the API server is and how to speak to it.

    Attributes:
        server: Its address, as `https://10.96.0.1`.
        namespace: Namespace that the credentials belong to; empty: none.
        tls: How to check the server and what to show it; None: plain HTTP.
        token: Bearer token.
        proxy: Address of a proxy in between; None: none.
    """

    server: str
    namespace: str = ""
    tls: ssl.SSLContext | None = None
    token: Token = field(default_factory=Token)
    proxy: str | None = None

    def session(self) -> aiohttp.ClientSession:
        """Returns a session that speaks with these credentials. Whoever asked for it closes it."""

        async def authorize(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            if token := self.token.current():
                request.headers["Authorization"] = f"Bearer {token}"
            return await handler(request)

        # Watches hold a connection each for ever, so the number of connections is not limited here.
        connector = aiohttp.TCPConnector(limit=0, ssl=self.tls if self.tls is not None else False)
        return aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": _AGENT, "Accept": "application/json"},
            middlewares=(authorize,),
            proxy=self.proxy,
        )


def find_credentials(environment: Mapping[str, str] | None = None) -> Credentials:
    """Returns the credentials of this place: in a pod its service account, elsewhere the kubeconfig.

    Args:
        environment: Environment variables; None: the process's.

    Raises:
        ResourceUnavailable: There is neither, or the kubeconfig cannot be used.
    """
    environment = os.environ if environment is None else environment
    if environment.get("KUBECONFIG"):
        return from_kubeconfig(
            [Path(p).expanduser() for p in environment["KUBECONFIG"].split(os.pathsep) if p]
        )
    if (_ACCOUNT / "token").exists() and environment.get("KUBERNETES_SERVICE_HOST"):
        return from_service_account(_ACCOUNT, environment)
    default = Path("~/.kube/config").expanduser()
    if default.exists():
        return from_kubeconfig([default])
    raise ResourceUnavailable(
        "There is no way to a cluster: no service account and no kubeconfig.",
        remedy="Run the operator in a pod with a service account, or set KUBECONFIG.",
    )


def from_service_account(folder: Path, environment: Mapping[str, str]) -> Credentials:
    """Returns the credentials that kubelet puts into a pod.

    Args:
        folder: Where it puts them.
        environment: The pod's environment variables.
    """
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment.get("KUBERNETES_SERVICE_PORT", "443")
    place = f"[{host}]" if ":" in host else host
    namespace = folder / "namespace"
    return Credentials(
        server=f"https://{place}:{port}",
        namespace=namespace.read_text(encoding="utf-8").strip() if namespace.exists() else "",
        tls=ssl.create_default_context(cafile=str(folder / "ca.crt")),
        token=Token(file=folder / "token"),
    )


def from_kubeconfig(files: list[Path]) -> Credentials:
    """Returns the credentials of the current context.

    Args:
        files: Kubeconfigs; of what several define, the first counts.

    Raises:
        ResourceUnavailable: A file is missing, no context is chosen, or it asks for what is not supported here.
    """
    current, named = "", dict[tuple[str, str], tuple[dict[str, Any], Path]]()
    for file in files:
        if not file.exists():
            raise ResourceUnavailable(
                "The kubeconfig does not exist.", where=str(file), remedy="Mend KUBECONFIG."
            )
        document = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8")) or {}
        current = current or str(document.get("current-context") or "")
        for section in ("context", "cluster", "user"):
            for entry in document.get(f"{section}s") or ():
                named.setdefault((section, entry["name"]), (entry.get(section) or {}, file.parent))
    where = str(files[0])
    if ("context", current) not in named:
        raise ResourceUnavailable(
            "The kubeconfig chooses no context.", where=where, remedy="Run `kubectl config use-context NAME`."
        )
    context, _ = named["context", current]
    cluster, cluster_folder = named["cluster", context["cluster"]]
    user, user_folder = named.get(("user", context.get("user", "")), ({}, files[0].parent))
    if "exec" in user or "auth-provider" in user:
        raise ResourceUnavailable(
            "The kubeconfig asks a program for its token, which is not supported here.",
            where=where,
            remedy="Use a token or a client certificate, for example of a service account.",
        )
    return Credentials(
        server=str(cluster["server"]).rstrip("/"),
        namespace=str(context.get("namespace") or ""),
        tls=_tls(cluster, cluster_folder, user, user_folder),
        token=_token(user, user_folder),
        proxy=cluster.get("proxy-url"),
    )


def _token(user: Mapping[str, Any], folder: Path) -> Token:
    file = user.get("tokenFile")
    return Token(text=str(user.get("token") or ""), file=folder / file if file else None)


def _tls(
    cluster: Mapping[str, Any], cluster_folder: Path, user: Mapping[str, Any], user_folder: Path
) -> ssl.SSLContext | None:
    if not str(cluster["server"]).startswith("https"):
        return None
    authority = _pem(cluster, "certificate-authority", cluster_folder)
    context = ssl.create_default_context(cadata=authority)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = _pem(user, "client-certificate", user_folder), _pem(user, "client-key", user_folder)
    if certificate and key:
        # Python's ssl reads a client certificate from files only.
        with tempfile.TemporaryDirectory() as folder:
            both = Path(folder) / "client.pem"
            both.touch(mode=0o600)
            both.write_text(f"{certificate}\n{key}\n", encoding="ascii")
            context.load_cert_chain(both)
    return context


def _pem(entry: Mapping[str, Any], name: str, folder: Path) -> str | None:
    if data := entry.get(f"{name}-data"):
        return base64.b64decode(str(data)).decode("ascii")
    if file := entry.get(name):
        return (folder / str(file)).read_text(encoding="ascii")
    return None
