"""Small base models of many families, for tests of what all of them have in common."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from anneal_trainer.architecture.miniature import narrowed

FAMILIES = tuple(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)
"""Every family that transformers has a classifier of."""

SETTINGS: dict[str, dict[str, Any]] = {
    # What every published model of the family says and the configuration's defaults do not.
    "esm": {"vocab_size": 64, "pad_token_id": 1, "mask_token_id": 32},
    "mt5": {"decoder_start_token_id": 0},
    "t5": {"decoder_start_token_id": 0},
    "umt5": {"decoder_start_token_id": 0},
    "xmod": {"default_language": "en_XX"},
}
MOST_PARAMETERS = 150_000_000
WORDS = tuple(f"word{number}" for number in range(24))
LAST_WORD = "!"
"""A word whose token is the one that pads, where the family's configuration names one."""


def small_config(family: str, **more: Any) -> PreTrainedConfig:
    """Returns a family's configuration, narrow and shallow, with a vocabulary and positions as the family has them."""
    return narrowed(AutoConfig.for_model(family, **{**SETTINGS.get(family, {}), **more}))


def write_base(family: str, folder: Path, **more: Any) -> PreTrainedModel:
    """Writes a base model with random weights and a tokenizer that knows `WORDS`, as Hugging Face saves them."""
    folder.mkdir(parents=True, exist_ok=True)
    config = small_config(family, **more)
    with torch.device("meta"):
        count = sum(weights.numel() for weights in AutoModel.from_config(config).parameters())
    if count > MOST_PARAMETERS:
        raise ValueError(f"{count} parameters, narrowed as it is")
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModel.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    write_tokenizer(folder, config)
    return model


def write_tokenizer(folder: Path, config: PreTrainedConfig) -> None:
    """Writes a tokenizer of words that ends a text in the family's end token, if it has one."""
    text = config.get_text_config()
    named = {
        "[PAD]": _token(text, "pad_token_id"),
        "[EOS]": _token(text, "eos_token_id"),
    }
    special = {name: token for name, token in named.items() if token is not None}
    taken = set(special.values())
    free = (number for number in range(2, text.vocab_size) if number not in taken)
    vocabulary = {word: next(free) for word in (*WORDS, "[UNK]")} | special
    if "[PAD]" not in special:
        vocabulary[LAST_WORD] = 0
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if "[EOS]" in special:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A [EOS]", special_tokens=[("[EOS]", special["[EOS]"])]
        )
    more = {"pad_token": "[PAD]"} if "[PAD]" in special else {}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", **more).save_pretrained(folder)


def texts_of(lengths: Sequence[int]) -> list[str]:
    """Returns texts of as many words each, all different."""
    return [
        " ".join(WORDS[(start * 7 + place * (start + 3)) % len(WORDS)] for place in range(length))
        for start, length in enumerate(lengths)
    ]


def edit_json(path: Path, **fields: Any) -> None:
    """Changes fields of a JSON file; None takes one out."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content.update(fields)
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


def _token(config: PreTrainedConfig, field: str) -> int | None:
    token = getattr(config, field, None)
    return token if isinstance(token, int) and 0 <= token < config.vocab_size else None
