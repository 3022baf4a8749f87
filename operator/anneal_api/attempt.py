"""How a job's pods report to the operator: one ConfigMap per attempt, one key per part of the way.

The operator creates the ConfigMap; the pods of that attempt may patch it and no other, so a late pod of an older
attempt can write nothing that counts. A report is the whole of what its part knows, not a difference: losing one
loses nothing.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from anneal_api.errors import Reason
from anneal_api.report import DroppedRows, GateReport, Score, StageRecord, VariantReport
from anneal_api.schema import ApiModel
from anneal_api.words import OpenWord

MAX_REPORT_BYTES = 64 * 1024
"""A part's last report is at most this long; lists are cut from the end until it fits."""

MAX_PROGRESS_BYTES = 2 * 1024
"""A report of progress is at most this long."""

PROGRESS_SECONDS = 15.0
"""Progress is reported about this often; it is the heartbeat too."""


class Part(OpenWord):
    """A part of a job's way: what runs in one pod, or one Ray cluster."""

    PREPARE = "prepare"
    TRAIN = "train"
    FINISH = "finish"


class PartState(StrEnum):
    """How a part is doing."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class PartProgress(ApiModel):
    """How far training is."""

    step: int
    """Optimizer steps done."""
    total_steps: int
    """Optimizer steps of the whole training."""
    epoch: float
    """Passes over the training rows done."""
    loss: Score | None = None
    """Mean loss per row since the last logged point."""
    tokens_per_second: float = 0.0
    """Tokens of the rows, without padding, per second of training steps."""
    eta_seconds: float | None = None
    """Seconds that the remaining steps will take."""


class PartFailure(ApiModel):
    """Why a part failed, in the words that a person gets."""

    reason: Reason
    """The word of the closed set."""
    message: str
    """What is wrong."""
    where: str = ""
    """A path in the spec, or a file with row and column."""
    hint: str = ""
    """What to do about it."""


class PublishedResult(ApiModel):
    """What the finish part came to."""

    version: int | None
    """Number of the published version; absent where the gate let nothing through."""
    path: str = ""
    """The version's folder below the store, for example `default/reviews-1a2b3c4d/v3`."""
    digest: str = ""
    """SHA-256 of the version's `manifest.json`: it names every other file's digest."""
    leading_metric: str
    """Metric that ranked the variants."""
    metrics: dict[str, Score]
    """Scores of the selected variant on the test rows."""
    gate: GateReport
    """The gate table."""
    variants: list[VariantReport]
    """The candidates."""


class PartReport(ApiModel):
    """What one part of one attempt reports."""

    job_uid: str
    """UID of the FineTuneJob that the attempt belongs to."""
    generation: int
    """Generation of the spec that it works on."""
    attempt: int
    """Number of the attempt."""
    part: Part
    """Which part reports."""
    state: PartState
    """How it is doing."""
    heartbeat: str
    """When this was written, ISO 8601 in UTC, by the pod's clock."""
    stage: str = ""
    """Stage that runs now; empty before the first and after the last."""
    stages: list[StageRecord] = Field(default_factory=list)
    """Stages that are done."""
    dropped: list[DroppedRows] = Field(default_factory=list)
    """Rows of the data that were left out; of the part that ran preflight."""
    progress: PartProgress | None = None
    """How far training is; the train part only."""
    resumed_from: int | None = None
    """Step that training went on from; absent where it began anew."""
    published: PublishedResult | None = None
    """What came out; the finish part only, at its end."""
    failure: PartFailure | None = None
    """Why it failed."""
