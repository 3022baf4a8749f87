"""How the published model is served and rolled out, and what is kept."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from anneal_api.schema import ApiModel, Duration


class Replicas(ApiModel):
    """How many copies of the model answer."""

    min: int = Field(default=1, ge=1, le=1024)
    """Fewest copies."""
    max: int = Field(default=1, ge=1, le=1024)
    """Most copies, under load."""


class Serving(ApiModel):
    """How the published model is served. Absent from a manifest: the job trains and publishes only."""

    replicas: Replicas = Field(default_factory=Replicas)
    """How many copies of the model answer."""
    cpu: int = Field(default=1, ge=1, le=256)
    """CPUs of one copy: as many rows are computed at once."""
    max_batch_tokens: int = Field(default=4096, ge=8, le=16_777_216)
    """Most tokens of one request, padding included; a request with more is refused."""


class RolloutStrategy(StrEnum):
    """How a new version takes over."""

    CANARY = "canary"
    IMMEDIATE = "immediate"


class Rollout(ApiModel):
    """How a new version takes over from the one that serves."""

    strategy: RolloutStrategy = RolloutStrategy.CANARY
    """`canary`: a growing share of traffic; `immediate`: all of it at once."""
    steps: list[int] = Field(default=[10, 50, 100], min_length=1, max_length=20)
    """Percent of traffic of each canary step, rising, the last one 100."""
    bake: Duration = "5m"
    """How long each step is watched."""
    shadow: bool = False
    """Send a copy of the traffic to the new version first and compare the answers."""
    analysis: dict[str, Any] = Field(default_factory=dict, max_length=16)
    """Live numbers that must hold: `maxErrorRate`, `maxLatencyP95Ms`, `maxDisagreement`."""


class OnDelete(StrEnum):
    """What becomes of the published versions when the job is deleted."""

    KEEP = "Keep"
    DELETE = "Delete"


class Retention(ApiModel):
    """What is kept, and how long."""

    versions: int = Field(default=3, ge=1, le=1000)
    """Published versions to keep; the serving one is always kept."""
    ttl_after_finished: Duration = "168h"
    """How long a finished job's pods and their rights stay in the cluster; its records stay as long as the job."""
    on_delete: OnDelete = OnDelete.KEEP
    """What becomes of the published versions when the job is deleted."""
