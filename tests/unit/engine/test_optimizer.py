"""The optimizer's groups and schedule are those of the papers that they are named after."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

from anneal_api.spec.training import LearningRateScheduler
from anneal_trainer.engine.optimizer import parameter_groups, schedule_factor


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=50, hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16
        )
    )


def _rates(model, layer_decay):
    groups = parameter_groups(
        model.named_parameters(), learning_rate=1.0, weight_decay=0.1, layer_decay=layer_decay
    )
    by_parameter = {id(p): group for group in groups for p in group["params"]}
    return {name: by_parameter[id(p)] for name, p in model.named_parameters()}


def test_every_parameter_is_in_exactly_one_group(model):
    groups = parameter_groups(model.named_parameters(), learning_rate=1.0, weight_decay=0.1, layer_decay=0.9)
    seen = [id(p) for group in groups for p in group["params"]]
    assert sorted(seen) == sorted(id(p) for p in model.parameters())


def test_biases_and_norms_do_not_decay(model):
    for name, group in _rates(model, 1.0).items():
        expected = 0.0 if name.endswith("bias") or "LayerNorm" in name else 0.1
        assert group["weight_decay"] == expected, name


def test_the_rate_falls_by_the_factor_from_layer_to_layer(model):
    rates = {name: group["lr"] for name, group in _rates(model, 0.5).items()}
    assert rates["classifier.weight"] == 1.0
    assert rates["bert.encoder.layer.2.output.dense.weight"] == 0.5
    assert rates["bert.encoder.layer.0.output.dense.weight"] == 0.125
    assert rates["bert.embeddings.word_embeddings.weight"] == 0.0625


@pytest.mark.parametrize(
    ("lowest", "highest"),
    [
        ("transformer.h.0.attn.c_attn.weight", "transformer.h.2.attn.c_attn.weight"),
        ("transformer.attentions.0.q_lin.weight", "transformer.attentions.2.q_lin.weight"),
        ("encoder.block.0.layer.1.wi.weight", "encoder.block.2.layer.0.q.weight"),
        ("model.layers.0.mlp.experts.7.up_proj.weight", "model.layers.2.mlp.experts.1.up_proj.weight"),
    ],
)
def test_whatever_a_family_calls_its_layers_they_are_told_apart(lowest, highest):
    named = [(name, torch.nn.Parameter(torch.zeros(2, 2))) for name in (lowest, highest, "score.weight")]
    groups = parameter_groups(named, learning_rate=1.0, weight_decay=0.0, layer_decay=0.5)
    assert [group["lr"] for group in groups] == [0.125, 0.5, 1.0]


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        (LearningRateScheduler.LINEAR, get_linear_schedule_with_warmup),
        (LearningRateScheduler.COSINE, get_cosine_schedule_with_warmup),
    ],
)
def test_schedules_are_those_of_transformers(kind, reference):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = reference(optimizer, num_warmup_steps=10, num_training_steps=100)
    for step in range(100):
        ours = schedule_factor(step, total_steps=100, warmup_ratio=0.1, kind=kind)
        assert ours == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        scheduler.step()
