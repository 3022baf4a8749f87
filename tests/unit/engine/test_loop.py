"""What the loop says about itself."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from tiny_model import LABELS, write_tiny_model

from anneal_api.spec.training import Training
from anneal_serving.codecs import codec_for
from anneal_trainer.data.prepared import write_prepared
from anneal_trainer.data.rows import Rows, Splits
from anneal_trainer.engine.loop import Trainer
from anneal_trainer.engine.plan import TrainingPlan
from anneal_trainer.engine.workers import SoloWorker

_STEPS = 4
_WAIT = 0.05


@pytest.fixture
def plan(tmp_path: Path) -> TrainingPlan:
    base, prepared = tmp_path / "base", tmp_path / "prepared"
    predictor = write_tiny_model(base)
    prepared.mkdir()
    (prepared / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    texts = [f"a film of {number} minutes" for number in range(2 * _STEPS)]
    rows = Rows(texts, [LABELS[number % 3] for number in range(len(texts))], texts)
    write_prepared(prepared, Splits(rows, rows, rows), codec_for(prepared, predictor), LABELS)
    training = Training.model_validate({"epochs": 1, "batchSize": 2, "precision": "fp32"})
    return TrainingPlan(base, prepared, predictor, training, selection_metric="accuracy", threads=1)


def test_the_time_in_steps_holds_what_a_gpu_still_has_to_do(plan, tmp_path, monkeypatch):
    """A GPU works on after a step was handed to it; the loop waits for it where it reads a loss."""
    gather = Trainer._gather_loss

    def wait_for_gpu(trainer: Trainer) -> None:
        time.sleep(_WAIT)
        gather(trainer)

    monkeypatch.setattr(Trainer, "_gather_loss", wait_for_gpu)
    state = Trainer(plan, SoloWorker(tmp_path / "checkpoints")).run()
    assert len(state.loss_curve) == state.step == _STEPS
    assert _STEPS * _WAIT < state.step_seconds < state.seconds
    assert state.gpu == ""


def test_trying_out_the_model_leaves_no_trace(plan, tmp_path):
    trainer = Trainer(plan, SoloWorker(tmp_path / "checkpoints"))
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer._compute_once()
    assert all(weights.grad is None for weights in trainer.model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.model.state_dict().items())
