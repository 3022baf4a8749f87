"""Objects as the cache keeps them: small.

A parsed object takes ten times the memory of its text, and the operator holds ten objects for every job, most of which
it looks at once an hour. So the cache keeps what an object is found by, and its text deflated. Objects of one kind
differ in little; with the first of each kind as the dictionary of the others, 150 bytes are left of 3,000.
"""

from __future__ import annotations

import json
import sys
import zlib
from typing import NamedTuple, cast

from anneal_api.status import ConditionType, StatusReason
from anneal_operator.cluster.kinds import FINE_TUNE_JOB, POD
from anneal_operator.plan.observed import Object
from anneal_operator.resources.names import UID_LABEL

_WINDOW = 15  # zlib's largest, 32 KB, so that a whole dictionary is in reach
_STATE = 6  # 64 KB for a compressor's tables instead of 256: they are set up for every object


class Packed(NamedTuple):
    """An object, and what it is found and counted by.

    Attributes:
        kind: Its kind.
        namespace: Its namespace.
        name: Its name.
        uid: Its UID.
        version: Its resource version.
        job_uid: UID of the job that it belongs to; empty: to none.
        phase: Of a job: its phase; empty: it has none yet.
        task: Of a job: its task.
        available: Of a job: whether its model answers, as the condition says; empty: it serves none.
        text: The whole object.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    version: int
    job_uid: str
    phase: str
    task: str
    available: str
    text: bytes


class Packer:
    """Packs and unpacks objects."""

    def __init__(self) -> None:
        self._patterns: dict[str, bytes] = {}

    def pack(self, body: Object) -> Packed:
        """Returns an object, packed."""
        text = json.dumps(body, separators=(",", ":")).encode()
        pattern = self._patterns.setdefault(body["kind"], text)
        deflate = zlib.compressobj(wbits=_WINDOW, memLevel=_STATE, zdict=pattern)
        meta, is_job = body["metadata"], body["kind"] == FINE_TUNE_JOB.kind
        return Packed(
            kind=sys.intern(body["kind"]),
            namespace=sys.intern(meta.get("namespace", "")),
            name=meta["name"],
            uid=sys.intern(meta["uid"]),
            version=version_of(body),
            job_uid=sys.intern(job_uid(body)),
            phase=sys.intern(str((body.get("status") or {}).get("phase") or "")) if is_job else "",
            task=sys.intern(str((body.get("spec") or {}).get("task") or "")) if is_job else "",
            available=sys.intern(_available(body)) if is_job else "",
            text=deflate.compress(text) + deflate.flush(),
        )

    def unpack(self, packed: Packed) -> Object:
        """Returns an object of its own: whoever gets it may change it."""
        inflate = zlib.decompressobj(_WINDOW, zdict=self._patterns[packed.kind])
        return cast("Object", json.loads(inflate.decompress(packed.text)))


def _available(body: Object) -> str:
    conditions = (body.get("status") or {}).get("conditions") or ()
    for condition in conditions:
        if condition.get("type") == ConditionType.AVAILABLE:
            return (
                "" if condition.get("reason") == StatusReason.NOT_REQUESTED else str(condition.get("status"))
            )
    return ""


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
