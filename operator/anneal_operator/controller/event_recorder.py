"""Kubernetes Events about a job: what `kubectl describe` shows of its past."""

from __future__ import annotations

import hashlib
import logging

from anneal_operator.cluster.client import Client
from anneal_operator.cluster.clock import Clock
from anneal_operator.cluster.errors import AlreadyExists, ApiError, NamespaceTerminating
from anneal_operator.cluster.kinds import EVENT
from anneal_operator.plan.actions import Event
from anneal_operator.plan.observed import Object
from anneal_operator.resources.names import MANAGER

_LOG = logging.getLogger(__name__)

_MAX_NOTE = 1024
_MAX_NAME = 200


class EventRecorder:
    """Posts Events.

    Args:
        client: The API server.
        clock: Time.
        instance: Which operator process speaks.
    """

    def __init__(self, client: Client, clock: Clock, instance: str) -> None:
        self._client = client
        self._clock = clock
        self._instance = instance[:128]

    async def record(self, job: Object, event: Event) -> None:
        """Posts an Event. One that was posted before counts up. That it cannot be posted stops nothing."""
        body = self._event(job, event)
        try:
            try:
                await self._client.create(EVENT, body)
            except AlreadyExists:
                await self._repeat(body["metadata"]["namespace"], body["metadata"]["name"])
        except NamespaceTerminating:
            pass  # nobody will read it
        except ApiError as error:
            _LOG.warning("cannot post an Event: %s", error)

    def _event(self, job: Object, event: Event) -> Object:
        meta = job["metadata"]
        regarding = {
            "apiVersion": job["apiVersion"],
            "kind": job["kind"],
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
        }
        # The name says what it is about, so that an operator that is killed and plans again posts no second one.
        content = "\0".join((meta["uid"], event.reason, str(event.warning), event.message))
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": f"{meta['name'][:_MAX_NAME]}.{digest}", "namespace": meta["namespace"]},
            "eventTime": self._stamp(),
            "reportingController": MANAGER,
            "reportingInstance": self._instance,
            "action": "Reconcile",
            "reason": event.reason.value,
            "regarding": regarding,
            "note": _cut(event.message),
            "type": "Warning" if event.warning else "Normal",
        }

    async def _repeat(self, namespace: str, name: str) -> None:
        known = await self._client.get(EVENT, namespace, name)
        count = int((known.get("series") or {}).get("count") or 1) + 1
        series = {"count": count, "lastObservedTime": self._stamp()}
        await self._client.merge(EVENT, namespace, name, {"series": series})

    def _stamp(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _cut(text: str) -> str:
    """Returns a text that is at most 1,024 bytes long."""
    raw = text.encode()
    return text if len(raw) <= _MAX_NOTE else raw[: _MAX_NOTE - 3].decode(errors="ignore") + "..."
