"""One round on a cluster: the quickstart is applied to a fresh namespace, until its first optimiser step.

    PYTHONPATH=tests python -m tests.benchmarks.cluster_round --out figures.json

The cluster of the end-to-end tests has to be up, with the images loaded: `tests/cluster/up --product`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from cluster.kind_cluster import find_cluster
from cluster.progress import ClusterError
from kind_world import JOB, Namespace, install, quickstart

_WITHIN_SECONDS = 600.0
_POLL_SECONDS = 1.0
_REPORTS = 3


def measure(namespace: Namespace) -> dict[str, Any]:
    """Applies the quickstart, follows its reports, and returns what was found.

    Raises:
        ClusterError: It does not come to train.
    """
    for body in quickstart(namespace.cluster):
        if body["kind"] == "FineTuneJob":
            job = body
        else:
            namespace.apply(body)
    applied = time.time()
    namespace.apply(job)
    phases: dict[str, float] = {}
    seen: list[dict[str, Any]] = []
    while len(seen) < _REPORTS:
        status = namespace.status(JOB)
        phases.setdefault(status.get("phase", ""), time.time() - applied)
        if time.time() - applied > _WITHIN_SECONDS or status.get("phase") == "Failed":
            raise ClusterError(f"The job does not train.\n{namespace.describe(JOB)}")
        report = _report(namespace)
        step = (report.get("progress") or {}).get("step", 0)
        if step > 0 and (not seen or step > seen[-1]["progress"]["step"]):
            seen.append(report)
        time.sleep(_POLL_SECONDS)
    first, last = seen[0], seen[-1]
    began, ended = (_moment(report) for report in (first, last))
    pace = (ended - began) / (last["progress"]["step"] - first["progress"]["step"])
    # The first report tells of some steps already: they are taken back at the pace of the following ones.
    first_step = began - (first["progress"]["step"] - 1) * pace - applied
    figures = {"first step s": first_step, "ms a step": pace * 1000}
    figures |= {
        f"{phase} s": seconds for phase, seconds in phases.items() if phase in {"Preparing", "Training"}
    }
    return {"figures": figures, "steps": first["progress"]["totalSteps"]}


def _report(namespace: Namespace) -> dict[str, Any]:
    found = namespace.kubectl("get", "configmap", f"{JOB}-g1-a1", "--ignore-not-found", "--output=json")
    text = json.loads(found).get("data", {}).get("train.json", "") if found.strip() else ""
    report: dict[str, Any] = json.loads(text) if text else {}
    return report


def _moment(report: dict[str, Any]) -> float:
    return datetime.fromisoformat(report["heartbeat"]).timestamp()


def main() -> int:
    """Measures and writes what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    cluster = find_cluster()
    if cluster is None:
        sys.stderr.write("There is no cluster. Make one: tests/cluster/up --product\n")
        return 1
    install(cluster)
    namespace = Namespace(cluster, f"bench-{uuid.uuid4().hex[:6]}")
    cluster.kubectl("create", "namespace", namespace.name)
    try:
        found = measure(namespace)
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        cluster.kubectl("delete", "namespace", namespace.name, "--timeout=300s")
    asked.out.write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
