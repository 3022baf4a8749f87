"""Every family of classifiers answers a row alone as in a batch and serves what was trained, or it is refused."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from architectures import Prepared, Verdict, onnx_logits, prepare, recorded, torch_logits
from classifier_families import FAMILIES

from anneal_api.errors import ModelNotFound
from anneal_serving.pretrained import load_config
from anneal_trainer.base_model import published_padding
from anneal_trainer.engine.launch import run_training
from anneal_trainer.engine.local_ray import local_ray
from anneal_trainer.engine.loop import Trainer
from anneal_trainer.engine.plan import CheckpointStorage, WorkerGroup
from anneal_trainer.engine.workers import SoloWorker

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

# By the last token, and one that takes padding for text; encoders are in every other test.
EVERY_DAY = ("gpt2", "convbert")
NIGHTLY = os.environ.get("ANNEAL_NIGHTLY") == "1"
TOLERANCE = 1e-4


def _trains(family: str) -> bool:
    verdict = recorded().get(family)
    return verdict is not None and verdict.trains


@pytest.mark.parametrize("family", sorted(recorded()) if NIGHTLY else EVERY_DAY)
def test_a_family_trains_and_serves_the_same_or_is_refused(family, tmp_path):
    expected = recorded()[family]
    if not expected.trains:
        with pytest.raises(ModelNotFound) as refusal:
            prepare(family, tmp_path)
        assert refusal.value.what == expected.reason
        return
    prepared = prepare(family, tmp_path)
    traits = prepared.traits
    assert expected == Verdict(True, traits.pads, traits.reads_last_token)

    trainer = Trainer(prepared.plan(), SoloWorker(tmp_path / "checkpoints"))
    assert torch.equal(_train_mode_logits(trainer), _train_mode_logits(trainer)), "some dropout is left"
    state = trainer.run()
    assert all(np.isfinite(point["loss"]) for point in state.loss_curve)
    in_the_loop = trainer.validation_logits()
    scale = max(1.0, float(np.abs(in_the_loop).max()))

    trained = tmp_path / "checkpoints" / "checkpoint-000001" / "model"
    assert load_config(trained).get_text_config().pad_token_id == published_padding(prepared.base)
    in_torch = torch_logits(prepared, trained)
    assert np.abs(in_torch - in_the_loop).max() <= TOLERANCE * scale
    assert np.abs(onnx_logits(prepared, trained) - in_the_loop).max() <= 10 * TOLERANCE * scale
    if traits.pads:
        assert np.abs(_padded_together(trainer, prepared) - in_torch).max() <= TOLERANCE * scale
    if traits.reads_last_token:
        _require_last_token_counts(trainer, prepared)


def _train_mode_logits(trainer: Trainer) -> torch.Tensor:
    trainer.model.train()
    with torch.no_grad():
        return trainer._forward(trainer.model, trainer.data.train, np.array([1]))


def _padded_together(trainer: Trainer, prepared: Prepared) -> np.ndarray:
    trainer.model.eval()
    batch = prepared.codec.collate(prepared.codec.encode(prepared.texts))
    with torch.inference_mode():
        return trainer.model(
            **{name: torch.from_numpy(values) for name, values in batch.items()}
        ).logits.numpy()


def _require_last_token_counts(trainer: Trainer, prepared: Prepared) -> None:
    """Two rows that differ in the last token alone, which is the one that pads, have different logits."""
    (row,) = prepared.codec.encode(prepared.texts[:1])
    longer = np.append(row, np.int32(prepared.predictor.codec.pad_token_id))
    trainer.model.eval()
    logits = []
    for each in (row, longer):
        batch = prepared.codec.collate([each])
        with torch.inference_mode():
            logits.append(trainer.model(**{name: torch.from_numpy(v) for name, v in batch.items()}).logits)
    assert not torch.equal(*logits)


@pytest.fixture(scope="module")
def two_workers():
    group = WorkerGroup(workers=2, gpus_per_worker=0, cpus_per_worker=1)
    with local_ray(group):
        yield group


@pytest.mark.parametrize("family", [each for each in FAMILIES if _trains(each)])
@pytest.mark.skipif(not NIGHTLY, reason="minutes: run it with `make nightly`")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray Train's of Ray Data
def test_two_workers_learn_what_one_process_learns(family, tmp_path, two_workers):
    prepared = prepare(family, tmp_path)
    alone = Trainer(prepared.plan(), SoloWorker(tmp_path / "alone")).run()
    trained = run_training(
        prepared.plan(),
        two_workers,
        name=family,
        storage=CheckpointStorage(str(tmp_path / "ray")),
        home=tmp_path / "model",
        show=lambda _: None,
    )
    losses, expected = ([point["loss"] for point in state.loss_curve] for state in (trained.state, alone))
    assert losses == pytest.approx(expected, rel=1e-4)
    answers = torch_logits(prepared, tmp_path / "model")
    reference = torch_logits(prepared, tmp_path / "alone" / "checkpoint-000001" / "model")
    scale = max(1.0, float(np.abs(reference).max()))
    assert np.abs(answers - reference).max() <= 10 * TOLERANCE * scale
