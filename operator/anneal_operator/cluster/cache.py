"""What the operator last heard of every object that concerns it.

Three sources feed it: the watches, the answers to our own writes and the cache audit. They arrive in any order, so an
object counts only if its resource version is newer than what is known; a deleted one is remembered for a while, lest
a late answer to a write bring it back.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from anneal_operator.cluster.kinds import CONFIG_MAP, FINE_TUNE_JOB, POD
from anneal_operator.plan.observed import Object
from anneal_operator.resources.names import UID_LABEL

_REMEMBERED_DELETIONS = 10_000
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_WORD = 24


class JobKey(NamedTuple):
    """Which job: what the work queue holds.

    Attributes:
        namespace: Its namespace.
        name: Its name.
    """

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Cache:
    """Objects by kind and UID, and by the job that they belong to."""

    def __init__(self) -> None:
        self._by_uid: dict[str, dict[str, Object]] = defaultdict(dict)
        self._by_name: dict[tuple[str, str, str], str] = {}
        # By the job's namespace and UID: a UID alone could be claimed from any other namespace.
        self._of_job: dict[tuple[str, str], dict[str, Object]] = defaultdict(dict)
        self._deleted: OrderedDict[str, int] = OrderedDict()

    def put(self, body: Object) -> bool:
        """Takes note of an object, and returns whether that was news."""
        meta = body["metadata"]
        kind, uid, version = body["kind"], meta["uid"], version_of(body)
        if version <= self._deleted.get(uid, -1):
            return False
        known = self._by_uid[kind].get(uid)
        if known is not None and version <= version_of(known):
            return False
        name = (kind, meta.get("namespace", ""), meta["name"])
        other = self._by_name.get(name)
        if other is not None and other != uid:
            if version < version_of(self._by_uid[kind][other]):
                return False
            self._forget(kind, other)
        body = _kept(_trimmed(body), known or {})
        self._by_uid[kind][uid] = body
        self._by_name[name] = uid
        if known is not None and job_uid(known) != job_uid(body):
            self._disown(known)
        if job_uid(body):
            self._of_job[_owner(body)][uid] = body
        return True

    def remove(self, body: Object) -> bool:
        """Takes note that an object is gone, or no longer concerns us, and returns whether that was news.

        Args:
            body: The object as it was last; its version is the one of its deletion.
        """
        kind, uid = body["kind"], body["metadata"]["uid"]
        known = self._by_uid[kind].get(uid)
        if known is not None and version_of(body) < version_of(known):
            # An older message than what we know: the object left our selector, and has come back since.
            return False
        self._deleted[uid] = max(version_of(body), self._deleted.pop(uid, -1))
        if len(self._deleted) > _REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)
        return self._forget(kind, uid)

    def drop(self, kind: str, uid: str) -> bool:
        """Takes note that an object was not found any more, and returns whether that was news."""
        known = self._by_uid[kind].get(uid)
        return known is not None and self.remove(known)

    def _forget(self, kind: str, uid: str) -> bool:
        known = self._by_uid[kind].pop(uid, None)
        if known is None:
            return False
        meta = known["metadata"]
        name = (kind, meta.get("namespace", ""), meta["name"])
        if self._by_name.get(name) == uid:
            del self._by_name[name]
        self._disown(known)
        return True

    def _disown(self, body: Object) -> None:
        held = self._of_job.get(_owner(body), {})
        held.pop(body["metadata"]["uid"], None)
        if not held:
            self._of_job.pop(_owner(body), None)

    def named(self, kind: str, namespace: str, name: str) -> Object | None:
        """Returns the object of a kind and name."""
        uid = self._by_name.get((kind, namespace, name))
        return None if uid is None else self._by_uid[kind][uid]

    def job(self, key: JobKey) -> Object | None:
        """Returns a FineTuneJob."""
        return self.named(FINE_TUNE_JOB.kind, key.namespace, key.name)

    def job_of(self, body: Object) -> Object | None:
        """Returns the FineTuneJob that an object belongs to."""
        job = self._by_uid[FINE_TUNE_JOB.kind].get(job_uid(body))
        same = job is not None and job["metadata"]["namespace"] == body["metadata"].get("namespace")
        return job if same else None

    def of_kind(self, kind: str) -> Iterator[Object]:
        """Yields all objects of a kind. The cache must not change meanwhile."""
        yield from self._by_uid[kind].values()

    def count(self, kind: str) -> int:
        """Returns how many objects of a kind there are."""
        return len(self._by_uid[kind])

    def versions(self, kind: str, namespace: str = "") -> dict[str, int]:
        """Returns the resource versions of a kind's objects by UID; of one namespace, or of all."""
        return {
            uid: version_of(body)
            for uid, body in self._by_uid[kind].items()
            if not namespace or body["metadata"].get("namespace") == namespace
        }

    def with_uid(self, kind: str, uid: str) -> Object | None:
        """Returns the object of a kind with a UID."""
        return self._by_uid[kind].get(uid)

    def children(self, namespace: str, uid: str) -> tuple[Object, ...]:
        """Returns the objects whose controller is the job with this UID, in a fixed order."""
        return _ordered(body for body in self._held(namespace, uid) if body["kind"] != POD.kind)

    def pods(self, namespace: str, uid: str) -> tuple[Object, ...]:
        """Returns the pods of the job with this UID, in a fixed order."""
        return _ordered(body for body in self._held(namespace, uid) if body["kind"] == POD.kind)

    def _held(self, namespace: str, uid: str) -> Iterable[Object]:
        return self._of_job.get((namespace, uid), {}).values()


def version_of(body: Object) -> int:
    """Returns an object's resource version. The API server counts them up."""
    return int(body["metadata"]["resourceVersion"])


def controller_of(body: Object) -> tuple[str, str, str]:
    """Returns kind, name and UID of an object's controller; empty where it has none."""
    for owner in body["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return owner["kind"], owner["name"], owner["uid"]
    return "", "", ""


def job_uid(body: Object) -> str:
    """Returns the UID of the job that an object belongs to; empty: to none.

    A child belongs to its controller. Pods have a Job or a RayCluster in between, so their label counts; so it does for
    a child that somebody took the owner from.
    """
    kind, _, uid = controller_of(body)
    if body["kind"] == POD.kind or (not kind and body["kind"] != FINE_TUNE_JOB.kind):
        return str((body["metadata"].get("labels") or {}).get(UID_LABEL, ""))
    return uid if kind == FINE_TUNE_JOB.kind else ""


def _owner(body: Object) -> tuple[str, str]:
    return body["metadata"].get("namespace", ""), job_uid(body)


def _ordered(bodies: Iterable[Object]) -> tuple[Object, ...]:
    return tuple(sorted(bodies, key=lambda body: (body["kind"], body["metadata"]["name"])))


def _trimmed(body: Object) -> Object:
    """Returns the object without what nobody reads and what is most of its size."""
    meta: dict[str, Any] = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    if body["kind"] == CONFIG_MAP.kind:
        # When a report was written, by the server's clock: the only use of these fields, without their content.
        fields = body["metadata"].get("managedFields") or ()
        meta["managedFields"] = [{"time": entry["time"]} for entry in fields if "time" in entry]
    annotations = meta.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        meta["annotations"] = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
    return {**body, "metadata": meta}


def _kept(body: Object, known: Object) -> Object:
    """Returns an object as it is kept: what has not changed is what is kept of it already."""
    return {
        sys.intern(key): known[key] if key in known and known[key] == value else _shared(value)
        for key, value in body.items()
    }


def _shared(value: Any) -> Any:  # noqa: ANN401  # any JSON
    """Returns a copy of a value whose keys and short words are held once for all objects, which halves its size."""
    if isinstance(value, dict):
        return {sys.intern(key): _shared(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shared(item) for item in value]
    return sys.intern(value) if isinstance(value, str) and len(value) <= _WORD else value
