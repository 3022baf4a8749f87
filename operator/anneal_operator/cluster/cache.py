"""What the operator last heard of every object that concerns it.

Three sources feed it: the watches, the answers to our own writes and the cache audit. They arrive in any order, so an
object counts only if its resource version is newer than what is known; a deleted one is remembered for a while, lest
a late answer to a write bring it back.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from anneal_operator.cluster.kinds import FINE_TUNE_JOB, POD
from anneal_operator.cluster.packed import Packed, Packer, job_uid, version_of
from anneal_operator.plan.observed import Object

_REMEMBERED_DELETIONS = 10_000
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


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
        self._packer = Packer()
        self._by_uid: dict[str, dict[str, Packed]] = defaultdict(dict)
        self._by_name: dict[tuple[str, str, str], str] = {}
        # By the job's namespace and UID: a UID alone could be claimed from any other namespace.
        self._of_job: dict[tuple[str, str], dict[str, Packed]] = defaultdict(dict)
        self._deleted: OrderedDict[str, int] = OrderedDict()

    def put(self, body: Object) -> bool:
        """Takes note of an object, and returns whether that was news."""
        meta = body["metadata"]
        kind, uid, version = body["kind"], meta["uid"], version_of(body)
        if version <= self._deleted.get(uid, -1):
            return False
        known = self._by_uid[kind].get(uid)
        if known is not None and version <= known.version:
            return False
        other = self._by_name.get((kind, meta.get("namespace", ""), meta["name"]))
        if other is not None and other != uid:
            if version < self._by_uid[kind][other].version:
                return False
            self._forget(kind, other)
        packed = self._packer.pack(_trimmed(body))
        self._by_uid[kind][uid] = packed
        self._by_name[_place(packed)] = uid
        if known is not None and known.job_uid != packed.job_uid:
            self._disown(known)
        if packed.job_uid:
            self._of_job[_owner(packed)][uid] = packed
        return True

    def remove(self, body: Object) -> bool:
        """Takes note that an object is gone, or no longer concerns us, and returns whether that was news.

        Args:
            body: The object as it was last; its version is the one of its deletion.
        """
        return self._remove(body["kind"], body["metadata"]["uid"], version_of(body))

    def drop(self, kind: str, uid: str) -> bool:
        """Takes note that an object was not found any more, and returns whether that was news."""
        known = self._by_uid[kind].get(uid)
        return known is not None and self._remove(kind, uid, known.version)

    def _remove(self, kind: str, uid: str, version: int) -> bool:
        known = self._by_uid[kind].get(uid)
        if known is not None and version < known.version:
            # An older message than what we know: the object left our selector, and has come back since.
            return False
        self._deleted[uid] = max(version, self._deleted.pop(uid, -1))
        if len(self._deleted) > _REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)
        return self._forget(kind, uid)

    def _forget(self, kind: str, uid: str) -> bool:
        known = self._by_uid[kind].pop(uid, None)
        if known is None:
            return False
        if self._by_name.get(_place(known)) == uid:
            del self._by_name[_place(known)]
        self._disown(known)
        return True

    def _disown(self, packed: Packed) -> None:
        held = self._of_job.get(_owner(packed), {})
        held.pop(packed.uid, None)
        if not held:
            self._of_job.pop(_owner(packed), None)

    def named(self, kind: str, namespace: str, name: str) -> Object | None:
        """Returns the object of a kind and name."""
        uid = self._by_name.get((kind, namespace, name))
        return None if uid is None else self.with_uid(kind, uid)

    def job(self, key: JobKey) -> Object | None:
        """Returns a FineTuneJob."""
        return self.named(FINE_TUNE_JOB.kind, key.namespace, key.name)

    def job_of(self, body: Object) -> JobKey | None:
        """Returns which FineTuneJob an object belongs to."""
        job = self.entry(FINE_TUNE_JOB.kind, job_uid(body))
        same = job is not None and job.namespace == body["metadata"].get("namespace")
        return JobKey(job.namespace, job.name) if job is not None and same else None

    def entries(self, kind: str) -> Iterator[Packed]:
        """Yields what is known of all objects of a kind. The cache must not change meanwhile."""
        yield from self._by_uid[kind].values()

    def entry(self, kind: str, uid: str) -> Packed | None:
        """Returns what is known of an object without a look into it."""
        return self._by_uid[kind].get(uid)

    def with_uid(self, kind: str, uid: str) -> Object | None:
        """Returns the object of a kind with a UID."""
        packed = self.entry(kind, uid)
        return None if packed is None else self._packer.unpack(packed)

    def children(self, namespace: str, uid: str) -> tuple[Object, ...]:
        """Returns the objects whose controller is the job with this UID, in a fixed order."""
        return self._ordered(held for held in self._held(namespace, uid) if held.kind != POD.kind)

    def pods(self, namespace: str, uid: str) -> tuple[Object, ...]:
        """Returns the pods of the job with this UID, in a fixed order."""
        return self._ordered(held for held in self._held(namespace, uid) if held.kind == POD.kind)

    def _held(self, namespace: str, uid: str) -> Iterable[Packed]:
        return self._of_job.get((namespace, uid), {}).values()

    def _ordered(self, held: Iterable[Packed]) -> tuple[Object, ...]:
        return tuple(self._packer.unpack(packed) for packed in sorted(held, key=_place))


def _place(packed: Packed) -> tuple[str, str, str]:
    return packed.kind, packed.namespace, packed.name


def _owner(packed: Packed) -> tuple[str, str]:
    return packed.namespace, packed.job_uid


def _trimmed(body: Object) -> Object:
    """Returns the object without what nobody reads and what is most of its size."""
    meta: dict[str, Any] = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    annotations = meta.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        meta["annotations"] = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
    return {**body, "metadata": meta}
