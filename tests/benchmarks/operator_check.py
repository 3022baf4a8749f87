"""Whether an operator did what its figures are about: every job has its children, once, and a status that is true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from anneal_operator.plan.actions import Apply, Create
from anneal_operator.plan.observed import Observed
from anneal_operator.plan.plan import plan
from anneal_operator.settings import Settings

Object = Mapping[str, Any]

_MOST_TOLD = 3
_TRUE_FROM_THE_BEGIN = {"Valid": "True", "Prepared": "False", "Progressing": "True", "Failed": "False"}


def never_seen(job: Object, settings: Settings) -> Observed:
    """Returns what an operator observes that knows nothing of a job but the job itself."""
    return Observed(
        job=job,
        children=(),
        pods=(),
        warnings=(),
        foreign=frozenset(),
        kuberay=True,
        now=datetime.now(UTC),
        settings=settings,
    )


def first_children(manifest: Object, namespace: str) -> frozenset[tuple[str, str]]:
    """Returns kind and name of every object that a job gets before its first pod.

    Args:
        manifest: The job, as it is applied.
        namespace: Where it is applied.
    """
    there = {"namespace": namespace, "uid": "0", "generation": 1, "resourceVersion": "1"}
    job = {**manifest, "metadata": {**manifest["metadata"], **there}}
    observed = never_seen(job, Settings(image="none"))
    bodies = [action.body for action in plan(observed).actions if isinstance(action, Create | Apply)]
    return frozenset((body["kind"], body["metadata"]["name"]) for body in bodies)


def wrong_with_children(
    jobs: Iterable[Object], children: Iterable[Object], expected: Mapping[str, frozenset[tuple[str, str]]]
) -> list[str]:
    """Returns what is wrong with the children of jobs: missing, too many, or not their job's.

    Args:
        jobs: The jobs.
        children: Everything that an operator has made.
        expected: Kind and name of the children that each job must have, by the job's name.
    """
    uids = {job["metadata"]["uid"]: job["metadata"]["name"] for job in jobs}
    problems = [f"{name} is not there" for name in expected.keys() - set(uids.values())]
    found: dict[str, Counter[tuple[str, str]]] = {name: Counter() for name in uids.values()}
    for child in children:
        place = (child["kind"], child["metadata"]["name"])
        owners = [o["uid"] for o in child["metadata"].get("ownerReferences") or () if o.get("controller")]
        job = uids.get(owners[0]) if owners else None
        if job is None:
            problems.append(f"{' '.join(place)} belongs to no job")
        else:
            found[job][place] += 1
    for name, places in found.items():
        wanted = Counter(expected.get(name, ()))
        problems += [f"{name} lacks {kind} {child}" for kind, child in wanted - places]
        problems += [f"{name} has {kind} {child} too" for kind, child in places - wanted]
    return problems


def wrong_with_status(job: Object) -> list[str]:
    """Returns what is not true in the status of a job whose first part was just begun."""
    name, status = job["metadata"]["name"], job.get("status") or {}
    run = status.get("run") or {}
    said = {
        "phase": status.get("phase"),
        "observedGeneration": status.get("observedGeneration"),
        "attempt": (run.get("generation"), run.get("attempt"), run.get("part")),
        **{each["type"]: each["status"] for each in status.get("conditions") or ()},
    }
    true = {
        "phase": "Preparing",
        "observedGeneration": job["metadata"]["generation"],
        "attempt": (job["metadata"]["generation"], 1, "prepare"),
        **_TRUE_FROM_THE_BEGIN,
    }
    return [f"{name}: {key} is {said.get(key)}" for key, value in true.items() if said.get(key) != value]


def verdict(problems: list[str], what: str) -> str:
    """Returns the words of a check for the table: `ok` and what was checked, or what is wrong."""
    if not problems:
        return f"ok: {what}"
    more = f" and {len(problems) - _MOST_TOLD} more" if len(problems) > _MOST_TOLD else ""
    return f"WRONG: {'; '.join(problems[:_MOST_TOLD])}{more}"
