"""The operator's plan as another commit of this repository has it, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model_cluster import ModelCluster

from anneal_api.status import FineTuneJobStatus
from anneal_operator.plan.actions import Apply, Create, Delete, Plan, SetFinalizer
from anneal_operator.plan.observed import Observed

ROOT = Path(__file__).parent.parent

_PLANNER = """
import importlib, json, sys
from dataclasses import asdict, fields, replace
from datetime import datetime
from anneal_operator.plan.observed import Observed
from anneal_operator.settings import Settings
try:
    plan = importlib.import_module("anneal_operator.plan.plan").plan
except ModuleNotFoundError:  # as it was called earlier
    plan = importlib.import_module("anneal_operator.plan.decide").plan
try:
    liveness = importlib.import_module("anneal_operator.plan.liveness")
    timers = liveness.Timers()
except ModuleNotFoundError:
    liveness = None
known = {field.name for field in fields(Settings)}
for line in sys.stdin:
    seen = json.loads(line)
    settings = Settings(**{name: value for name, value in seen["settings"].items() if name in known})
    observed = Observed(
        job=seen["job"], children=tuple(seen["children"]), pods=tuple(seen["pods"]),
        warnings=tuple(seen["warnings"]), foreign=frozenset(seen["foreign"]), kuberay=seen["kuberay"],
        now=datetime.fromisoformat(seen["now"]), settings=settings,
    )
    if liveness is not None:
        observed = replace(observed, confirmed=frozenset(map(tuple, seen["confirmed"])))
        observed = replace(observed, lasting=timers.update(liveness.facts(observed), seen["monotonic"]))
    found = plan(observed)
    actions = [[type(action).__name__, asdict(action)] for action in found.actions]
    status = None if found.status is None else json.loads(found.status.model_dump_json(exclude_none=True))
    print(json.dumps([status, actions, list(getattr(found, "confirm", ())), found.requeue_after]), flush=True)
"""
_ACTIONS = {kind.__name__: kind for kind in (Create, Apply, Delete, SetFinalizer)}


class OtherRelease:
    """Plans as another commit does.

    Args:
        commit: Which.
        folder: Where its operator is unpacked.

    Attributes:
        knows_open_words: Whether it keeps what it does not know of a status.

    Raises:
        subprocess.CalledProcessError: The repository has no such commit.
    """

    def __init__(self, commit: str, folder: Path) -> None:
        tree = subprocess.run(
            ["git", "archive", commit, "operator"], cwd=ROOT, check=True, capture_output=True
        ).stdout
        subprocess.run(["tar", "--extract", "--directory", str(folder)], input=tree, check=True)
        self.knows_open_words = (folder / "operator" / "anneal_api" / "words.py").exists()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PLANNER],
            env={**os.environ, "PYTHONPATH": str(folder / "operator")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def plan(self, observed: Observed, monotonic: float) -> Plan:
        """Returns what the other release decides."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        seen: dict[str, Any] = {
            **{name: getattr(observed, name) for name in ("job", "children", "pods", "warnings", "kuberay")},
            "foreign": sorted(observed.foreign),
            "now": observed.now.isoformat(),
            "settings": asdict(observed.settings),
            "confirmed": sorted(observed.confirmed),
            "monotonic": monotonic,
        }
        self._process.stdin.write(json.dumps(seen) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the other release ended by an error: see above"
        status, actions, confirm, requeue_after = json.loads(answer)
        return Plan(
            status=None if status is None else FineTuneJobStatus.model_validate(status),
            actions=tuple(_ACTIONS[name](**parts) for name, parts in actions),
            requeue_after=requeue_after,
            confirm=tuple(map(tuple, confirm)),
        )


class SharedCluster(ModelCluster):
    """A cluster whose operator is now this release, now another one.

    Attributes:
        other: The release that plans; None: this one.
    """

    other: OtherRelease | None = None

    def decide(self, observed: Observed) -> Plan:
        """Returns what the release that runs decides."""
        return super().decide(observed) if self.other is None else self.other.plan(observed, self.monotonic)
