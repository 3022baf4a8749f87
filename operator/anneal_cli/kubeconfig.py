"""Who a person is to a cluster: logs in as the kubeconfig says, or in a pod as its service account.

The package kubernetes reads the kubeconfig and runs login programs. What it would pass over in silence is refused here.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from anneal_api.errors import ResourceUnavailable

_AGENT = "anneal"
_DEFAULT = "~/.kube/config"
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_REFUSED = {
    "auth-provider": "Use `exec` with a login program of the provider, for example kubelogin.",
    # To leave it out would be to act with more rights than were asked for.
    **dict.fromkeys(("as", "as-uid", "as-groups", "as-user-extra"), "Use credentials of that user itself."),
}
_BUSY = (429, 500, 502, 503, 504)
# A laptop that slept, or a gateway that forgot the connection, is noticed after a minute and a half.
_KEEP_ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


@dataclass(frozen=True, slots=True)
class Login:
    """A client of an API server that is logged in.

    Attributes:
        client: `ApiClient` of the package kubernetes.
        server: Address of the API server.
        namespace: Namespace that the credentials belong to; empty: none.
        source: What they were read from, for people: a context, or the pod's service account.
    """

    client: Any
    server: str
    namespace: str
    source: str


def log_in(file: Path | None = None, context: str = "") -> Login:
    """Returns a client that is logged in, for which a login program may ask a person for something.

    Args:
        file: The kubeconfig; None: those that KUBECONFIG names, else the one in the home folder.
        context: The context in it; empty: the current one.

    Raises:
        ResourceUnavailable: The package kubernetes is not installed, there is no kubeconfig, or it cannot be used.
    """
    try:
        from kubernetes.client import Configuration
        from kubernetes.config import ConfigException, load_incluster_config
        from yaml import YAMLError
    except ImportError as error:
        raise ResourceUnavailable(
            "The package kubernetes, which this command asks the cluster with, is not installed.",
            remedy="Run `pip install 'anneal[cluster]'`.",
        ) from error
    from urllib3.exceptions import HTTPError

    named = str(file) if file is not None else os.environ.get("KUBECONFIG") or _DEFAULT
    configuration = Configuration()
    try:
        if any(map(_is_there, named.split(os.pathsep))):
            return _of_kubeconfig(named, context, configuration)
        if named == _DEFAULT and not context and (_ACCOUNT / "token").exists():
            load_incluster_config(client_configuration=configuration)
            namespace = (_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
            return _client(configuration, "", namespace, "the pod's service account")
    except (
        ConfigException,
        YAMLError,
        HTTPError,
        OSError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
    ) as error:
        # What follows a brace is an entry of the kubeconfig, with its secrets.
        why = " ".join(str(error).partition("{")[0].split()).rstrip("./")
        raise _unusable(f"cannot be used: {why}", named) from error
    raise _unusable("does not exist", named, "Name one with --kubeconfig or in KUBECONFIG.")


@contextmanager
def logged_errors() -> Iterator[list[str]]:
    """Gives what the package kubernetes logs inside: its only word about a login program that fails."""
    said: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield said
    finally:
        root.removeHandler(handler)


def _of_kubeconfig(named: str, context: str, configuration: Any) -> Login:  # noqa: ANN401  # it has no types
    from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

    merger = KubeConfigMerger(named)
    # Of several files the first counts, as it does for kubectl; the package would take the last.
    current = (each.get("current-context") for each in merger.config_files.values())
    name = context or next(filter(None, current), "")
    known = [each["name"] for each in merger.config.value["contexts"]]
    if not name:
        raise _unusable(
            "chooses no context", named, "Name one with --context, or `kubectl config use-context`."
        )
    if name not in known:
        raise _unusable(f"has no context {name!r}", named, f"It has: {', '.join(known) or 'none at all'}.")
    # Without a base path, relative ones begin in the folder of the file that has them.
    loader = KubeConfigLoader(merger.config, active_context=name, config_base_path=None)
    about = loader.current_context["context"]
    cluster = merger.config["clusters"].get_with_name(about["cluster"])["cluster"].value
    users = {each["name"]: each.value.get("user") for each in merger.config.value["users"]}
    user = users.get(about.get("user")) or {}
    for field, remedy in _REFUSED.items():
        if user.get(field):
            raise _unusable(f"has a user with `{field}`, which is not supported here", named, remedy)
    if not str(cluster.get("server")).startswith(("http://", "https://")):
        raise _unusable(f"has no `server` that begins with https:// for the context {name}", named)
    with logged_errors() as said:
        loader.load_and_set(configuration)
    if hasattr(loader, "token"):
        loader.token = loader.token.strip()  # of a file, which may end in a line feed
    elif user.get("exec") and not configuration.cert_file:
        why = ": ".join(said) or "it gave neither a token nor a certificate"
        hint = str(user["exec"].get("installHint") or "").strip()
        raise _unusable(
            f"names a program to log in with that fails: {why}", named, hint or "Log in with it anew."
        )
    return _client(configuration, cluster.get("proxy-url"), about.get("namespace") or "", f"context {name}")


def _client(configuration: Any, proxy: str | None, namespace: str, source: str) -> Login:  # noqa: ANN401  # as above
    from kubernetes.client import ApiClient
    from urllib3.connection import HTTPConnection
    from urllib3.util import Retry, make_headers

    configuration.proxy = found = _proxy(configuration.host, proxy)
    if found and (login := urlsplit(found)).username:
        both = f"{unquote(login.username or '')}:{unquote(login.password or '')}"
        configuration.proxy_headers = make_headers(proxy_basic_auth=both)
    if proxy:
        configuration.no_proxy = None  # it is about the variables
    # A busy server is asked again; that nobody answers is told at once.
    configuration.retries = Retry(
        total=None,
        connect=0,
        read=0,
        redirect=0,
        other=0,
        status=2,
        status_forcelist=_BUSY,
        backoff_factor=0.5,
        raise_on_status=False,
        raise_on_redirect=False,
    )
    configuration.socket_options = [
        *HTTPConnection.default_socket_options,
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        # Not every system has these.
        *(
            (socket.IPPROTO_TCP, option, value)
            for name, value in _KEEP_ALIVE.items()
            if (option := getattr(socket, name, None))
        ),
    ]
    client = ApiClient(configuration)
    client.user_agent = _AGENT
    return Login(client, configuration.host, namespace, source)


def _proxy(server: str, named: str | None) -> str | None:
    """Returns the proxy to a server by the rules of kubectl, which differ from those of the package kubernetes.

    Version 36 of it knows no `proxy-url`, takes HTTP_PROXY for https too, and reaches even this machine by proxy.
    """
    place = urlsplit(server)
    scheme, host = place.scheme, place.hostname or ""
    found = named or os.environ.get(f"{scheme}_proxy".upper()) or os.environ.get(f"{scheme}_proxy")
    if not found or (not named and (host == "localhost" or _is_loopback(host))):
        return None
    return found if "://" in found else f"http://{found}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_there(file: str) -> bool:
    return bool(file) and os.path.exists(os.path.expanduser(file))  # noqa: PTH110, PTH111  # these never raise


def _unusable(
    what: str, where: str, remedy: str = "`kubectl config view` shows what is in it."
) -> ResourceUnavailable:
    return ResourceUnavailable(f"The kubeconfig {what}.", where=where, remedy=remedy)
