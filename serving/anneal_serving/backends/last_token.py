"""Where a decoder classifies by its last token: the last one of the text, told by the attention mask.

transformers looks for the last token that is not `pad_token_id`. A text that ends in that token (an end-of-text token
that also pads, or any word where the model names none) is then read without it, and batches are refused where there is
no padding token at all. Which tokens are text, the attention mask knows.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from transformers import PreTrainedModel

_TOKEN_LOGITS = 3
"""Dimensions of logits that a head gives for each token: [rows, tokens, labels]."""


_READS = "_reads_last_token"


def reads_last_token(model: PreTrainedModel) -> bool:
    """Returns whether a model has answered for the last token of a row since `read_last_token`."""
    return bool(getattr(model, _READS, False))


def read_last_token(model: PreTrainedModel) -> None:
    """Makes a classifier of each token answer for the last token of each row, [rows, labels]; others stay as they are.

    Its answer does not depend on which token pads, nor on how much padding there is on the right. The model must be
    called with `attention_mask` as a keyword. Where its configuration names no padding token, it is told 0, without
    which it takes no batches: save it with the `pad_token_id` that it came with.
    """
    text = model.config.get_text_config()
    if text.pad_token_id is None:
        text.pad_token_id = 0
    call = threading.local()  # several threads may ask one model

    def note_mask(_model: torch.nn.Module, _args: object, kwargs: dict[str, Any]) -> None:
        mask = kwargs.get("attention_mask")
        call.last = None if mask is None else mask.to(torch.int64).sum(1) - 1

    def read(_head: torch.nn.Module, _args: object, logits: object) -> torch.Tensor | None:
        if call.last is None or not isinstance(logits, torch.Tensor) or logits.dim() != _TOKEN_LOGITS:
            return None
        setattr(model, _READS, True)
        rows = torch.arange(logits.shape[0], device=logits.device)
        # The same at every place, so that it does not matter which one the model takes.
        return logits[rows, call.last.to(logits.device)].unsqueeze(1).expand_as(logits)

    model.register_forward_pre_hook(note_mask, with_kwargs=True)
    for head in _output_layers(model):
        head.register_forward_hook(read)


def _output_layers(model: PreTrainedModel) -> list[torch.nn.Module]:
    """Returns the layers above the base model that can give logits."""
    return [
        layer
        for child in model.children()
        if child is not model.base_model
        for layer in child.modules()
        if getattr(layer, "out_features", None) == model.config.num_labels
    ]
