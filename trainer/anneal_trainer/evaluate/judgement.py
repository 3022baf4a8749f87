"""Lets every variant and the incumbent answer the test rows, and hands the answers to selection and gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anneal_api.job import FineTuneJobSpec
from anneal_api.metrics import METRICS
from anneal_api.report import ClassificationScores, GateReport, VariantReport
from anneal_serving.artifact import Artifact
from anneal_trainer.compress.variant import FP32, Variant
from anneal_trainer.data.prepared import PreparedData
from anneal_trainer.data.rows import Rows, row_hashes
from anneal_trainer.environment import usable_cores
from anneal_trainer.evaluate.comparison import Incumbent
from anneal_trainer.evaluate.gate import read_gate
from anneal_trainer.evaluate.metrics import classification_metrics
from anneal_trainer.evaluate.scores import score
from anneal_trainer.evaluate.selection import Candidate, Choice, select

TRAINING_ROWS_FILE = "training-rows.npy"
"""In a published version: hashes of the rows it learned from. A later gate must not compare on them."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gate found.

    Attributes:
        variants: The candidates, with what selection says of each.
        gate: The gate table.
        test: The selected variant on the test rows.
        test_logits: Its outputs for them, [rows, labels].
    """

    variants: list[VariantReport]
    gate: GateReport
    test: ClassificationScores
    test_logits: NDArray[np.float32]


def judge(
    variants: Sequence[Variant],
    *,
    data: PreparedData,
    spec: FineTuneJobSpec,
    shown: Sequence[str],
    incumbent: Artifact | None,
) -> Judgement:
    """Selects a variant on validation and reads the gate on test.

    Args:
        variants: The variants on disk, the uncompressed one among them.
        data: The tokenized rows.
        spec: The job's spec.
        shown: Metrics to show, the leading one first.
        incumbent: The published version to compare with.
    """
    metrics = METRICS[spec.task]
    leading = metrics[shown[0]]
    validation = {
        v.name: classification_metrics(v.validation_logits, data.validation.labels) for v in variants
    }
    choices = select(
        [
            Candidate(v.name, v.measures.bytes, v.measures.latency_ms_p50, validation[v.name])
            for v in variants
        ],
        uncompressed=FP32,
        leading=leading,
        max_drop=spec.compression.max_drop,
        prefer=spec.compression.prefer,
        gates=spec.evaluation.gates,
    )
    rows, gold = data.test.rows(), data.test.labels
    outputs = {variant.name: _answers(variant, rows) for variant in variants}
    selected = next(choice.name for choice in choices if choice.selected)
    gate = read_gate(
        spec.evaluation.gates,
        selected=selected,
        logits=outputs[selected],
        gold=gold,
        labels=data.labels,
        leading=leading,
        metrics=metrics,
        incumbent=_incumbent(incumbent, rows) if incumbent else None,
    )
    reports = [
        _variant_report(
            variant, choice, validation[variant.name], classification_metrics(outputs[variant.name], gold)
        )
        for variant, choice in zip(variants, choices, strict=True)
    ]
    scores = score(
        outputs[selected], gold, labels=data.labels, shown=shown, rows=rows, private=spec.data.private
    )
    return Judgement(reports, gate, scores, outputs[selected])


def _answers(variant: Variant, rows: Rows) -> NDArray[np.float32]:
    with variant.predictor(threads=usable_cores()) as predictor:
        return predictor.logits(rows.texts)


def _incumbent(artifact: Artifact, rows: Rows) -> Incumbent:
    with artifact.predictor(threads=usable_cores()) as predictor:
        logits = predictor.logits(rows.texts)
    learned = np.load(artifact.folder / TRAINING_ROWS_FILE)
    return Incumbent(
        version=artifact.manifest.version,
        labels=artifact.manifest.predictor.labels,
        logits=logits,
        comparable=~np.isin(row_hashes(rows), learned),
    )


def _variant_report(
    variant: Variant, choice: Choice, validation: dict[str, float], test: dict[str, float]
) -> VariantReport:
    measures = variant.measures
    return VariantReport.model_validate(
        {
            "name": variant.name,
            "steps": measures.steps,
            "bytes": measures.bytes,
            "latency_ms_p50": measures.latency_ms_p50,
            "latency_ms_p95": measures.latency_ms_p95,
            "validation": validation,
            "test": test,
            "agreement": measures.agreement,
            "max_logit_difference": measures.max_logit_difference,
            "drop": choice.drop,
            "eligible": choice.eligible,
            "selected": choice.selected,
            "why": choice.why,
        },
        by_name=True,
    )
