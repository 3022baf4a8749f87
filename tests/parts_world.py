"""A job as its pods see it, without a cluster: claims are folders, Ray is real, each part is a process of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from chain_world import environment, write_rows
from config_map_server import NAME, ConfigMapServer

from anneal_api.attempt import PartReport

_RUN = """
import sys
from anneal_trainer.cluster.__main__ import main
code = main(sys.argv[1:])
loaded = [name for name in ("torch", "ray") if sys.modules.get(name)]
print("LOADED", *loaded, flush=True)
sys.exit(code)
"""

_RAY = {
    # Else Ray takes the machine's own address for 127.0.0.1, in the head and in whoever looks for it.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # As KubeRay does: a token of this cluster's own, whatever the machine's home folder holds.
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}


@dataclass
class ClusterJob:
    """A FineTuneJob whose parts run as the operator would run them.

    Attributes:
        root: Folder that the claims are mounted in.
        server: Stands for the API server.
        ray_address: Where Ray listens.
        uid: UID of the job.
        spec: Its spec.
        generation: Generation of the spec.
        extra: More environment variables.
    """

    root: Path
    server: ConfigMapServer
    ray_address: str
    uid: str
    spec: dict[str, Any]
    generation: int = 1
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        """The job's work folder."""
        return self.root / "models" / "anneal" / ".work" / "default" / f"words-{self.uid[:8]}"

    @property
    def store(self) -> Path:
        """The job's folder in the store."""
        return self.root / "models" / "anneal" / "default" / f"words-{self.uid[:8]}"

    def edit(self, **parts: Any) -> None:
        """Changes the spec, which makes a new generation."""
        for name, part in parts.items():
            self.spec[name] = {**self.spec.get(name, {}), **part}
        self.generation += 1

    def start(self, part: str, *, attempt: int = 1) -> subprocess.Popen[str]:
        """Starts a part."""
        job_file = self.root / f"{self.uid}-g{self.generation}.json"
        metadata = {"name": "words", "namespace": "default", "uid": self.uid, "generation": self.generation}
        job_file.write_text(
            json.dumps(
                {
                    "apiVersion": "anneal.dev/v1alpha1",
                    "kind": "FineTuneJob",
                    "metadata": metadata,
                    "spec": self.spec,
                }
            )
        )
        told = {
            "ANNEAL_PVC_ROOT": str(self.root),
            "ANNEAL_JOB_FILE": str(job_file),
            "ANNEAL_JOB_NAME": "words",
            "ANNEAL_JOB_UID": self.uid,
            "ANNEAL_NAMESPACE": "default",
            "ANNEAL_GENERATION": str(self.generation),
            "ANNEAL_ATTEMPT": str(attempt),
            "ANNEAL_REPORT_CONFIGMAP": NAME,
            "ANNEAL_STORE": "pvc://models/anneal",
            "ANNEAL_WORK": str(self.root / "models" / "anneal" / ".work"),
            "RAY_ADDRESS": self.ray_address,
            **_RAY,
            **self.server.environment(),
            **self.extra,
        }
        return subprocess.Popen(
            [sys.executable, "-c", _RUN, part],
            env={**environment(), **told},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, part: str, *, attempt: int = 1) -> tuple[int, str]:
        """Runs a part to its end; returns exit code and log."""
        process = self.start(part, attempt=attempt)
        try:
            output = process.communicate(timeout=900)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            pytest.fail(f"{part} did not end: {process.communicate()[0]}")
        return process.returncode, output

    def report(self, part: str) -> PartReport:
        """Returns what the part reported last."""
        return PartReport.model_validate_json(self.server.data[f"{part}.json"])


def loaded(output: str) -> set[str]:
    """Returns which heavy libraries a part had loaded when it ended."""
    (line,) = (line for line in output.splitlines() if line.startswith("LOADED"))
    return set(line.split()[1:])


def write_claims(root: Path, encoder: Path) -> None:
    """Fills the claims `datasets` and `models`."""
    (root / "datasets").mkdir(parents=True)
    for name, count, seed in (("train", 320, 1), ("validation", 64, 2), ("test", 96, 3)):
        write_rows(root / "datasets" / f"{name}.csv", count, seed=seed)
    shutil.copytree(encoder, root / "models" / "tiny")


@contextmanager
def running_ray() -> Iterator[str]:
    """Runs a Ray head with two CPUs on this machine, as KubeRay would, and gives its address."""
    folder = tempfile.mkdtemp(prefix="ray-")  # a short path, for the names of sockets are limited
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *("--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2", "--include-dashboard=false"),
        f"--temp-dir={folder}",
    ]
    log = Path(folder) / "start.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            env={**environment(), **_RAY},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for_ray(process, log)
        yield f"127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for_ray(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while "Ray runtime started" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
