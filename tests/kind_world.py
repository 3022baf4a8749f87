"""anneal on a real cluster, as a person sees it through kubectl and HTTP."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import helm_chart
import httpx
from cluster.binaries import built
from cluster.kind_cluster import KindCluster
from helm_chart import CHART, NAMESPACE, ROOT, find_helm
from ports import free_port

SYSTEM = NAMESPACE
"""Namespace of the operator."""

QUICKSTART = ROOT / "manifests" / "quickstart"
JOB = "reviews"
"""The quickstart's FineTuneJob."""

_POLL_SECONDS = 1.0
_TAIL = 40
_FEWER_ROWS = {"train": 1280, "validation": 96, "test": 96}
_MORE_EPOCHS = 8


@dataclass(frozen=True)
class Namespace:
    """A namespace of the cluster.

    Attributes:
        cluster: The cluster.
        name: The namespace.
    """

    cluster: KindCluster
    name: str

    def apply(self, body: dict[str, Any]) -> None:
        """Applies an object."""
        self.kubectl("apply", "--server-side", "--filename=-", stdin=json.dumps(body))

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Runs kubectl in the namespace and returns what it prints."""
        return self.cluster.kubectl("--namespace", self.name, *arguments, stdin=stdin, check=check)

    def get(self, *what: str) -> dict[str, Any]:
        """Returns an object, or a list of them."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *what, "--output=json"))
        return found

    def job(self, name: str) -> dict[str, Any]:
        """Returns a FineTuneJob."""
        return self.get("finetunejob", name)

    def status(self, name: str) -> dict[str, Any]:
        """Returns the status of a FineTuneJob; empty before there is one."""
        status: dict[str, Any] = self.job(name).get("status", {})
        return status

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        """Returns the pods with labels, of those of `anneal.dev/`."""
        selector = ",".join(f"anneal.dev/{key}={value}" for key, value in labels.items())
        pods: list[dict[str, Any]] = self.get("pods", f"--selector={selector}")["items"]
        return pods

    def contents(self) -> set[str]:
        """Returns kind and name of everything in the namespace that does not end by itself."""
        kinds = self.cluster.kubectl("api-resources", "--verbs=list", "--namespaced", "--output=name").split()
        kept = [kind for kind in kinds if not kind.startswith(("events", "pods.metrics", "leases"))]
        return set(self.kubectl("get", ",".join(kept), "--output=name", "--ignore-not-found").split())

    def until(self, what: str, holds: Callable[[], object], seconds: float, *, about: str = "") -> None:
        """Waits until something is so, and tells what the cluster looks like where it does not come about.

        Args:
            what: What is waited for, in words.
            holds: Whether it is so.
            seconds: How long.
            about: Name of the FineTuneJob that it is about.
        """
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}\n{self.describe(about)}"
            if about:
                status = self.status(about)
                assert status.get("phase") != "Failed", f"failed before: {what}\n{self.describe(about)}"
            time.sleep(_POLL_SECONDS)

    def describe(self, job: str = "") -> str:
        """Returns what a person would look at when something does not work."""
        parts = [self.kubectl("get", "pods,jobs,rayjobs,rayservices,svc,pvc", "--output=wide", check=False)]
        if job:
            parts.append(self.kubectl("get", "finetunejob", job, "--output=yaml", check=False))
        parts.append(self.kubectl("get", "events", "--sort-by=.lastTimestamp", check=False))
        parts.append(
            self.cluster.kubectl(
                "--namespace", SYSTEM, "logs", "deploy/anneal", f"--tail={_TAIL}", check=False
            )
        )
        return "\n\n".join("\n".join(part.splitlines()[-4 * _TAIL :]) for part in parts)

    @contextmanager
    def forwarded(self, service: str, port: int = 80) -> Iterator[str]:
        """Opens a way to a Service from here; gives its URL."""
        local = free_port()
        command = [str(built("kubectl") or "kubectl"), "--namespace", self.name, "port-forward"]
        process = subprocess.Popen(
            [*command, f"service/{service}", f"{local}:{port}"],
            env=os.environ | self.cluster.exports(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + 30
            while not _listens(local):
                assert time.monotonic() < deadline
                assert process.poll() is None, f"port-forward to {service} ended"
                time.sleep(0.1)
            yield f"http://127.0.0.1:{local}"
        finally:
            process.terminate()
            process.wait(timeout=30)


def install(cluster: KindCluster, *arguments: str) -> None:
    """Installs the chart as it is now, or upgrades to it, and waits for the operator.

    Args:
        cluster: The cluster.
        arguments: More arguments of helm.
    """
    helm(
        cluster,
        *("upgrade", "anneal", str(CHART), "--install", "--create-namespace", "--wait", "--timeout=3m"),
        *("--values", str(CHART / "values-small.yaml"), *arguments),
    )


def helm(cluster: KindCluster, *arguments: str) -> str:
    """Runs helm against the cluster, in the operator's namespace, and returns what it prints."""
    program = find_helm(build=True)
    assert program is not None
    return helm_chart.helm(program, *arguments, "--namespace", SYSTEM, environment=cluster.exports())


def quickstart(cluster: KindCluster) -> list[dict[str, Any]]:
    """Returns the objects that `kubectl apply -k manifests/quickstart` applies."""
    return helm_chart.objects(cluster.kubectl("kustomize", str(QUICKSTART)))


def long_job(cluster: KindCluster) -> list[dict[str, Any]]:
    """Returns the quickstart with fewer rows, more epochs, and no bar that a model of few rows would fail.

    An epoch has 40 steps; after each, there is a checkpoint.
    """
    found = quickstart(cluster)
    for body in found:
        if body["kind"] == "ConfigMap":
            body["data"] = {f"{split}.csv": _first_rows(split, count) for split, count in _FEWER_ROWS.items()}
        if body["kind"] == "FineTuneJob":
            body["spec"]["training"]["epochs"] = _MORE_EPOCHS
            body["spec"]["evaluation"]["gates"] = [{"metric": "accuracy", "min": 0.4}]
            body["spec"]["compression"]["maxDrop"] = 0.5
    return found


def _first_rows(split: str, count: int) -> str:
    out = io.StringIO()
    with (QUICKSTART / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        csv.writer(out, lineterminator="\n").writerows(islice(csv.reader(file), count + 1))
    return out.getvalue()


def is_ready(namespace: Namespace) -> bool:
    """Returns whether the quickstart's job is ready, in its newest generation."""
    job = namespace.job(JOB)
    conditions = {entry["type"]: entry for entry in job.get("status", {}).get("conditions", [])}
    ready = conditions.get("Ready", {})
    return ready.get("status") == "True" and ready.get("observedGeneration") == job["metadata"]["generation"]


def quickstart_rows() -> tuple[list[str], list[str]]:
    """Returns texts and labels of the quickstart's test rows."""
    with (QUICKSTART / "test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def ask(url: str, texts: list[str]) -> tuple[list[str], str]:
    """Returns the labels that a served model answers, and the version that did."""
    labels: list[str] = []
    version = ""
    for start in range(0, len(texts), 25):
        answer = httpx.post(f"{url}/predict", json={"inputs": texts[start : start + 25]}, timeout=60)
        assert answer.status_code == 200, answer.text
        labels += [row["label"] for row in answer.json()["predictions"]]
        version = answer.headers["x-model-version"]
    return labels, version


def accuracy_of_endpoint(namespace: Namespace) -> tuple[float, str]:
    """Asks the quickstart's endpoint for all test rows; returns the share that is right, and the version."""
    texts, right = quickstart_rows()
    with namespace.forwarded(JOB) as url:
        labels, version = ask(url, texts)
    return sum(label == expected for label, expected in zip(labels, right, strict=True)) / len(right), version


def _listens(port: int) -> bool:
    with socket.socket() as there:
        return there.connect_ex(("127.0.0.1", port)) == 0
