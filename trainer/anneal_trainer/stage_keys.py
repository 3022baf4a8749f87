"""What each stage's result depends on. Pure.

A stage's revision is raised when its code changes what it produces, so that results of older code are made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anneal_api.job import FineTuneJobSpec
from anneal_api.published import PublishedModel
from anneal_api.report import DroppedRows
from anneal_trainer.architecture.traits import Traits
from anneal_trainer.evaluate.selection import selection_metric, shown_metrics
from anneal_trainer.stages import Stage, StageResult

Results = Mapping[str, StageResult]
"""The stages that are done, by name."""

SHAPING_PARTS = {"task", "model", "data", "training", "tuning", "evaluation", "compression"}
"""Parts of the spec that shape a version; how it is served and kept does not make another one."""

SHAPELESS_FIELDS = {"data": {"secret_ref"}}
"""Fields in those parts that shape nothing: what opens the data is none of them."""


def preflight(
    spec: FineTuneJobSpec, model: str, data: str, *, dropped: Sequence[DroppedRows] = (), processes: int
) -> Stage:
    """Returns what preflight depends on: rows, model, and the plan whose cost it estimates.

    Args:
        spec: The job's spec.
        model: Revision of the base model.
        data: Digest of the rows.
        dropped: Rows that were left out: the digest does not see them.
        processes: Training processes.
    """
    plan = spec.training.model_dump(
        mode="json", include={"max_length", "batch_size", "epochs", "max_batch_tokens"}
    )
    columns = spec.data.columns.model_dump(mode="json")
    return Stage(
        "preflight",
        2,
        {
            "data": data,
            "columns": columns,
            "invalidRows": spec.data.invalid_rows.model_dump(mode="json"),
            "dropped": [each.model_dump(mode="json") for each in dropped],
            "model": model,
            "training": plan,
            "processes": processes,
        },
    )


def prepare(spec: FineTuneJobSpec, model: str, data: str) -> Stage:
    """Returns what the tokenized rows depend on."""
    return Stage("prepare", 1, {"data": data, "model": model, "maxLength": spec.training.max_length})


def train(spec: FineTuneJobSpec, model: str, results: Results, traits: Traits) -> Stage:
    """Returns what the trained weights depend on.

    Neither checkpoints nor the memory budget nor the worker count are among it: they do not decide what is learned.
    """
    training = spec.training.model_dump(mode="json", exclude={"checkpoint", "max_batch_tokens"})
    return Stage(
        "train",
        2,
        {
            "prepared": results["prepare"].digest,
            "model": model,
            "training": training,
            "selectionMetric": selection_metric(spec),
            **traits.shaping(),
        },
    )


def evaluate(spec: FineTuneJobSpec, results: Results) -> Stage:
    """Returns what the trained model's scores depend on."""
    return Stage(
        "evaluate",
        1,
        {
            "prepared": results["prepare"].digest,
            "trained": results["train"].digest,
            "shown": shown_metrics(spec.task, spec.evaluation),
            "private": spec.data.private,
        },
    )


def compress(spec: FineTuneJobSpec, results: Results) -> Stage:
    """Returns what the variants and their measures depend on."""
    return Stage(
        "compress",
        2,
        {
            "prepared": results["prepare"].digest,
            "trained": results["train"].digest,
            "variants": [variant.model_dump(mode="json") for variant in spec.compression.variants],
        },
    )


def gate(spec: FineTuneJobSpec, results: Results, incumbent: PublishedModel | None) -> Stage:
    """Returns what the verdict depends on."""
    return Stage(
        "gate",
        1,
        {
            "variants": results["compress"].digest,
            "evaluation": spec.evaluation.model_dump(mode="json"),
            "maxDrop": spec.compression.max_drop,
            "prefer": spec.compression.prefer,
            "private": spec.data.private,
            "incumbent": [incumbent.version, incumbent.created_at] if incumbent else None,
        },
    )


def publish(spec: FineTuneJobSpec, results: Results, store: str) -> Stage:
    """Returns what a version depends on: everything that shaped it, and where it goes."""
    return Stage(
        "publish",
        1,
        {
            "trained": results["train"].digest,
            "gate": results["gate"].digest,
            "store": store,
            "spec": spec.model_dump(mode="json", include=SHAPING_PARTS, exclude=SHAPELESS_FIELDS),
        },
    )
