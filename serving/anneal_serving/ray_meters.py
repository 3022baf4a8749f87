"""Counts through Ray, whose metrics endpoint has the numbers of all replicas."""

from __future__ import annotations

from ray.serve import metrics

from anneal_serving.meters import SECONDS_BUCKETS


class RayMeters:
    """What the replica in this process counts, whichever version answers. A process makes one."""

    def __init__(self) -> None:
        self._requests = metrics.Counter(
            "anneal_requests",
            "Requests answered.",
            tag_keys=("route", "status", "model_version"),  # type: ignore[arg-type]  # Ray says tuple[str]
        )
        self._seconds = metrics.Histogram(
            "anneal_request_seconds",
            "Time to answer a request, in seconds.",
            boundaries=list(SECONDS_BUCKETS),
            tag_keys=("route", "model_version"),  # type: ignore[arg-type]  # Ray says tuple[str]
        )
        self._rows = metrics.Counter("anneal_rows", "Texts answered.", tag_keys=("model_version",))

    def for_version(self, version: str) -> RayMeter:
        """Returns what counts for one version.

        Args:
            version: The model's version, the label `model_version` of every series.
        """
        return RayMeter(version, self._requests, self._seconds, self._rows)


class RayMeter:
    """Counts for one version; made by `RayMeters`."""

    def __init__(
        self, version: str, requests: metrics.Counter, seconds: metrics.Histogram, rows: metrics.Counter
    ) -> None:
        self._version = version
        self._requests = requests
        self._seconds = seconds
        self._rows = rows

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """See `Meter.count_request`."""
        self._requests.inc(tags={"route": route, "status": str(status), "model_version": self._version})
        self._seconds.observe(seconds, tags={"route": route, "model_version": self._version})

    def count_rows(self, rows: int) -> None:
        """See `Meter.count_rows`."""
        self._rows.inc(rows, tags={"model_version": self._version})
