from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_model import LABELS, MAX_LENGTH, TEXTS
from tokenizers import Tokenizer

from anneal_api.errors import ArtifactInvalid, RequestInvalid
from anneal_api.published import PredictorConfig
from anneal_api.tasks import Task
from anneal_serving.codecs import Codec, codec_for

CLS, SEP = 2, 3


@pytest.fixture(scope="module")
def codec(tiny: tuple[Path, PredictorConfig]) -> Codec:
    return codec_for(*tiny)


@pytest.fixture(scope="module")
def plain_ids(tiny: tuple[Path, PredictorConfig]) -> list[list[int]]:
    """The token ids without any cut or padding."""
    tokenizer = Tokenizer.from_file(str(tiny[0] / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return [tokenizer.encode(text).ids for text in TEXTS]


def test_a_short_text_keeps_all_its_tokens_and_gets_no_padding(
    codec: Codec, plain_ids: list[list[int]]
) -> None:
    for row, expected in zip(codec.encode(TEXTS), plain_ids, strict=True):
        assert row.dtype == np.int32
        if len(expected) <= MAX_LENGTH:
            assert row.tolist() == expected


def test_a_long_text_is_cut_at_the_end_and_keeps_its_special_tokens(
    codec: Codec, plain_ids: list[list[int]]
) -> None:
    longest = max(range(len(TEXTS)), key=lambda index: len(plain_ids[index]))
    row = codec.encode([TEXTS[longest]])[0].tolist()
    assert len(plain_ids[longest]) > MAX_LENGTH
    assert row == [*plain_ids[longest][: MAX_LENGTH - 1], SEP]


def test_lengths_are_those_before_the_cut(codec: Codec, plain_ids: list[list[int]]) -> None:
    very_long = " ".join(TEXTS) * 5
    assert codec.lengths(TEXTS).tolist() == [len(ids) for ids in plain_ids]
    assert codec.lengths([very_long])[0] > 10 * MAX_LENGTH


def test_a_batch_is_padded_on_the_right_to_its_longest_row(codec: Codec) -> None:
    rows = [np.array([CLS, 7, 8, SEP], dtype=np.int32), np.array([CLS, SEP], dtype=np.int32)]
    batch = codec.collate(rows)
    assert {name: values.tolist() for name, values in batch.items()} == {
        "input_ids": [[CLS, 7, 8, SEP], [CLS, SEP, 0, 0]],
        "attention_mask": [[1, 1, 1, 1], [1, 1, 0, 0]],
        "token_type_ids": [[0, 0, 0, 0], [0, 0, 0, 0]],
    }
    assert {values.dtype for values in batch.values()} == {np.dtype(np.int64)}


def test_scores_are_probabilities_with_the_highest_first(codec: Codec) -> None:
    (answer,) = codec.decode(np.log(np.array([[0.2, 0.1, 0.7]], dtype=np.float32)))
    assert answer.label == LABELS[2]
    assert answer.score == pytest.approx(0.7)
    assert list(answer.scores) == [LABELS[2], LABELS[0], LABELS[1]]
    assert list(answer.scores.values()) == pytest.approx([0.7, 0.2, 0.1])


def test_extreme_outputs_do_not_overflow(codec: Codec) -> None:
    (answer,) = codec.decode(np.array([[1e30, -1e30, 0.0]], dtype=np.float32))
    assert answer.scores == {LABELS[0]: 1.0, LABELS[2]: 0.0, LABELS[1]: 0.0}


def test_a_tie_goes_to_the_earlier_label_as_argmax_has_it(codec: Codec) -> None:
    logits = np.array([[1.0, 2.0, 2.0]], dtype=np.float32)
    assert codec.decode(logits)[0].label == LABELS[int(logits[0].argmax())]


def test_half_a_surrogate_pair_is_refused_and_says_which_text(codec: Codec) -> None:
    with pytest.raises(RequestInvalid, match="surrogate") as caught:
        codec.encode(["fine", "\ud800"])
    assert caught.value.where == "text 2"


@pytest.mark.parametrize(
    "text", ["\x00", "\x00a\x00", "\U0010ffff", "e\u0301" * 500, "\u202eabc", "a" * 20_000]
)
def test_odd_characters_are_encoded(codec: Codec, text: str) -> None:
    (row,) = codec.encode([text])
    assert 2 <= len(row) <= MAX_LENGTH


def test_a_broken_tokenizer_is_an_invalid_artifact(
    tiny: tuple[Path, PredictorConfig], tmp_path: Path
) -> None:
    with pytest.raises(ArtifactInvalid, match="cannot be read"):
        codec_for(tmp_path, tiny[1])
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(ArtifactInvalid, match=r"tokenizer\.json"):
        codec_for(tmp_path, tiny[1])


def test_a_task_without_a_codec_is_named(tiny: tuple[Path, PredictorConfig]) -> None:
    folder, config = tiny
    with pytest.raises(ArtifactInvalid, match="summarization"):
        codec_for(folder, config.model_copy(update={"task": Task.SUMMARIZATION}))
