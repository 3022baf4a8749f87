"""What whoever installs the operator decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings; the chart's values, as the operator sees them.

    Attributes:
        image: Image of the pods that prepare, train, finish and serve.
        image_pull_policy: As in a container.
        image_pull_secrets: Names of Secrets, in the job's namespace.
        store: Default model store, `pvc://CLAIM/PATH` or `s3://BUCKET/PREFIX`; empty: every job names its own.
        store_secret: Name of the Secret that opens the default store's bucket, in the job's namespace; empty: none.
        namespaces: Namespaces to watch; empty: all.
        ray_version: Version of Ray in the image.
        head_resources: Requests and limits of a Ray head, which computes nothing.
        step_resources: Requests and limits of the prepare and finish pods.
        serving_resources: Requests and limits of a serving pod; the CPUs are the job's where these name none.
        pod_overrides: Merged into every pod's spec (JSON merge patch), for what a platform asks of all pods.
        max_attempts: Attempts of one generation before the job fails; for some reasons it is fewer, or more.
        backoff_seconds: Wait before the second attempt; doubled for each one after it.
        max_backoff_seconds: Longest wait.
        start_seconds: A part whose pods do not run after so long has failed; while a queue holds it does not count.
        max_restarts: A part one of whose containers was started again so often has failed.
        heartbeat_seconds: A running part that has reported nothing for so long is taken for dead.
        unready_seconds: A served version that is not ready after so long has failed.
    """

    image: str
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    store: str = ""
    store_secret: str = ""
    namespaces: tuple[str, ...] = ()
    ray_version: str = "2.60.0"
    head_resources: dict[str, Any] = field(
        default_factory=lambda: {
            "requests": {"cpu": "200m", "memory": "2Gi"},
            "limits": {"cpu": "2", "memory": "4Gi"},
        }
    )
    step_resources: dict[str, Any] = field(
        default_factory=lambda: {
            "requests": {"cpu": "500m", "memory": "1Gi"},
            "limits": {"cpu": "2", "memory": "4Gi"},
        }
    )
    serving_resources: dict[str, Any] = field(
        default_factory=lambda: {"requests": {"memory": "1Gi"}, "limits": {"memory": "4Gi"}}
    )
    pod_overrides: dict[str, Any] = field(default_factory=dict)
    max_attempts: int = 4
    backoff_seconds: float = 10.0
    max_backoff_seconds: float = 300.0
    start_seconds: float = 3600.0
    max_restarts: int = 5
    heartbeat_seconds: float = 300.0
    unready_seconds: float = 900.0
