"""The first stage: looks at rows, plan and base model, before anything is asked for that costs something."""

from __future__ import annotations

from pathlib import Path

from anneal_api.job import FineTuneJobSpec
from anneal_serving.codecs import codec_for
from anneal_trainer import base_model
from anneal_trainer.architecture.checkpoint import classifier_config, examine
from anneal_trainer.architecture.memory import remembered
from anneal_trainer.architecture.traits import TRAITS_FILE
from anneal_trainer.architecture.trial import try_architecture
from anneal_trainer.base_model import BaseModel
from anneal_trainer.data import preflight, prepared
from anneal_trainer.data.estimate import Machine
from anneal_trainer.data.rows import Splits
from anneal_trainer.weights import WEIGHTS_FILE


def look(
    folder: Path,
    *,
    base: BaseModel,
    spec: FineTuneJobSpec,
    splits: Splits,
    processes: int,
    machine: Machine | None,
) -> None:
    """Writes what preflight sees, and what has to be known of the base model, into the stage's folder.

    Args:
        folder: The stage's folder.
        base: The base model.
        spec: The job's spec.
        splits: The rows.
        processes: Training processes.
        machine: What training runs on; None: this machine, measured.

    Raises:
        ModelNotFound: The base model is not one that can be trained and served for the task.
        DataInvalid: The rows cannot be trained on.
    """
    labels = prepared.label_order(splits, base)
    model_config = classifier_config(base, labels)
    base_model.tokenizer_files(base, folder)
    predictor = base_model.predictor_config(base, spec, labels, WEIGHTS_FILE)
    codec = codec_for(folder, predictor)
    noticed, new_head = examine(base, model_config)
    traits = remembered(
        model_config,
        predictor,
        lambda: try_architecture(model_config, predictor, codec, splits.train.texts),
    )
    traits.new_head = new_head
    (folder / TRAITS_FILE).write_text(traits.model_dump_json(indent=1), encoding="utf-8")
    summary = preflight.summary_of(
        splits, spec, codec, base, processes, machine=machine, traits=traits, noticed=noticed
    )
    (folder / preflight.SUMMARY_FILE).write_text(summary.model_dump_json(indent=1), encoding="utf-8")
    preflight.refuse_errors(summary.findings)
