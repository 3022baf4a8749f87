"""What is found out of an architecture before it is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from architectures import PAGE, page, recorded
from classifier_families import texts_of, write_base

from anneal_api.errors import ModelNotFound
from anneal_api.job import FineTuneJobSpec
from anneal_serving.codecs import codec_for
from anneal_trainer.architecture.checkpoint import classifier_config
from anneal_trainer.architecture.traits import Traits
from anneal_trainer.architecture.trial import stretched, try_architecture
from anneal_trainer.base_model import BaseModel, predictor_config, tokenizer_files

LABELS = ["neg", "pos"]


def traits(folder: Path, max_length: int = 32) -> Traits:
    base = BaseModel(folder / "base", "./base", "")
    spec = FineTuneJobSpec.model_validate(
        {
            "task": "text-classification",
            "model": {"source": "./base"},
            "data": {"train": {"uri": "train.csv"}},
            "training": {"maxLength": max_length},
        }
    )
    tokenizer_files(base, folder)
    predictor = predictor_config(base, spec, LABELS, "model.safetensors")
    config = classifier_config(base, LABELS)
    return try_architecture(config, predictor, codec_for(folder, predictor), texts_of([3, 12, 7]))


def test_the_page_of_families_says_what_was_found():
    assert PAGE.read_text(encoding="utf-8") == page(recorded()), "run `make docs`"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("family", "more", "expected"),
    [
        # Positions begin behind the padding token's.
        ("roberta", {"max_position_embeddings": 34, "pad_token_id": 1}, Traits(longest=32)),
        ("gpt2", {"n_positions": 24}, Traits(reads_last_token=True, longest=24)),
        ("fnet", {"max_position_embeddings": 64}, Traits(pads=False)),
    ],
)
def test_it_finds_out_what_a_family_can_do(tmp_path, family, more, expected):
    write_base(family, tmp_path / "base", vocab_size=64, **more)
    assert traits(tmp_path, max_length=40) == expected


@pytest.mark.integration
def test_what_cannot_be_served_is_refused_before_training(tmp_path, capfd):
    write_base("longformer", tmp_path / "base", vocab_size=64)
    capfd.readouterr()
    with pytest.raises(ModelNotFound, match="A model of type ") as refusal:
        traits(tmp_path)
    assert len(str(refusal.value)) < 1000
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


def test_a_row_is_stretched_between_its_first_and_its_last_token():
    row = np.array([1, 5, 6, 7, 2], dtype=np.int32)
    assert stretched(row, 9).tolist() == [1, 5, 6, 7, 5, 6, 7, 5, 2]
    assert stretched(row, 3).tolist() == [1, 5, 2]
    assert stretched(row, 1).tolist() == [1]
