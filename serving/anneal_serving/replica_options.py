"""How Ray runs the replicas of a model, on one machine and in a cluster alike."""

from __future__ import annotations

from typing import Any

from ray.serve.config import AutoscalingConfig, BackpressureConfig
from ray.serve.schema import LoggingConfig

from anneal_api.spec.serving import Serving
from anneal_serving.requests import Limits

DEPLOYMENT = "model"
"""Name of the one deployment that a model is served by."""

# Requests that Ray lets into a replica beyond those that the app answers: health checks, pages, and predictions
# that the app turns away in its own words. Past these Ray turns requests away in its words.
_ROOM_FOR_OTHERS = 384


def deployment_options(serving: Serving, limits: Limits, logging: LoggingConfig) -> dict[str, Any]:
    """Returns the arguments of `serve.deployment`.

    Args:
        serving: Replicas, and CPUs of each.
        limits: How many requests a replica has in work.
        logging: How replicas log.
    """
    fewest, most = serving.replicas.min, max(serving.replicas.min, serving.replicas.max)
    return {
        "name": DEPLOYMENT,
        "num_replicas": fewest if fewest == most else None,
        "autoscaling_config": None
        if fewest == most
        else AutoscalingConfig(
            min_replicas=fewest, max_replicas=most, target_ongoing_requests=2 * serving.cpu
        ),
        "max_ongoing_requests": limits.max_in_progress + _ROOM_FOR_OTHERS,
        "max_queued_requests": limits.max_in_progress,
        "backpressure_config": BackpressureConfig(status_code=503, retry_after_s=1),
        "ray_actor_options": {"num_cpus": serving.cpu},
        "max_constructor_retry_count": 2,
        "logging_config": logging,
    }


def serve_logging(level: str = "WARNING") -> LoggingConfig:
    """Returns how Ray Serve logs: no line for every request."""
    return LoggingConfig(log_level=level, enable_access_log=False)
