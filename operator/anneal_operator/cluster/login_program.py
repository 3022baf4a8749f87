"""Programs that a kubeconfig names to log in with (`user.exec`): those of cloud providers and identity providers.

The protocol is client.authentication.k8s.io: the program learns what is asked for from a variable, and prints an
ExecCredential with a token, a client certificate, or both.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anneal_api.errors import ResourceUnavailable
from anneal_operator.cluster.credentials import Issued

_INFO = "KUBERNETES_EXEC_INFO"
_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


@dataclass(frozen=True, slots=True)
class LoginProgram:
    """A program that gives out tokens or certificates.

    Attributes:
        settings: `exec` of the kubeconfig's user.
        folder: Folder of the kubeconfig: a command with a relative path is below it.
        cluster: What the program may know of the cluster, where it asks for that.
        certified: Gets certificate and key, in PEM, where the program gives those.
    """

    settings: Mapping[str, Any]
    folder: Path
    cluster: Mapping[str, Any]
    certified: Callable[[str, str], None]

    def __call__(self) -> Issued:
        """Runs the program, which may ask a person for something, and returns its token.

        Raises:
            ResourceUnavailable: It is not there, fails, or prints something else.
        """
        version = str(self.settings.get("apiVersion") or "")
        if version not in _VERSIONS:
            raise self._unusable(
                f"speaks {version or 'no version of the protocol'}", f"It has to speak {_VERSIONS[0]}."
            )
        text = self._run(version)
        try:
            answer = json.loads(text)
            status = answer["status"]
            expires = status.get("expirationTimestamp")
            expiry = None if expires is None else datetime.fromisoformat(expires)
            certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
            token = str(status.get("token") or "")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._unusable(
                "printed no ExecCredential", "Run it by hand to see what it says."
            ) from error
        if expiry is not None and expiry.tzinfo is None:
            expiry = expiry.replace(tzinfo=UTC)
        if answer.get("apiVersion") != version:
            raise self._unusable(
                f"answered in {answer.get('apiVersion')}, and {version} was asked for",
                "Correct apiVersion in the kubeconfig, or update the program.",
            )
        if certificate and key:
            self._present(str(certificate), str(key))
        elif not token:
            raise self._unusable("gave neither a token nor a certificate", "Log in with it anew.")
        return Issued(token, expiry)

    @property
    def _command(self) -> str:
        command = str(self.settings.get("command") or "")
        return str(self.folder / command) if os.path.dirname(command) else command  # noqa: PTH120  # of a text

    def _run(self, version: str) -> str:
        mode = str(self.settings.get("interactiveMode") or "IfAvailable")
        interactive = mode != "Never" and sys.stdin is not None and sys.stdin.isatty()
        if mode == "Always" and not interactive:
            raise self._unusable(
                "has to ask a person, and there is no terminal",
                "Log in on a terminal, or use a kubeconfig with a token.",
            )
        spec: dict[str, Any] = {"interactive": interactive}
        if self.settings.get("provideClusterInfo"):
            spec["cluster"] = dict(self.cluster)
        info = json.dumps({"apiVersion": version, "kind": "ExecCredential", "spec": spec})
        more = {str(each["name"]): str(each["value"]) for each in self.settings.get("env") or ()}
        program = shutil.which(self._command)
        if program is None:
            hint = str(self.settings.get("installHint") or "").strip()
            raise self._unusable("is not installed", hint or "Install it, or use another context.")
        try:
            done = subprocess.run(  # noqa: S603  # the kubeconfig names it, which is its owner's word
                [program, *map(str, self.settings.get("args") or ())],
                env={**os.environ, **more, _INFO: info},
                stdin=None if interactive else subprocess.DEVNULL,
                stdout=subprocess.PIPE,  # standard error is the person's, to whom it may have something to say
                check=False,
            )
        except OSError as error:
            raise self._unusable(f"cannot be run: {error.strerror}", "Install it anew.") from error
        if done.returncode != 0:
            raise self._unusable(f"ended with exit code {done.returncode}", "Log in with it anew.")
        return done.stdout.decode(errors="replace")

    def _present(self, certificate: str, key: str) -> None:
        try:
            self.certified(certificate, key)
        except (OSError, ValueError) as error:  # ssl's errors are OSErrors
            raise self._unusable(
                f"gave a certificate that cannot be used: {error}", "Log in with it anew."
            ) from error

    def _unusable(self, what: str, remedy: str) -> ResourceUnavailable:
        command = self.settings.get("command")
        return ResourceUnavailable(
            f"The program that the kubeconfig names to log in with {what}.",
            where=str(command or "user.exec.command"),
            remedy=remedy,
        )
