"""What a server counts: requests, their time, and the rows that it answered."""

from __future__ import annotations

from typing import Protocol

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest

SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histogram's buckets."""


class Meter(Protocol):
    """Counts what a server does."""

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Notes a request that was answered.

        Args:
            route: The path, one of a small closed set.
            status: The HTTP status.
            seconds: From the first byte of the request to the last of the answer.
        """

    def count_rows(self, rows: int) -> None:
        """Notes texts that the model answered."""


class PrometheusMeter:
    """Counts for Prometheus, in this process.

    Args:
        version: The model's version, the label `model_version` of every series.
    """

    content_type = CONTENT_TYPE_LATEST
    """Media type of the text format."""

    def __init__(self, version: str) -> None:
        self._registry = CollectorRegistry()
        self._version = version
        self._requests = Counter(
            "anneal_requests",
            "Requests answered.",
            ("route", "status", "model_version"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "anneal_request_seconds",
            "Time to answer a request, in seconds.",
            ("route", "model_version"),
            buckets=SECONDS_BUCKETS,
            registry=self._registry,
        )
        self._rows = Counter(
            "anneal_rows", "Texts answered.", ("model_version",), registry=self._registry
        ).labels(version)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """See `Meter.count_request`."""
        self._requests.labels(route, str(status), self._version).inc()
        self._seconds.labels(route, self._version).observe(seconds)

    def count_rows(self, rows: int) -> None:
        """See `Meter.count_rows`."""
        self._rows.inc(rows)

    def exposition(self) -> bytes:
        """Returns all series in Prometheus' text format."""
        return generate_latest(self._registry)
