"""Tokenizers that are there as a SentencePiece file alone, as DeBERTa-v3, XLM-R, ALBERT and RemBERT often come."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import sentencepiece
from tokenizers import Tokenizer

from anneal_trainer.base_model import BaseModel, check_folder, codec_settings, tokenizer_files

SENTENCES = ["the film was a story about people who met in town", "and the music felt lovely and warm"] * 20


@pytest.fixture(scope="module")
def sentencepiece_model() -> bytes:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=written,
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        pad_piece="[PAD]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        unk_piece="[UNK]",
        user_defined_symbols=["[MASK]"],
        minloglevel=2,
    )
    return written.getvalue()


@pytest.mark.parametrize(
    ("file", "tokenizer_class", "model_type"),
    [
        ("spm.model", "DebertaV2Tokenizer", "deberta-v2"),
        ("sentencepiece.model", "RemBertTokenizer", "rembert"),
        ("spiece.model", "AlbertTokenizer", "albert"),
        ("sentencepiece.bpe.model", "XLMRobertaTokenizer", "xlm-roberta"),
    ],
)
def test_it_becomes_the_tokenizer_that_serves(
    tmp_path, sentencepiece_model, file, tokenizer_class, model_type
):
    from classifier_families import write_base

    folder = tmp_path / "base"
    write_base(model_type, folder, vocab_size=64)
    for path in folder.glob("*token*"):
        path.unlink()
    (folder / file).write_bytes(sentencepiece_model)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": tokenizer_class}))
    check_folder(folder, "./base")

    base = BaseModel(folder, "./base", "")
    out = Path(tmp_path / "out")
    out.mkdir()
    tokenizer_files(base, out)
    tokens = Tokenizer.from_file(str(out / "tokenizer.json")).encode("the film was lovely").tokens
    assert "the film was lovely" in "".join(tokens).replace("▁", " ")
    assert 0 <= codec_settings(base, 32).pad_token_id < 64
