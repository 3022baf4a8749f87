"""How the model learns. Fields known from Hugging Face's TrainingArguments keep their meaning."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from anneal_api.schema import ApiModel, ShortText
from anneal_api.spec.model import LowRankAdaptation


class Precision(StrEnum):
    """The number format of the matrix products."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


class LearningRateScheduler(StrEnum):
    """How the learning rate falls after its warm-up."""

    LINEAR = "linear"
    COSINE = "cosine"
    CONSTANT = "constant"


class EarlyStopping(ApiModel):
    """Stop when validation no longer gets better."""

    metric: ShortText | None = None
    """Metric to watch, also the one that picks the best checkpoint; absent: the leading metric (the first of
    `evaluation.metrics`, else the first gate's, else the task's primary one)."""
    patience: int = Field(default=2, ge=1, le=1000)
    """Epochs without a gain before training stops."""
    min_delta: float = Field(default=0.0, ge=0)
    """Smallest change that counts as a gain."""


class Checkpointing(ApiModel):
    """When training saves what it needs to go on after a crash."""

    every_minutes: float = Field(default=5.0, gt=0, le=1440)
    """Longest time between two checkpoints. The end of an epoch always saves one."""


class Parallelism(ApiModel):
    """How one model is spread over processes; data parallel is what is left of them."""

    shard: int = Field(default=1, ge=1, le=4096)
    """Processes that share one copy of the weights (FSDP)."""
    tensor: int = Field(default=1, ge=1, le=64)
    """Processes that share each layer (tensor parallel)."""
    pipeline: int = Field(default=1, ge=1, le=64)
    """Stages that the layers are cut into (pipeline parallel)."""


class Training(ApiModel):
    """How the model learns."""

    epochs: int = Field(default=3, ge=1, le=10_000)
    """Passes over the training rows."""
    batch_size: int = Field(default=32, ge=1, le=1_048_576)
    """Rows of one optimizer step, over all workers together. A step has exactly that many."""
    learning_rate: float = Field(default=2e-5, gt=0, le=1)
    """Peak learning rate of AdamW."""
    lr_scheduler_type: LearningRateScheduler = LearningRateScheduler.LINEAR
    """How the learning rate falls after its warm-up."""
    warmup_ratio: float = Field(default=0.06, ge=0, lt=1)
    """Share of all steps in which the learning rate rises from 0 to its peak."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Factor on the learning rate per layer, from the head down to the embeddings; 1: the same everywhere."""
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    """Decoupled weight decay; never on biases and norms."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients with a larger norm are scaled down to it."""
    label_smoothing_factor: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target's probability that is spread over all labels."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Dropout everywhere in the model; absent: the base model's own."""
    max_length: int = Field(default=256, ge=8, le=131_072)
    """Longest input in tokens, special tokens included; longer ones are cut, in training and serving alike."""
    max_batch_tokens: int = Field(default=8192, ge=8, le=16_777_216)
    """Tokens, padding included, that a worker computes at once: a step's rows are cut into micro-batches that fit.
    It bounds memory and never changes the result of a step."""
    precision: Precision = Precision.AUTO
    """Number format of the matrix products in training; `auto`: bf16 where the hardware is fast at it, else fp32.
    Weights, validation and what is published are fp32 either way."""
    early_stopping: EarlyStopping | None = None
    """Stop when validation no longer gets better; absent: train all epochs. The best checkpoint is kept either way."""
    seed: int = Field(default=42, ge=0, le=2**31 - 1)
    """Seed of the head's weights, the order of the rows and dropout."""
    checkpoint: Checkpointing = Field(default_factory=Checkpointing)
    """When training saves what it needs to go on after a crash."""
    parallelism: Parallelism = Field(default_factory=Parallelism)
    """How one model is spread over processes."""
    lora: LowRankAdaptation | None = None
    """Train low-rank matrices instead of all weights."""
    pretrain: dict[str, Any] | None = Field(default=None, max_length=32)
    """Go on with the base model's own pre-training on unlabelled rows first."""


class Tuning(ApiModel):
    """Search for better hyper-parameters."""

    trials: int = Field(ge=1, le=10_000)
    """Trainings to run."""
    parallel: int = Field(default=1, ge=1, le=1024)
    """Trainings at the same time."""
    scheduler: ShortText = "asha"
    """What stops bad trials early."""
    metric: ShortText | None = None
    """Metric that ranks the trials; absent: the task's primary metric."""
    space: dict[str, dict[str, Any]] = Field(max_length=32)
    """Per training field, the values to try."""
