"""Smaller variants of the trained model."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from anneal_api.schema import ApiModel, Name


class Preference(StrEnum):
    """Which of the variants that clear the bar is published."""

    SMALLEST = "smallest"
    FASTEST = "fastest"
    MOST_ACCURATE = "mostAccurate"


class Quantize(ApiModel):
    """Store weights as 8-bit integers and compute with them (dynamic quantization)."""

    per_channel: bool = True
    """One scale per output channel: more exact, the same size."""
    embeddings: bool = True
    """Quantize the embedding tables too: they are most of a small model."""


class Variant(ApiModel):
    """A smaller variant of the trained model. Steps are applied in the order prune, distill, quantize."""

    name: Name
    """Name of the variant in reports. `fp32` is taken by the uncompressed model."""
    quantize: Quantize | None = None
    """Store and compute with 8-bit integers."""
    prune: dict[str, Any] | None = Field(default=None, max_length=32)
    """Cut heads or layers out and train the rest again."""
    distill: dict[str, Any] | None = Field(default=None, max_length=32)
    """Train a smaller student on the model's answers."""


class Compression(ApiModel):
    """Smaller variants of the trained model. The uncompressed one always takes part, named `fp32`."""

    variants: list[Variant] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    """Variants to make."""
    max_drop: float = Field(default=0.01, ge=0, le=1)
    """Most that a variant may lose against the uncompressed model, in the leading metric, on validation rows."""
    prefer: Preference = Preference.SMALLEST
    """Which of the variants that clear the bar is published."""
