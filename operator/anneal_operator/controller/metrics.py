"""What the operator tells Prometheus. No label holds a job's name: there may be thousands of them."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from anneal_operator.cluster.cache import Cache
from anneal_operator.cluster.kinds import FINE_TUNE_JOB

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PREFIX = "anneal_operator"
_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The operator's metrics.

    Args:
        version: Version of anneal.
    """

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self._reconciles = self._counter("reconcile", "Jobs looked at, by what came of it.", "result")
        self._reconcile_seconds = self._histogram("reconcile_seconds", "Time to look at a job.")
        self._queue_latency = self._histogram(
            "queue_latency_seconds", "Time that a job lay ready in the queue."
        )
        self._retries = self._counter("retries", "Jobs to be looked at again after a failure.", "reason")
        self._requests = self._counter(
            "api_requests", "Calls to the API server (code 0: no answer).", "verb", "code"
        )
        self._lost = self._counter(
            "cache_audit_differences", "Events that a watch lost and the cache audit made good.", "kind"
        )
        build = Gauge(f"{_PREFIX}_build_info", "The operator's version.", ["version"], registry=self.registry)
        build.labels(version).set(1)

    def reconciled(self, result: str, seconds: float, waited: float) -> None:
        """Counts a look at a job.

        Args:
            result: What came of it, one of a few words.
            seconds: How long it took.
            waited: How long the job lay in the queue before.
        """
        self._reconciles.labels(result).inc()
        self._reconcile_seconds.observe(seconds)
        self._queue_latency.observe(waited)

    def retried(self, reason: str) -> None:
        """Counts a job that has to be looked at again after a failure."""
        self._retries.labels(reason).inc()

    def called(self, verb: str, code: int, seconds: float) -> None:
        """Counts a call to the API server."""
        del seconds
        self._requests.labels(verb, str(code)).inc()

    def lost(self, kind: str) -> None:
        """Counts a lost event."""
        self._lost.labels(kind).inc()

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Adds a number that is read when Prometheus asks."""
        Gauge(f"{_PREFIX}_{name}", text, registry=self.registry).set_function(value)

    def count_jobs(self, cache: Cache) -> None:
        """Adds the jobs of a cache, by namespace, phase and task, and whether their models answer."""
        self.registry.register(_Jobs(cache))

    def text(self) -> bytes:
        """Returns everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}_total", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"{_PREFIX}_{name}", text, buckets=_SECONDS, registry=self.registry)


class _Jobs(Collector):
    """Counts the jobs in the cache when Prometheus asks: nothing to keep in step."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def collect(self) -> Iterable[Metric]:
        jobs = GaugeMetricFamily(f"{_PREFIX}_jobs", "FineTuneJobs.", labels=["namespace", "phase", "task"])
        models = GaugeMetricFamily(
            f"{_PREFIX}_models",
            "FineTuneJobs that serve, or are to serve, by whether any version answers.",
            labels=["namespace", "available"],
        )
        entries = list(self._cache.entries(FINE_TUNE_JOB.kind))
        tally = Tally((job.namespace, job.phase or "Pending", job.task) for job in entries)
        for labels, number in sorted(tally.items()):
            jobs.add_metric(labels, number)
        served = Tally((job.namespace, job.available) for job in entries if job.available)
        for state, number in sorted(served.items()):
            models.add_metric(state, number)
        yield jobs
        yield models
