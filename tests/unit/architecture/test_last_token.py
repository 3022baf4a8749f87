"""A classifier that reads the last token reads the last one of the text, whatever pads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from classifier_families import small_config
from transformers import AutoModelForSequenceClassification

from anneal_serving.backends.last_token import read_last_token, reads_last_token

ROWS = [[5, 6, 7], [9, 8, 7, 6, 5, 4, 3, 2, 10, 11, 12], [5, 6, 7, 0], [4, 5]]


def classifier(family: str, **more: object) -> torch.nn.Module:
    torch.manual_seed(0)
    config = small_config(family, vocab_size=64, num_labels=3, **more)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(3)
    return model


def logits(model: torch.nn.Module, rows: list[list[int]], pad: int = 0) -> np.ndarray:
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = 1
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=mask).logits.numpy()


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "llama", "opt"])
@pytest.mark.parametrize("padding", [None, 0, 3])
def test_a_row_answers_the_same_alone_and_in_any_padded_batch(family, padding):
    model = classifier(family, pad_token_id=padding)
    read_last_token(model)
    alone = np.concatenate([logits(model, [row]) for row in ROWS])
    for pad in (0, 3, 63):
        assert np.allclose(logits(model, ROWS, pad), alone, atol=1e-5), pad
    assert reads_last_token(model)


@pytest.mark.parametrize("padding", [None, 0])
def test_the_last_token_counts_though_it_is_the_one_that_pads(padding):
    model = classifier("gpt2", pad_token_id=padding)
    read_last_token(model)
    without, ending = logits(model, [[5, 6, 7]]), logits(model, [[5, 6, 7, 0]])
    assert np.abs(without - ending).max() > 1e-2


def test_an_encoder_is_left_as_it_is():
    model = classifier("bert")
    before = logits(model, ROWS)
    read_last_token(model)
    assert np.array_equal(logits(model, ROWS), before)
    assert not reads_last_token(model)


def test_threads_that_ask_at_the_same_time_get_their_own_rows():
    model = classifier("gpt2")
    read_last_token(model)
    alone = [logits(model, [row]) for row in ROWS]
    with ThreadPoolExecutor(4) as threads:
        for index, answer in enumerate(threads.map(lambda n: logits(model, [ROWS[n % 4]]), range(64))):
            assert np.allclose(answer, alone[index % 4], atol=1e-6)
