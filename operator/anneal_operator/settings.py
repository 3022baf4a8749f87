"""What whoever installs the operator decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict, Json


def _split(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


# How a value is written in an environment variable; whoever makes the settings in Python gives the value itself.
Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Object = Json[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings; the chart's values, as the operator sees them."""

    __pydantic_config__: ClassVar = ConfigDict(use_attribute_docstrings=True)

    image: str
    """Image of the pods that prepare, train, finish and serve."""
    image_pull_policy: str = "IfNotPresent"
    """As in a container."""
    image_pull_secrets: Names = ()
    """Names of Secrets, in the job's namespace."""
    store: str = ""
    """Default model store, `pvc://CLAIM/PATH` or `s3://BUCKET/PREFIX`; empty: every job names its own."""
    store_secret: str = ""
    """Name of the Secret that opens the default store's bucket, in the job's namespace; empty: none."""
    namespaces: Names = ()
    """Namespaces to watch; empty: all."""
    ray_version: str = "2.60.0"
    """Version of Ray in the image."""
    head_resources: Object = field(
        default_factory=lambda: {
            "requests": {"cpu": "200m", "memory": "2Gi"},
            "limits": {"cpu": "2", "memory": "4Gi"},
        }
    )
    """Requests and limits of a Ray head, which computes nothing."""
    step_resources: Object = field(
        default_factory=lambda: {
            "requests": {"cpu": "500m", "memory": "1Gi"},
            "limits": {"cpu": "2", "memory": "4Gi"},
        }
    )
    """Requests and limits of the prepare and finish pods."""
    serving_resources: Object = field(
        default_factory=lambda: {"requests": {"memory": "1Gi"}, "limits": {"memory": "4Gi"}}
    )
    """Requests and limits of a serving pod; the CPUs are the job's where these name none."""
    pod_overrides: Object = field(default_factory=dict)
    """Merged into every pod's spec (JSON merge patch), for what a platform asks of all pods."""
    max_attempts: int = 4
    """Attempts of one generation before the job fails; for some reasons it is fewer, or more."""
    backoff_seconds: float = 10.0
    """Wait before the second attempt; doubled for each one after it."""
    max_backoff_seconds: float = 300.0
    """Longest wait."""
    start_seconds: float = 3600.0
    """A part whose pods do not run after so long has failed; while a queue holds it does not count."""
    max_restarts: int = 5
    """A part one of whose containers was started again so often has failed."""
    heartbeat_seconds: float = 300.0
    """A running part that has reported nothing for so long is taken for dead."""
    unready_seconds: float = 900.0
    """A served version that is not ready after so long has failed."""
