"""A checkpoint is everything that training needs to go on, wherever it goes on."""

from __future__ import annotations

import pytest
import torch

from anneal_trainer.engine.checkpoint import load_checkpoint, save_checkpoint
from anneal_trainer.engine.state import TrainingState


def _trained(seed: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    return model, optimizer


@pytest.mark.parametrize("saved_on", ["cpu", "cuda:0", "cuda:7"])
def test_it_is_read_where_the_device_is_not_that_it_was_saved_on(saved_on, tmp_path, monkeypatch):
    model, optimizer = _trained(1)
    with monkeypatch.context() as there:
        there.setattr("torch.serialization.location_tag", lambda _: saved_on)
        save_checkpoint(tmp_path, TrainingState(step=7), model.state_dict(), optimizer, best=None)
    other, its_optimizer = _trained(2)
    state, best = load_checkpoint(tmp_path, other, its_optimizer)
    assert (state.step, best) == (7, None)
    assert torch.equal(other.weight, model.weight)
    for name in ("exp_avg", "exp_avg_sq", "step"):
        kept = its_optimizer.state[other.weight][name]
        assert torch.equal(kept, optimizer.state[model.weight][name])
