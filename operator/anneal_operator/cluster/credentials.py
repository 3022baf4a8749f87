"""Who the operator is to the API server: in a pod its service account, elsewhere a kubeconfig.

A kubeconfig is for development and tests, so only what those need is read of it: a server, and a token or a client
certificate. What else is in it is refused, never passed over.
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

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from anneal_api.errors import ResourceUnavailable

_TOKEN_SECONDS = 30.0
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CERTIFICATE = ("client-certificate", "client-key")
_OF_USER = {"token", "tokenFile", *_CERTIFICATE, *(f"{name}-data" for name in _CERTIFICATE)}
_OF_CLUSTER = {"server", "certificate-authority", "certificate-authority-data", "insecure-skip-tls-verify"}


@dataclass(slots=True)
class Token:
    """A bearer token. One in a file is read again every half minute: kubelet replaces it while the pod runs.

    Attributes:
        text: The token, where it is not in a file.
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
    """

    server: str
    namespace: str = ""
    tls: ssl.SSLContext | None = None
    token: Token = field(default_factory=Token)


def find_credentials(environment: Mapping[str, str] | None = None) -> Credentials:
    """Returns the credentials of this place: of the kubeconfig that KUBECONFIG names, else of the pod's account.

    Args:
        environment: Environment variables; None: the process's.

    Raises:
        ResourceUnavailable: There is no account, and the kubeconfig, or the one in the home folder, cannot be used.
    """
    environment = os.environ if environment is None else environment
    named = environment.get("KUBECONFIG")
    if not named and (_ACCOUNT / "token").exists():
        return from_service_account(_ACCOUNT, environment)
    return from_kubeconfig(Path(named or os.path.expanduser("~/.kube/config")))  # noqa: PTH111  # it never raises


def from_service_account(folder: Path, environment: Mapping[str, str]) -> Credentials:
    """Returns the credentials that kubelet puts into a pod.

    Args:
        folder: Where it puts them.
        environment: The pod's environment variables.
    """
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment.get("KUBERNETES_SERVICE_PORT", "443")
    namespace = folder / "namespace"
    return Credentials(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        namespace=namespace.read_text(encoding="utf-8").strip() if namespace.exists() else "",
        tls=_trusting((folder / "ca.crt").read_text(encoding="ascii")),
        token=Token(file=folder / "token"),
    )


def from_kubeconfig(file: Path) -> Credentials:
    """Returns the credentials of a kubeconfig's current context.

    Raises:
        ResourceUnavailable: It is not there, is none, or asks for what only other clients can do.
    """
    try:
        document = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
        context = _entry(document, "context", document["current-context"])
        cluster = _entry(document, "cluster", context["cluster"])
        user = _entry(document, "user", context["user"])
        if unknown := sorted(({*user} - _OF_USER) | ({*cluster} - _OF_CLUSTER)):
            raise ValueError(f"{', '.join(unknown)} is not supported by the operator")
        server, token = str(cluster["server"]).rstrip("/"), user.get("tokenFile")
        return Credentials(
            server=server,
            namespace=str(context.get("namespace") or ""),
            tls=_tls(cluster, user, file.parent) if server.startswith("https") else None,
            token=Token(str(user.get("token") or ""), file.parent / token if token else None),
        )
    except (
        OSError,
        YAMLError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
    ) as error:  # ssl's are OSErrors
        why = (str(error).splitlines() or [""])[0]  # what follows may show the line, with its secrets
        raise ResourceUnavailable(
            f"The kubeconfig cannot be used: {type(error).__name__}: {why}.",
            where=str(file),
            remedy="Name one with a token or a client certificate, or run in a pod with a service account.",
        ) from error


def _entry(document: Any, kind: str, name: str) -> Mapping[str, Any]:  # noqa: ANN401  # whatever YAML holds
    return {each["name"]: each[kind] or {} for each in document[f"{kind}s"]}[name]


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], folder: Path) -> ssl.SSLContext:
    context = _trusting(_pem(cluster, "certificate-authority", folder))
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = (_pem(user, name, folder) for name in _CERTIFICATE)
    if certificate and key:
        # Python's ssl reads a client certificate from files only.
        with tempfile.NamedTemporaryFile("w", encoding="ascii") as both:
            both.write(f"{certificate}\n{key}\n")
            both.flush()
            context.load_cert_chain(both.name)
    return context


def _trusting(authority: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority)
    # As Kubernetes' own clients: take the authority as it is, also one without a key identifier, as many clusters have.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _pem(entry: Mapping[str, Any], name: str, folder: Path) -> str | None:
    if data := entry.get(f"{name}-data"):
        return base64.b64decode(str(data)).decode("ascii")
    file = entry.get(name)
    return (folder / str(file)).read_text(encoding="ascii") if file else None
