"""A cluster in memory for tests of the plan: it carries plans out, moves Jobs and Ray kinds, and can be harmed.

It holds every write against what must never be broken: one active part at a time, recorded before it exists; times of
conditions that move with their status only; generations that never fall.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from model_controllers import PARTS, START, ModelControllers

from anneal_api.identity import API_VERSION, KIND
from anneal_api.status import FineTuneJobStatus
from anneal_api.status_reading import read_status
from anneal_operator.plan.actions import Apply, Create, Delete, Plan, SetFinalizer
from anneal_operator.plan.liveness import Timers, facts
from anneal_operator.plan.observations import has_ended
from anneal_operator.plan.observed import Observed
from anneal_operator.plan.plan import plan
from anneal_operator.plan.timestamps import format_time
from anneal_operator.resources.names import (
    ATTEMPT_LABEL,
    FINALIZER,
    GENERATION_LABEL,
    PART_LABEL,
    attempt_name,
    probe_name,
)
from anneal_operator.settings import Settings

SPEC: dict[str, Any] = {
    "task": "text-classification",
    "model": {"source": "bert-base-uncased"},
    "store": {"uri": "pvc://models/anneal"},
    "data": {"train": {"uri": "pvc://datasets/reviews.csv"}, "split": {"validation": 0.1, "test": 0.1}},
    "training": {"epochs": 3, "batchSize": 32},
    "resources": {"workers": 2},
    "evaluation": {"metrics": ["f1"], "gates": [{"metric": "f1", "min": 0.8}]},
    "serving": {"replicas": {"min": 1, "max": 1}},
}


class CrashError(Exception):
    """The operator was killed between two writes."""


def at_work(
    phase: str, spec: Mapping[str, Any] | None = None, settings: Settings | None = None
) -> ModelCluster:
    """Returns a cluster where the part of a phase runs and has reported so."""
    cluster = ModelCluster(spec or SPEC, settings)
    cluster.go(until=phase)
    cluster.work()
    cluster.work()
    cluster.settle()
    return cluster


def _copied(value: Any) -> Any:
    # Several times faster than copy.deepcopy, and plans are many.
    return pickle.loads(pickle.dumps(value))


class ModelCluster(ModelControllers):
    """One job, its objects and the time.

    Attributes:
        keeps_times: Whether the operator is held to move the time of a condition with its status only.
        operator_ahead: Seconds by which the operator takes the time for later than it is.
        stale: Objects and pods that the operator's cache shows otherwise than they are; None: it shows none.

    Args:
        spec: Its spec.
        settings: The operator's settings.
        name: Its name.
    """

    def __init__(
        self, spec: Mapping[str, Any] = SPEC, settings: Settings | None = None, name: str = "reviews"
    ) -> None:
        self.settings = settings or Settings(image="anneal/runtime:1")
        super().__init__(name)
        self.kuberay = True
        self.job: dict[str, Any] | None = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": name,
                "namespace": "default",
                "uid": "uid1",
                "generation": 1,
                "creationTimestamp": format_time(START),
            },
            "spec": _copied(dict(spec)),
        }
        self.warnings: list[dict[str, Any]] = []
        self.foreign: set[str] = set()
        self.created: list[tuple[str, str]] = []
        self.writes = 0
        self.plans: list[Plan] = []
        self.keeps_times = True
        self.operator_ahead = 0.0
        self.stale: dict[tuple[str, str], dict[str, Any] | None] = {}
        self._timers = Timers()
        self._live: set[tuple[str, str]] = set()
        self._uids = 0
        self._crash_at: int | None = None

    # what the operator does

    def observed(self) -> Observed:
        """Returns what the operator sees."""
        assert self.job is not None
        kinds = {"RayJob", "RayService"}
        seen = self._seen(self.objects)
        pods = self._seen({("Pod", pod["metadata"]["name"]): pod for pod in self.pods}, pods=True)
        children = [c for (kind, _), c in sorted(seen.items()) if self.kuberay or kind not in kinds]
        found = Observed(
            job=_copied(self.job),
            children=tuple(_copied(children)),
            pods=tuple(_copied(list(pods.values()))),
            warnings=tuple(_copied(self.warnings)),
            foreign=frozenset(self.foreign),
            kuberay=self.kuberay,
            now=self.now + timedelta(seconds=self.operator_ahead),
            settings=self.settings,
            confirmed=frozenset(self._live),
        )
        return replace(found, lasting=self._timers.update(facts(found), self.monotonic))

    def _seen(
        self, there: dict[tuple[str, str], dict[str, Any]], *, pods: bool = False
    ) -> dict[tuple[str, str], dict[str, Any]]:
        shown = {place: body for place, body in self.stale.items() if (place[0] == "Pod") == pods}
        return {place: body for place, body in {**there, **shown}.items() if body is not None}

    def freeze(self, *kinds: str) -> None:
        """Lets the watches of some kinds fall silent: what the operator has cached of them stays as it is."""
        there = {**self.objects, **{("Pod", pod["metadata"]["name"]): pod for pod in self.pods}}
        self.stale |= {place: _copied(body) for place, body in there.items() if place[0] in kinds}

    def thaw(self) -> None:
        """Lets all watches be heard again."""
        self.stale.clear()

    def restart_operator(self) -> None:
        """Starts the operator anew: what it only remembered is lost."""
        self._timers = Timers()

    def look(self, crash_after: int | None = None) -> Plan | None:
        """Lets the operator look once and act; it is killed after so many writes.

        Returns the plan; None where the job is gone or the operator was killed.
        """
        if self.job is None:
            return None
        found = self.plan()
        self.plans.append(found)
        self._crash_at = None if crash_after is None else self.writes + crash_after
        try:
            self._carry_out(found)
        except CrashError:
            return None
        finally:
            self._crash_at = None
        return found

    def plan(self) -> Plan:
        """Returns what the operator decides, after it looked live at whatever that rests on."""
        self._live.clear()
        while (found := self.decide(self.observed())).confirm:
            new = set(found.confirm) - self._live
            assert new, f"asked again: {found.confirm}"
            assert found == Plan(None, confirm=found.confirm), "what is not confirmed decides nothing"
            self._live |= new
            for place in new:
                self.stale.pop(place, None)
        self._check_verdicts(found)
        return found

    def decide(self, observed: Observed) -> Plan:
        """Returns what the operator's plan is."""
        return plan(observed)

    def _check_verdicts(self, found: Plan) -> None:
        """Holds every verdict against the rule: on a final report, or on what was looked at live."""
        if found.status is None or self.job is None:
            return
        before, _ = read_status(self.status)
        known = {(failure.generation, failure.attempt) for failure in before.failures}
        for failure in found.status.failures:
            if (failure.generation, failure.attempt) in known:
                continue
            board = attempt_name(self.job["metadata"]["name"], failure.generation, failure.attempt)
            cached = self.stale.get(("ConfigMap", board)) or self.objects.get(("ConfigMap", board)) or {}
            text = (cached.get("data") or {}).get(f"{failure.part.value}.json", "{}")
            told = json.loads(text).get("state") if text.startswith("{") else None
            final = told in ("Failed", "Succeeded")  # it may be anything, a list too
            assert final or ("ConfigMap", board) in self._live, f"given up on an old view: {failure}"
        refused = {version.version for version in before.versions if version.refused}
        for version in found.status.versions:
            if version.refused is not None and version.version not in refused:
                probe = ("Job", probe_name(self.job["metadata"]["name"], version.version))
                done = probe in self.objects and has_ended(self.objects[probe])
                assert done or probe in self._live, f"refused on an old view: {version}"

    def settle(self, limit: int = 30) -> Plan:
        """Lets the operator look until it has nothing more to do at this moment."""
        for _ in range(limit):
            before = self.writes
            found = self.look()
            assert found is not None
            if self.writes == before:
                return found
        raise AssertionError(f"the operator does not come to rest: {self.plans[-1]}")

    def _carry_out(self, found: Plan) -> None:
        if found.status is not None:
            self._write_status(found.status)
        for action in found.actions:
            match action:
                case Create(body=body):
                    self._make(body)
                case Apply(body=body):
                    self._apply(body)
                case Delete(kind=kind, name=name, uid=uid):
                    self._delete(kind, name, uid)
                case SetFinalizer(present=present):
                    self._set_finalizer(present=present)

    def _count(self) -> None:
        if self._crash_at is not None and self.writes >= self._crash_at:
            raise CrashError
        self.writes += 1

    def _write_status(self, status: FineTuneJobStatus) -> None:
        assert self.job is not None
        document = json.loads(status.model_dump_json(exclude_none=True))
        before = self.job.get("status") or {}
        if document == before:
            return
        self._count()
        FineTuneJobStatus.model_validate(document)
        assert document["observedGeneration"] == self.job["metadata"]["generation"]
        assert document["observedGeneration"] >= before.get("observedGeneration", 0)
        known = {c["type"]: c for c in before.get("conditions", ())}
        for condition in document["conditions"]:
            was = known.get(condition["type"])
            moved = was is None or condition["lastTransitionTime"] != was["lastTransitionTime"]
            if moved:
                flipped = was is None or condition["status"] != was["status"]
                assert flipped or not self.keeps_times, f"the time moved without a flip: {was} {condition}"
        self.job["status"] = document

    def _make(self, body: Mapping[str, Any]) -> None:
        key = (body["kind"], body["metadata"]["name"])
        assert f"{key[0]}/{key[1]}" not in self.foreign, f"{key} is not ours"
        if key in self.objects:
            return
        if body["metadata"]["labels"].get(PART_LABEL) in PARTS:
            self._check_start(body)
        self._count()
        self._uids += 1
        new = _copied(dict(body))
        new["metadata"] |= {
            "uid": f"child{self._uids}",
            "generation": 1,
            "creationTimestamp": format_time(self.now),
        }
        assert new["metadata"]["ownerReferences"][0]["uid"] == "uid1"
        self.objects[key] = new
        self.created.append(key)

    def _check_start(self, body: Mapping[str, Any]) -> None:
        assert self.job is not None
        active = self.active_parts()
        assert not active, f"{body['metadata']['name']} starts while {active} work"
        assert "deletionTimestamp" not in self.job["metadata"]
        run, labels = self.job["status"]["run"], body["metadata"]["labels"]
        told = (str(run["generation"]), str(run["attempt"]), run["part"])
        assert told == (labels[GENERATION_LABEL], labels[ATTEMPT_LABEL], labels[PART_LABEL]), "not on record"

    def _apply(self, body: Mapping[str, Any]) -> None:
        key = (body["kind"], body["metadata"]["name"])
        live = self.objects.get(key)
        if live is None:
            self._make(body)
            return
        wanted = _copied(dict(body))
        metadata = {**live["metadata"], **wanted["metadata"]}
        content = {name: value for name, value in wanted.items() if name != "metadata"}
        changed = any(live.get(name) != value for name, value in content.items())
        if not changed and metadata == live["metadata"]:
            return
        self._count()
        metadata["generation"] += 1 if changed else 0
        live.update(content)
        live["metadata"] = metadata

    def _delete(self, kind: str, name: str, uid: str) -> None:
        live = self.objects.get((kind, name))
        if live is None or live["metadata"]["uid"] != uid or "deletionTimestamp" in live["metadata"]:
            return
        self._count()
        self.remove(kind, name)

    def _set_finalizer(self, *, present: bool) -> None:
        assert self.job is not None
        there = self.job["metadata"].get("finalizers", [])
        if (FINALIZER in there) == present:
            return
        self._count()
        self.job["metadata"]["finalizers"] = [FINALIZER] if present else []
        if not present and "deletionTimestamp" in self.job["metadata"]:
            self._collect_garbage()

    # what people and faults do

    def edit(self, **changes: Any) -> None:
        """Edits the spec; None takes a field away."""
        assert self.job is not None
        spec = self.job["spec"]
        new = {k: v for k, v in {**spec, **changes}.items() if v is not None}
        if new != spec:
            self.job["spec"] = new
            self.job["metadata"]["generation"] += 1

    def strip_status(self) -> None:
        """Takes the status away."""
        assert self.job is not None
        self.job.pop("status", None)

    def delete_job(self) -> None:
        """Deletes the job, as kubectl does."""
        assert self.job is not None
        self.job["metadata"].setdefault("deletionTimestamp", format_time(self.now))
        if not self.job["metadata"].get("finalizers"):
            self._collect_garbage()

    def _collect_garbage(self) -> None:
        self.job = None
        self.objects.clear()
        self.pods.clear()

    # what tests ask

    def go(self, rounds: int = 40, until: str = "") -> dict[str, Any]:
        """Lets operator and cluster work, until the job is in a phase or for some rounds; returns the status."""
        for _ in range(rounds):
            self.settle()
            if until and self.status["phase"] == until:
                break
            self.work()
            self.tick(5)
        self.settle()
        return self.status

    def go_until_made(self, kind: str, name: str, rounds: int = 40) -> dict[str, Any]:
        """Lets operator and cluster work until an object is there; returns it."""
        for _ in range(rounds):
            if (kind, name) in self.objects:
                break
            self.settle()
            self.work()
            self.settle()
            self.tick(5)
        return self.objects[kind, name]

    @property
    def status(self) -> dict[str, Any]:
        """The status of the job."""
        assert self.job is not None
        return self.job.get("status", {})

    def condition(self, kind: str) -> tuple[str, str]:
        """Returns status and reason of a condition of the job."""
        found = next(c for c in self.status["conditions"] if c["type"] == kind)
        assert found["observedGeneration"] == self.job["metadata"]["generation"]
        return found["status"], found["reason"]
