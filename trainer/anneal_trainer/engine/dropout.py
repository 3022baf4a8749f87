"""Dropout masks that are cheap to draw on a CPU.

PyTorch draws one number of its generator for each element there, which takes a tenth of a small encoder's training
step. Sixteen bits an element are enough to drop one in ten, and a draw has sixty-four.
"""

from __future__ import annotations

import torch
from torch import nn

_ELEMENTS_PER_DRAW = 4
_LEAST = -(2**15)
_VALUES = 2**16


class SixteenBitDropout(nn.Dropout):
    """Dropout (Srivastava et al., 2014) whose rate is rounded to a multiple of 2^-16. Draws from torch's generator."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  # the name that torch gives it
        """Returns the input with a share `p` of its elements zero and the others scaled up, in training."""
        if not self.training or self.p == 0:
            return input
        draws = torch.empty(-(-input.numel() // _ELEMENTS_PER_DRAW), dtype=torch.int64).random_(
            -(2**63), None
        )
        bits = draws.view(torch.int16)[: input.numel()].view(input.shape)
        kept = bits >= round(self.p * _VALUES) + _LEAST
        return input * (kept.to(input.dtype) / (1 - self.p))


def use_cheap_dropout(model: nn.Module) -> None:
    """Replaces every `nn.Dropout` below a model that is trained on a CPU."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, SixteenBitDropout(child.p).train(child.training))
