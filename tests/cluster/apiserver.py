"""A bare API server in seconds: etcd and kube-apiserver without nodes, as envtest does it.

Nothing stands in for the API: the CRD's schema and CEL, server-side apply, conflicts, watches, RBAC and audit are
Kubernetes' own. No pod ever runs, and without `controllers` nothing else moves either: no garbage collection, no
end of a namespace that is being deleted.

    python -m tests.cluster.apiserver      # one to try things on, until Ctrl-C
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .binaries import binary
from .progress import ClusterError, Say, say, tail

_READY_SECONDS = 60.0
_STOP_SECONDS = 15.0
# Below the range that the system hands out by itself, so that no outgoing connection takes a port in between.
_PORTS = range(20_000, 30_000)

# What the audit log keeps: who changed what, without the bodies.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
        {"level": "None"},
    ],
}


@dataclass
class ApiServer:
    """A running API server on 127.0.0.1.

    Attributes:
        folder: Holds its data, certificates and logs.
        url: Where it answers.
        token: Bearer token of its administrator.
        ca: Certificate that it is trusted by.
        kubeconfig: File that points clients at it, as its administrator.
        audit_log: One JSON object a line for every write, where `audit` was asked for.
    """

    folder: Path
    url: str
    token: str
    ca: Path
    kubeconfig: Path
    audit_log: Path
    _commands: Mapping[str, Sequence[str]]
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _trust: ssl.SSLContext | None = None

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Runs kubectl against the server and returns what it prints.

        Args:
            arguments: Of kubectl.
            stdin: What it reads where a file is `-`.
            check: Whether a failure raises; else its error text is returned after what it printed.

        Raises:
            ClusterError: It failed, and `check` is set.
        """
        done = subprocess.run(
            [binary("kubectl"), "--cache-dir", self.folder / "kubectl", *arguments],
            env=os.environ | {"KUBECONFIG": str(self.kubeconfig)},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            raise ClusterError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout if check else done.stdout + done.stderr

    def request(
        self, method: str, path: str, body: Any = None, *, media_type: str = "application/json"
    ) -> tuple[int, Any]:
        """Sends one request and returns the status and the answer, read as JSON where it is JSON.

        Args:
            method: GET, POST, PUT, PATCH or DELETE.
            path: With its query, from the first slash.
            body: Sent as JSON.
            media_type: Of the body; for PATCH `application/apply-patch+yaml`, `application/merge-patch+json`...

        Raises:
            OSError: The server does not answer.
        """
        if self._trust is None:
            self._trust = ssl.create_default_context(cafile=str(self.ca))
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": media_type},
        )
        try:
            with urllib.request.urlopen(request, context=self._trust, timeout=30) as answer:
                return answer.status, _decoded(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _decoded(error.read())

    def audited_writes(self) -> list[dict[str, Any]]:
        """Returns the audit log's events so far, oldest first."""
        whole_lines, _, _ = self.audit_log.read_text().rpartition("\n")
        return [json.loads(line) for line in whole_lines.splitlines()]

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Stops the API server, not its data; starts it again on the same port, and waits until it is ready."""
        self._stop("kube-apiserver")
        yield
        self._start("kube-apiserver")
        self._wait_until_ready()

    def _start(self, name: str) -> None:
        # A server must not outlive the process that started it, even one that was killed.
        tied = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [*tied, str(binary(name)), *self._commands[name]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the tests alone, which stop it in order
            )

    def _stop(self, name: str) -> None:
        process = self._running.pop(name)
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise ClusterError(
                        f"{name} ended with {process.returncode}:\n{tail(self.folder / f'{name}.log')}"
                    )
            try:
                # The default namespace is made last of what clients rely on.
                if all(
                    self.request("GET", path)[0] == 200 for path in ("/readyz", "/api/v1/namespaces/default")
                ):
                    return
            except OSError:  # it does not listen yet, or has not written its certificate
                pass
            if time.monotonic() > deadline:
                log = self.folder / "kube-apiserver.log"
                raise ClusterError(f"kube-apiserver was not ready after {_READY_SECONDS:.0f} s:\n{tail(log)}")
            time.sleep(0.1)


@contextmanager
def api_server(
    folder: Path,
    *,
    controllers: Sequence[str] = (),
    audit: bool = False,
    flags: Sequence[str] = (),
    say: Say = say,
) -> Iterator[ApiServer]:
    """Starts an API server with an empty etcd, and stops both at the end.

    Start it from the main thread: on Linux it ends with the thread that started it.

    Args:
        folder: An empty folder for its data, certificates and logs.
        controllers: Kubernetes' own controllers to run beside it, for instance `garbage-collector-controller`.
        audit: Keep a log of all writes.
        flags: Further flags of kube-apiserver.
        say: Gets a line when a program has to be built first.

    Raises:
        ClusterError: A program cannot be built, or does not start.
    """
    for name in ("etcd", "kube-apiserver"):
        binary(name, say=say)
    port, etcd_port, peer_port = _free_ports(3)
    token = secrets.token_hex(16)
    server = ApiServer(
        folder=folder,
        url=f"https://127.0.0.1:{port}",
        token=token,
        ca=folder / "certificates" / "apiserver.crt",
        kubeconfig=folder / "kubeconfig",
        audit_log=folder / "audit.log",
        _commands={
            "etcd": _etcd_flags(folder, etcd_port, peer_port),
            "kube-apiserver": [*_api_flags(folder, port, etcd_port, audit=audit), *flags],
            "kube-controller-manager": _controller_flags(folder, controllers),
        },
    )
    _write_files(server)
    started = ["etcd", "kube-apiserver", *(["kube-controller-manager"] if controllers else [])]
    try:
        for name in started:
            if name == "kube-controller-manager":  # it gives up where no API answers
                server._wait_until_ready()
            server._start(name)
        server._wait_until_ready()
        yield server
    finally:
        for name in reversed(list(server._running)):
            server._stop(name)


def _write_files(server: ApiServer) -> None:
    folder = server.folder
    (folder / "certificates").mkdir(parents=True)
    (folder / "tokens.csv").write_text(f'{server.token},admin,admin,"system:masters"\n')
    (folder / "audit-policy.json").write_text(json.dumps(_AUDIT_POLICY))
    # kubeadm makes the key pair that service account tokens are signed with: no other program has to be there.
    subprocess.run(
        [binary("kubeadm"), "init", "phase", "certs", "sa", "--cert-dir", folder / "certificates"],
        capture_output=True,
        check=True,
    )
    named = {
        "cluster": {"server": server.url, "certificate-authority": str(server.ca)},
        "user": {"token": server.token},
        "context": {"cluster": "anneal", "user": "anneal", "namespace": "default"},
    }
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "anneal",
        **{f"{kind}s": [{"name": "anneal", kind: content}] for kind, content in named.items()},
    }
    server.kubeconfig.write_text(json.dumps(kubeconfig, indent=1))
    server.kubeconfig.chmod(0o600)


def _etcd_flags(folder: Path, port: int, peer_port: int) -> list[str]:
    peer = f"http://127.0.0.1:{peer_port}"
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{port}",
        f"--advertise-client-urls=http://127.0.0.1:{port}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",  # its data ends with the test
    ]


def _api_flags(folder: Path, port: int, etcd_port: int, *, audit: bool) -> list[str]:
    certificates = folder / "certificates"
    audited = [
        f"--audit-policy-file={folder / 'audit-policy.json'}",
        f"--audit-log-path={folder / 'audit.log'}",
    ]
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",  # a loopback address is no valid endpoint
        f"--secure-port={port}",
        f"--cert-dir={certificates}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={certificates / 'sa.pub'}",
        f"--service-account-signing-key-file={certificates / 'sa.key'}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--allow-privileged=true",
        "--disable-admission-plugins=ServiceAccount",  # pods may be made in namespaces without accounts
        *(audited if audit else []),
    ]


def _controller_flags(folder: Path, controllers: Sequence[str]) -> list[str]:
    return [
        f"--kubeconfig={folder / 'kubeconfig'}",
        f"--controllers={','.join(controllers)}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        "--secure-port=0",
    ]


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
        if len(found) == count:
            return found
    raise ClusterError(f"There are no {count} free ports between {_PORTS.start} and {_PORTS.stop}.")


def _decoded(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except ValueError:
        return answer.decode(errors="replace")


def main() -> int:
    """Runs a server until it is interrupted, and prints how to reach it."""
    parser = argparse.ArgumentParser(description="Runs a bare API server until Ctrl-C.")
    parser.add_argument("--controllers", nargs="*", default=[], help="controllers to run beside it")
    parser.add_argument("--audit", action="store_true", help="keep a log of all writes")
    arguments = parser.parse_args()
    ended = threading.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: ended.set())
    try:
        with (
            tempfile.TemporaryDirectory(prefix="anneal-apiserver-") as folder,
            api_server(Path(folder), controllers=arguments.controllers, audit=arguments.audit) as server,
        ):
            print(f"export KUBECONFIG={server.kubeconfig}", flush=True)
            say(f"{server.url} answers. Logs are in {folder}. Ctrl-C ends it.")
            ended.wait()
    except ClusterError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
