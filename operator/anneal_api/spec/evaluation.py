"""What the model is scored with, and the bar that it has to clear."""

from __future__ import annotations

from pydantic import Field

from anneal_api.schema import ApiModel, ShortText


class Gate(ApiModel):
    """One bar. It names a metric and exactly one of `min`, `max`, `versusIncumbent` and `maxGap`."""

    metric: ShortText
    """Metric that the bar is for."""
    min: float | None = None
    """The metric must be at least this."""
    max: float | None = None
    """The metric must be at most this."""
    versus_incumbent: float | None = None
    """Least gain over the version that is published now, on the same rows; -0.005 allows to be 0.005 worse. Passes
    where nothing is published yet."""
    slice: ShortText | None = None
    """Column whose groups are compared with `maxGap`."""
    max_gap: float | None = Field(default=None, ge=0)
    """Largest difference of the metric between the groups of `slice`."""


class Evaluation(ApiModel):
    """What the model is scored with, and the bar that it has to clear."""

    metrics: list[ShortText] = Field(default_factory=list, max_length=32)
    """Metrics to show, the first one leading; empty: the task's own set."""
    gates: list[Gate] = Field(default_factory=list, max_length=32)
    """Bars that the model must clear on the test rows before it is published; all of them."""
