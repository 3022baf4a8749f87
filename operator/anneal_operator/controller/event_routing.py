"""From an event of a watch to the job that has to be looked at."""

from __future__ import annotations

from anneal_api.identity import KIND
from anneal_operator.cluster.cache import Cache, JobKey
from anneal_operator.cluster.packed import controller_of
from anneal_operator.cluster.queue import WorkQueue
from anneal_operator.plan.observed import Object


class EventRouter:
    """Keeps the cache in step with the watches, and the queue with the cache.

    Args:
        cache: Learns of every event.
        queue: Gets the job that an event concerns, where the event was news.
    """

    def __init__(self, cache: Cache, queue: WorkQueue[JobKey]) -> None:
        self._cache = cache
        self._queue = queue

    def handle(self, gone: bool, body: Object) -> None:  # as a watch hands it over
        """Takes note of an event of a watch."""
        if self._cache.remove(body) if gone else self._cache.put(body):
            self.enqueue(body)

    def enqueue(self, body: Object) -> None:
        """Puts the job that an object belongs to into the queue."""
        meta = body["metadata"]
        if body["kind"] == KIND:
            self._queue.add(JobKey(meta["namespace"], meta["name"]))
            return
        kind, owner, _ = controller_of(body)
        if kind == KIND:
            # By name, for an object of an earlier job of that name may be what a new one waits for.
            self._queue.add(JobKey(meta["namespace"], owner))
        elif (job := self._cache.job_of(body)) is not None:
            self._queue.add(job)
