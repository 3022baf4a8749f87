"""The longest input that a configuration tells is the one that its model takes."""

from __future__ import annotations

import pytest
import torch
from classifier_families import small_config
from transformers import AutoModelForSequenceClassification

from anneal_trainer.base_model import BaseModel, describe

FAMILIES = (
    "bart", "bert", "big_bird", "biogpt", "camembert", "data2vec-text", "distilbert", "electra", "ernie", "esm", "gpt2",
    "ibert", "layoutlm", "longformer", "luke", "markuplm", "mbart", "mpnet", "mra", "nystromformer", "opt", "roberta",
    "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod", "yoso",
)  # fmt: skip
PLACES = 34


@pytest.mark.parametrize("family", FAMILIES)
def test_the_table_of_positions_ends_where_it_is_told_to(family, tmp_path):
    more = {} if family == "luke" else {"vocab_size": 64}
    config = small_config(family, max_position_embeddings=PLACES, **more)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    longest = describe(BaseModel(tmp_path, "./base", "")).max_positions
    assert longest is not None
    assert _reads(model, config, longest)
    assert not _reads(model, config, longest + 1)


def _reads(model: torch.nn.Module, config: object, length: int) -> bool:
    end = getattr(config, "eos_token_id", None)
    ids = torch.full((1, length), 10)
    if isinstance(end, int) and end < config.vocab_size:
        ids[0, -1] = end
    try:
        with torch.inference_mode():
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
    except (IndexError, RuntimeError):
        return False
    return True
