"""What a run found out: scores, gate table, variants.

The model card, `report.html`, the table on the terminal and the operator's status all show this one record.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from anneal_api.metrics import Direction
from anneal_api.schema import ApiModel


def _null_is_nan(value: object) -> object:
    return math.nan if value is None else value


Score = Annotated[float, BeforeValidator(_null_is_nan), WithJsonSchema({"type": "number", "nullable": True})]
"""A score. NaN where the model's outputs are not finite numbers: JSON knows none and has null instead."""


class LossPoint(ApiModel):
    """One logged step of training."""

    step: int
    """Optimizer steps done."""
    epoch: float
    """Passes over the training rows done."""
    loss: float
    """Mean loss per row over the steps since the last point, in nats for classification."""
    learning_rate: float
    """Learning rate of the head at this step."""
    grad_norm: float
    """Norm of the gradient before clipping."""


class EpochScore(ApiModel):
    """Validation at the end of an epoch."""

    epoch: int
    """Passes over the training rows done."""
    step: int
    """Optimizer steps done."""
    metrics: dict[str, Score]
    """Scores on the validation rows."""
    best: bool
    """Whether this was the best so far."""


class TrainingRecord(ApiModel):
    """How training went."""

    steps: int
    """Optimizer steps done."""
    planned_steps: int
    """Optimizer steps that all epochs would have taken."""
    best_epoch: int
    """Epoch whose weights were kept."""
    selection_metric: str
    """Metric that picked it."""
    stopped_early: bool
    """Whether early stopping ended training."""
    workers: int
    """Training processes."""
    precision: str
    """Number format of the matrix products: `fp32` or `bf16`."""
    gpu: str = ""
    """Name of the GPU that a process computed on; empty: it computed on a CPU."""
    seconds: float
    """Time in training steps and evaluations, restarts included."""
    useful_tokens_per_second: float
    """Tokens of the training rows, without padding, per second of training steps."""
    resumed_from: int | None
    """Step that the last process went on from; absent when it ran in one go."""
    loss_curve: list[LossPoint]
    """The logged steps."""
    epochs: list[EpochScore]
    """Validation per epoch."""


class ClassScore(ApiModel):
    """Scores of one label against the rest."""

    label: str
    """The label."""
    precision: float
    """Share of its predictions that are right."""
    recall: float
    """Share of its rows that are found."""
    f1: float
    """Harmonic mean of the two."""
    support: int
    """Rows that have this label."""


class CalibrationBin(ApiModel):
    """The answers given with about the same confidence."""

    lower: float
    """Least confidence of the bin."""
    upper: float
    """Most confidence of the bin."""
    rows: int
    """Answers in it."""
    confidence: float
    """Their mean confidence."""
    accuracy: float
    """Share of them that is right."""


class WrongAnswer(ApiModel):
    """A row that the model is wrong about."""

    text: str
    """The text; empty where the data is private."""
    source: str
    """File and row."""
    expected: str
    """Its label."""
    predicted: str
    """The model's label."""
    confidence: float
    """The model's probability of its own label."""
    expected_probability: float
    """The model's probability of the right label."""


class ClassificationScores(ApiModel):
    """How one model does on one set of rows."""

    rows: int
    """Rows scored."""
    metrics: dict[str, Score]
    """Every metric of the task."""
    intervals: dict[str, tuple[float, float]]
    """Per shown metric, its 95 % bootstrap interval."""
    per_class: list[ClassScore]
    """Scores per label, in the order of the labels."""
    confusion: list[list[int]]
    """Rows per right label (first index) and predicted label (second index)."""
    calibration: list[CalibrationBin]
    """The answers by confidence."""
    worst: list[WrongAnswer]
    """The wrong answers that the model was surest of."""


class Baseline(ApiModel):
    """A simple model on the same rows: what fine-tuning has to beat."""

    name: str
    """Short name, for example `majority class`."""
    description: str
    """How it answers."""
    validation: dict[str, Score]
    """Scores on the validation rows."""
    test: dict[str, Score]
    """Scores on the test rows."""
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Per shown metric, its 95 % bootstrap interval on the test rows; empty where none was computed."""


class Verdict(StrEnum):
    """What came out of a comparison."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class VariantReport(ApiModel):
    """One candidate for publication."""

    name: str
    """`fp32` for the uncompressed model."""
    steps: list[str]
    """What was done to it, for example `onnx`, `quantize`."""
    bytes: int
    """Size of its weights on disk."""
    latency_ms_p50: float
    """Median time to answer one validation row, one at a time on one core, tokenizing included."""
    latency_ms_p95: float
    """95th percentile of the same."""
    validation: dict[str, Score]
    """Scores on the validation rows: these select."""
    test: dict[str, Score]
    """Scores on the test rows: the gate reads the selected variant's; the others' are for the record."""
    agreement: float
    """Share of validation rows with the same label as the uncompressed model."""
    max_logit_difference: Score
    """Largest absolute difference of a logit to the trained model in torch, over the probe rows."""
    drop: Score
    """Loss against the uncompressed model in the leading metric, on validation; negative when it is better."""
    eligible: bool
    """Whether it stays within `compression.maxDrop`."""
    selected: bool
    """Whether it is the one that the gate read."""
    why: str
    """The reason for the two lines above, in words."""


class GateRow(ApiModel):
    """One line of the gate table."""

    metric: str
    """The metric."""
    direction: Direction
    """Which way it is better."""
    rule: str
    """The bar in words, for example `at least 0.88` or `at most 0.005 below v3`."""
    where: str
    """Path of the bar in the spec; empty for a line that is shown for information."""
    bar: float | None
    """The number that the candidate had to reach; absent where there was nothing to compare with."""
    candidate: Score
    """The candidate's score on the test rows (the comparable ones, for an incumbent rule)."""
    incumbent: float | None
    """The incumbent's score on the same rows."""
    difference: float | None
    """Candidate minus incumbent."""
    interval: tuple[float, float] | None
    """95 % interval of the difference, from a paired bootstrap over the rows."""
    rows: int
    """Test rows that the line was read on."""
    verdict: Verdict
    """Whether the bar was cleared. `skipped`: it could not be applied, and `message` says why."""
    message: str
    """The verdict in words."""


class GateReport(ApiModel):
    """What the gate said."""

    selected: str
    """Variant that the gate read."""
    incumbent: int | None
    """Version that it was compared with."""
    leading_metric: str
    """Metric that ranked the variants."""
    passed: bool
    """Whether every bar was cleared."""
    rows: list[GateRow]
    """The bars, in the order of the manifest."""


class SplitSummary(ApiModel):
    """One part of the data."""

    rows: int
    """Rows in it."""
    labels: dict[str, int]
    """Rows per label."""
    tokens_mean: float
    """Mean length in tokens, special tokens included, before the cut to `maxLength`."""
    tokens_p95: int
    """95th percentile of the same."""
    tokens_max: int
    """Longest row."""
    truncated: int
    """Rows longer than `maxLength`."""


class Finding(ApiModel):
    """Something that preflight saw in the data or the plan. Findings of level `error` stop the run."""

    level: str
    """`error`, `warning` or `note`."""
    what: str
    """What was found."""
    where: str
    """File, row and column, or path in the spec."""
    remedy: str
    """What to do about it."""


class DroppedRows(ApiModel):
    """Rows of one split that were left out for one reason."""

    split: str
    """The split that lost them: `train`, `validation` or `test`."""
    reason: str
    """Why: `empty text`, `no label` or `label not in training`."""
    rows: int
    """How many."""
    of: int
    """How many rows the split had with them; for `train`, before validation and test are cut out of it."""
    where: str
    """File, the first rows, and the column."""


class DataSummary(ApiModel):
    """The rows, as preflight and prepare saw them."""

    digest: str
    """Digest over the rows of all splits."""
    labels: list[str]
    """The labels, in the order of the model's outputs."""
    splits: dict[str, SplitSummary]
    """`train`, `validation`, `test`."""
    findings: list[Finding]
    """What preflight saw."""
    dropped: list[DroppedRows] = Field(default_factory=list)
    """Rows that were left out, per split and reason."""


class StageRecord(ApiModel):
    """One stage of the run."""

    name: str
    """`preflight`, `prepare`, `train`, `evaluate`, `compress`, `gate` or `publish`."""
    key: str
    """Content hash of its inputs."""
    reused: bool
    """Whether an earlier run's result still held."""
    seconds: float
    """How long it took when it ran."""


class RunReport(ApiModel):
    """Everything that a run found out."""

    job: str
    """Name of the job."""
    namespace: str
    """Namespace of the job."""
    task: str
    """What the model answers."""
    version: int | None
    """Version that was published; absent where nothing was."""
    created_at: str
    """When the report was made, ISO 8601 in UTC."""
    base_model: str
    """What training started from, as the manifest names it."""
    base_revision: str
    """The revision that it was resolved to."""
    metrics: list[str]
    """Metrics to show, the leading one first."""
    data: DataSummary
    """The rows."""
    training: TrainingRecord
    """How training went."""
    validation: ClassificationScores
    """The trained model on the validation rows."""
    test: ClassificationScores
    """The selected variant on the test rows."""
    baselines: list[Baseline]
    """Simple models on the same rows."""
    variants: list[VariantReport]
    """The candidates."""
    gate: GateReport
    """What the gate said."""
    stages: list[StageRecord]
    """The stages, in order."""
    versions: dict[str, str]
    """Versions of anneal, Python and the libraries that decide the result."""
    hardware: str
    """Processor and cores that the latencies were measured on."""
    manifest: str
    """The job's manifest as YAML, with every default written out."""
