import pytest
import torch
from torch import nn

from anneal_trainer.engine.dropout import SixteenBitDropout, use_cheap_dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_share_of_the_elements_is_dropped_and_the_mean_stays(rate):
    torch.manual_seed(0)
    out = SixteenBitDropout(rate)(torch.ones(401, 499))
    assert (out == 0).float().mean() == pytest.approx(rate, abs=0.01)
    assert out[out != 0].unique().tolist() == pytest.approx([1 / (1 - rate)])
    assert out.mean() == pytest.approx(1.0, abs=0.03)


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    dropped = (SixteenBitDropout(0.5)(torch.ones(100_000)) == 0).float()
    for distance in range(1, 9):
        pairs = torch.corrcoef(torch.stack([dropped[:-distance], dropped[distance:]]))
        assert abs(pairs[0, 1]) < 0.02


def test_the_seed_decides_and_gradients_follow_the_mask():
    dropout = SixteenBitDropout(0.3)
    rows = torch.ones(8, 33, requires_grad=True)
    torch.manual_seed(3)
    first = dropout(rows)
    torch.manual_seed(3)
    assert torch.equal(first, dropout(rows))
    first.sum().backward()
    assert rows.grad is not None
    assert torch.equal(rows.grad == 0, first == 0)


def test_a_model_gets_it_everywhere_and_answers_as_before():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.2), nn.Sequential(nn.Dropout(0.5)))
    model.eval()
    rows = torch.randn(3, 4)
    before = model(rows)
    use_cheap_dropout(model)
    assert torch.equal(model(rows), before)
    assert isinstance(model[1], SixteenBitDropout)
    assert model[2][0].p == 0.5
    assert not model[1].training
