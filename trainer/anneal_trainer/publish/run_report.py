"""Puts what the stages found into the one record that report page, model card and terminal show."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from pydantic import TypeAdapter
from ruamel.yaml import YAML

from anneal_api.job import FineTuneJob
from anneal_api.report import (
    Baseline,
    ClassificationScores,
    DataSummary,
    EpochScore,
    GateReport,
    LossPoint,
    RunReport,
    StageRecord,
    TrainingRecord,
    VariantReport,
)
from anneal_trainer.base_model import BaseModel
from anneal_trainer.engine.batching import steps_per_epoch
from anneal_trainer.engine.plan import TrainingPlan
from anneal_trainer.engine.state import TrainingState
from anneal_trainer.environment import hardware, library_versions
from anneal_trainer.stages import StageResult

BASELINES = TypeAdapter(list[Baseline])
"""How the evaluate stage keeps what simple models reach."""

VARIANTS = TypeAdapter(list[VariantReport])
"""How the gate stage keeps what became of the candidates."""


def training_record(
    state: TrainingState, plan: TrainingPlan, *, processes: int, train_rows: int
) -> TrainingRecord:
    """Returns the report's account of a finished training."""
    training = plan.training
    return TrainingRecord.model_validate(
        {
            "steps": state.step,
            "planned_steps": steps_per_epoch(train_rows, training.batch_size) * training.epochs,
            "best_epoch": state.best_epoch,
            "selection_metric": plan.selection_metric,
            "stopped_early": state.stopped_early,
            "workers": processes,
            "precision": state.precision,
            "gpu": state.gpu,
            "seconds": state.seconds,
            "useful_tokens_per_second": state.useful_tokens / max(1e-9, state.step_seconds),
            "resumed_from": state.resumed_from,
            "loss_curve": [LossPoint.model_validate(point, by_name=True) for point in state.loss_curve],
            "epochs": [EpochScore.model_validate(epoch, by_name=True) for epoch in state.epochs],
        },
        by_name=True,
    )


def gather(
    job: FineTuneJob,
    *,
    version: int | None,
    base: BaseModel,
    metrics: Sequence[str],
    results: Mapping[str, StageResult],
) -> RunReport:
    """Returns the record of a run, out of the folders of its stages.

    Args:
        job: The job.
        version: The version about to be published; None where nothing is.
        base: What training started from.
        metrics: Metrics to show, the leading one first.
        results: The stages so far, by name and in order, up to the gate at least.
    """

    def content(stage: str, file: str) -> bytes:
        return (results[stage].folder / file).read_bytes()

    return assemble(
        job,
        version=version,
        base=base,
        metrics=metrics,
        data=DataSummary.model_validate_json(content("preflight", "summary.json")),
        training=TrainingRecord.model_validate_json(content("train", "training.json")),
        validation=ClassificationScores.model_validate_json(content("evaluate", "validation.json")),
        test=ClassificationScores.model_validate_json(content("gate", "test.json")),
        baselines=BASELINES.validate_json(content("evaluate", "baselines.json")),
        variants=VARIANTS.validate_json(content("gate", "variants.json")),
        gate=GateReport.model_validate_json(content("gate", "gate.json")),
        stages=list(results.values()),
    )


def assemble(
    job: FineTuneJob,
    *,
    version: int | None,
    base: BaseModel,
    metrics: Sequence[str],
    data: DataSummary,
    training: TrainingRecord,
    validation: ClassificationScores,
    test: ClassificationScores,
    baselines: Sequence[Baseline],
    variants: Sequence[VariantReport],
    gate: GateReport,
    stages: Sequence[StageResult],
) -> RunReport:
    """Returns the record of a run.

    Args:
        job: The job.
        version: The version about to be published; None where nothing is.
        base: What training started from.
        metrics: Metrics to show, the leading one first.
        data: The rows.
        training: How training went.
        validation: The trained model on the validation rows.
        test: The selected variant on the test rows.
        baselines: Simple models on the same rows.
        variants: The candidates.
        gate: What the gate said.
        stages: The stages so far.
    """
    return RunReport.model_validate(
        {
            "job": job.metadata.name,
            "namespace": job.metadata.namespace,
            "task": job.spec.task.value,
            "version": version,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "base_model": base.source,
            "base_revision": base.revision,
            "metrics": list(metrics),
            "data": data,
            "training": training,
            "validation": validation,
            "test": test,
            "baselines": list(baselines),
            "variants": list(variants),
            "gate": gate,
            "stages": [
                StageRecord.model_validate(
                    {"name": r.name, "key": r.key, "reused": r.reused, "seconds": r.seconds}, by_name=True
                )
                for r in stages
            ],
            "versions": library_versions(),
            "hardware": hardware(),
            "manifest": manifest_yaml(job),
        },
        by_name=True,
    )


def manifest_yaml(job: FineTuneJob) -> str:
    """Returns a job as YAML with every default written out and empty parts left out."""
    document = {
        "apiVersion": job.api_version,
        "kind": job.kind,
        "metadata": {"name": job.metadata.name, "namespace": job.metadata.namespace},
        "spec": job.spec.model_dump(mode="json", exclude_none=True),
    }
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(document, text)
    return text.getvalue()
