"""Where credentials come from: kubeconfigs, or in a pod its service account. As kubectl finds them.

A kubeconfig counts before the service account, several files in KUBECONFIG count as one, and of what several of them
say the first counts. What is in a kubeconfig and cannot be honoured is refused, never passed over.
"""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from anneal_api.errors import ResourceUnavailable
from anneal_operator.cluster.credentials import Credentials, Token, trusting
from anneal_operator.cluster.login_program import LoginProgram

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_DEFAULT = "~/.kube/config"
_SECTIONS = ("context", "cluster", "user")
_EXTENSION = "client.authentication.k8s.io/exec"
_NOT_HONOURED = {
    "auth-provider": "Use `exec` with a login program of the provider, for example kubelogin.",
    "username": "Kubernetes has no passwords since 1.19: use a token, a certificate or a login program.",
    "as": "Use credentials of that user itself.",
    "as-uid": "Use credentials of that user itself.",
    "as-groups": "Use credentials of that user itself.",
    "as-user-extra": "Use credentials of that user itself.",
}


def find_credentials(
    environment: Mapping[str, str] | None = None, *, kubeconfig: Path | None = None, context: str = ""
) -> Credentials:
    """Returns the credentials of this place: those of the kubeconfig, or in a pod those of its service account.

    Args:
        environment: Environment variables; None: the process's.
        kubeconfig: The kubeconfig; None: those that KUBECONFIG names, or the one in the home folder.
        context: The context in it; empty: the current one.

    Raises:
        ResourceUnavailable: There is neither, or the kubeconfig cannot be used.
    """
    environment = os.environ if environment is None else environment
    if kubeconfig is not None:
        return from_kubeconfig([kubeconfig], context)
    if named := environment.get("KUBECONFIG"):
        return from_kubeconfig([Path(p).expanduser() for p in named.split(os.pathsep) if p], context)
    default = _in_home()
    if default is not None and (_is_there(default) or context):
        return from_kubeconfig([default], context)
    if (_ACCOUNT / "token").exists() and environment.get("KUBERNETES_SERVICE_HOST"):
        return from_service_account(_ACCOUNT, environment)
    raise ResourceUnavailable(
        "There is no way to a cluster: no kubeconfig and no service account.",
        where=_DEFAULT,
        remedy="Name a kubeconfig with KUBECONFIG, or run in a pod with a service account.",
    )


def _in_home() -> Path | None:
    try:
        return Path(_DEFAULT).expanduser()
    except RuntimeError:  # a pod's user need not have a home
        return None


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # it is in a folder of somebody else
        return False


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
        tls=trusting((folder / "ca.crt").read_text(encoding="ascii")),
        token=Token(file=folder / "token"),
        source="the pod's service account",
    )


def from_kubeconfig(files: Sequence[Path], context: str = "") -> Credentials:
    """Returns the credentials of a context.

    Args:
        files: Kubeconfigs; of what several define, the first counts. Where there are several, some may be missing.
        context: Name of the context; empty: the current one.

    Raises:
        ResourceUnavailable: No file is there, there is no such context, or it asks for what is not supported here.
    """
    config = _read(files)
    name = context or config.current
    where = str(config.files[0])
    if not name:
        raise ResourceUnavailable(
            "The kubeconfig chooses no context.",
            where=where,
            remedy="Run `kubectl config use-context NAME`, or name one with --context.",
        )
    chosen, _ = config.entry("context", name)
    cluster, cluster_folder = config.entry("cluster", str(chosen.get("cluster") or ""))
    user, user_folder = config.entry("user", str(chosen["user"])) if chosen.get("user") else ({}, Path())
    for field_, remedy in _NOT_HONOURED.items():
        if user.get(field_):
            what = f"The user of the context {name} has `{field_}`, which is not supported here."
            raise ResourceUnavailable(what, where=where, remedy=remedy)
    if not cluster.get("server"):
        raise ResourceUnavailable(
            f"The cluster of the context {name} has no `server`.", where=where, remedy="Mend the kubeconfig."
        )
    try:
        tls = _tls(cluster, cluster_folder, user, user_folder)
    except (OSError, ValueError) as error:  # ssl's errors are OSErrors
        raise ResourceUnavailable(
            f"A certificate or key of the context {name} cannot be read: {error}.",
            where=where,
            remedy="Mend the kubeconfig, or log in anew.",
        ) from error
    return Credentials(
        server=str(cluster["server"]).rstrip("/"),
        namespace=str(chosen.get("namespace") or ""),
        tls=tls,
        token=_token(cluster, cluster_folder, user, user_folder, tls),
        proxy=cluster.get("proxy-url") or None,
        source=f"context {name}",
    )


@dataclass(slots=True)
class _Kubeconfig:
    """What several kubeconfigs say together.

    Attributes:
        files: Those that are there.
        current: Name of the current context.
        entries: Each entry by section and name, with the folder that its paths begin in.
    """

    files: list[Path]
    current: str = ""
    entries: dict[tuple[str, str], tuple[Mapping[str, Any], Path]] = field(default_factory=dict)

    def entry(self, section: str, name: str) -> tuple[Mapping[str, Any], Path]:
        """Returns an entry and the folder that its paths begin in."""
        if (section, name) in self.entries:
            return self.entries[section, name]
        known = sorted(known for of, known in self.entries if of == section)
        raise ResourceUnavailable(
            f"The kubeconfig has no {section} {name!r}.",
            where=str(self.files[0]),
            remedy=f"It has: {', '.join(known)}." if known else "It has none at all.",
        )


def _read(files: Sequence[Path]) -> _Kubeconfig:
    config = _Kubeconfig([file for file in files if _is_there(file)])
    if not config.files:
        raise ResourceUnavailable(
            "The kubeconfig does not exist.",
            where=os.pathsep.join(map(str, files)),
            remedy="Mend KUBECONFIG, or name another file.",
        )
    for file in config.files:
        try:
            document = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8")) or {}
            config.current = config.current or str(document.get("current-context") or "")
            for section in _SECTIONS:
                for entry in document.get(f"{section}s") or ():
                    content = entry.get(section) or {}
                    if not isinstance(content, Mapping):
                        raise TypeError(f"{section} {entry['name']}")
                    config.entries.setdefault((section, str(entry["name"])), (content, file.parent))
        except OSError as error:
            raise ResourceUnavailable(
                f"The kubeconfig cannot be read: {error.strerror}.",
                where=str(file),
                remedy="Check its permissions.",
            ) from error
        except (YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ResourceUnavailable(
                "The file is no kubeconfig.",
                where=str(file),
                remedy="`kubectl config view` shows a whole one.",
            ) from error
    return config


def _token(
    cluster: Mapping[str, Any],
    cluster_folder: Path,
    user: Mapping[str, Any],
    user_folder: Path,
    tls: ssl.SSLContext | None,
) -> Token:
    # As kubectl does it: what is written down counts before a program that gives out something.
    file = user.get("tokenFile")
    if file or user.get("token"):
        return Token(text=str(user.get("token") or ""), file=user_folder / str(file) if file else None)
    if not user.get("exec"):
        return Token()
    shown = {name: cluster[name] for name in ("server", "tls-server-name", "proxy-url") if cluster.get(name)}
    if cluster.get("insecure-skip-tls-verify"):
        shown["insecure-skip-tls-verify"] = True
    if authority := _pem(cluster, "certificate-authority", cluster_folder):
        shown["certificate-authority-data"] = base64.b64encode(authority.encode()).decode()
    extensions = {each.get("name"): each.get("extension") for each in cluster.get("extensions") or ()}
    if extensions.get(_EXTENSION) is not None:
        shown["config"] = extensions[_EXTENSION]
    certified = partial(_certify, tls) if tls is not None else _unused
    return Token(issuer=LoginProgram(user["exec"], user_folder, shown, certified))


def _tls(
    cluster: Mapping[str, Any], cluster_folder: Path, user: Mapping[str, Any], user_folder: Path
) -> ssl.SSLContext | None:
    if not str(cluster["server"]).startswith("https"):
        return None
    context = trusting(
        _pem(cluster, "certificate-authority", cluster_folder),
        server_name=str(cluster.get("tls-server-name") or ""),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
    )
    certificate, key = _pem(user, "client-certificate", user_folder), _pem(user, "client-key", user_folder)
    if certificate and key:
        _certify(context, certificate, key)
    return context


def _certify(context: ssl.SSLContext, certificate: str, key: str) -> None:
    # Python's ssl reads a client certificate from files only.
    with tempfile.TemporaryDirectory() as folder:
        both = Path(folder) / "client.pem"
        both.touch(mode=0o600)
        both.write_text(f"{certificate}\n{key}\n", encoding="ascii")
        context.load_cert_chain(both)


def _unused(certificate: str, key: str) -> None:
    """Takes note of a certificate that plain HTTP has no use for."""


def _pem(entry: Mapping[str, Any], name: str, folder: Path) -> str | None:
    if data := entry.get(f"{name}-data"):
        return base64.b64decode(str(data)).decode("ascii")
    if file := entry.get(name):
        return (folder / str(file)).read_text(encoding="ascii")
    return None
