"""Text classification: one label for a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from anneal_api.errors import ArtifactInvalid, RequestInvalid
from anneal_api.published import CodecSettings, PredictorConfig


@dataclass(frozen=True, slots=True)
class Classification:
    """The answer for one text.

    Attributes:
        label: The most probable label.
        score: Its probability.
        scores: Every label's probability, highest first.
    """

    label: str
    score: float
    scores: dict[str, float]


class TextClassificationCodec:
    """Makes token ids and padded batches of texts, and answers of logits. Safe to share between threads.

    Args:
        tokenizer: Taken over: its padding and truncation are set here.
        settings: The longest input, the padding token and the names of the model's inputs.
        labels: Label of each output, in the order of the logits.
    """

    def __init__(self, tokenizer: Tokenizer, settings: CodecSettings, labels: Sequence[str]) -> None:
        tokenizer.no_padding()
        tokenizer.enable_truncation(settings.max_length, direction="right")
        self.settings = settings
        self.labels = tuple(labels)
        self._tokenizer = tokenizer
        self._special_tokens = tokenizer.num_special_tokens_to_add(is_pair=False)

    @classmethod
    def from_folder(cls, folder: Path, config: PredictorConfig) -> Self:
        """Returns the codec whose tokenizer lies in a model's folder.

        Raises:
            ArtifactInvalid: The tokenizer is missing or cannot be read.
        """
        path = folder / config.codec.tokenizer_file
        try:
            content = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactInvalid(
                f"The tokenizer cannot be read: {error}.",
                where=str(path),
                remedy="Publish the model again, or copy its whole folder again.",
            ) from error
        try:
            tokenizer = Tokenizer.from_str(content)
        except Exception as error:  # the library raises bare Exception for every fault of the file
            raise ArtifactInvalid(
                f"The tokenizer is not one that the `tokenizers` library understands: {error}.",
                where=str(path),
                remedy="Save it as `tokenizer.json` with a current version of transformers.",
            ) from error
        return cls(tokenizer, config.codec, config.labels)

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Returns the token ids of each text, special tokens included, cut at the end to `max_length`.

        Raises:
            RequestInvalid: A text holds half a surrogate pair, which is no character.
        """
        return [np.array(encoding.ids, dtype=np.int32) for encoding in self._encodings(texts)]

    def lengths(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Returns the tokens of each text before the cut, special tokens included.

        Raises:
            RequestInvalid: A text holds half a surrogate pair, which is no character.
        """
        return np.array([self._length(encoding) for encoding in self._encodings(texts)], dtype=np.int64)

    def collate(self, rows: Sequence[NDArray[np.int32]]) -> dict[str, NDArray[np.int64]]:
        """Returns the model's inputs for rows of token ids.

        Args:
            rows: One array of token ids a row, at least one.

        Returns:
            For each name in `settings.inputs` an array [rows, longest], padded on the right.

        Raises:
            ArtifactInvalid: The model has an input that this codec does not make.
        """
        longest = max(len(row) for row in rows)
        batch: dict[str, NDArray[np.int64]] = {}
        for name in self.settings.inputs:
            if name == "input_ids":
                values = np.full((len(rows), longest), self.settings.pad_token_id, dtype=np.int64)
                for target, row in zip(values, rows, strict=True):
                    target[: len(row)] = row
            elif name == "attention_mask":
                values = np.zeros((len(rows), longest), dtype=np.int64)
                for target, row in zip(values, rows, strict=True):
                    target[: len(row)] = 1
            elif name == "token_type_ids":
                values = np.zeros((len(rows), longest), dtype=np.int64)
            else:
                raise ArtifactInvalid(
                    f"The model has an input `{name}`, which text classification does not make.",
                    remedy="Use an encoder with the inputs input_ids, attention_mask, token_type_ids.",
                )
            batch[name] = values
        return batch

    def decode(self, logits: NDArray[np.float32]) -> list[Classification]:
        """Returns the classification of each row.

        Args:
            logits: Outputs of the model, [rows, labels].
        """
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        exponentials = np.exp(shifted)
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        order = np.argsort(-probabilities, axis=1, kind="stable")
        return [
            self._classification(row.tolist(), places.tolist())
            for row, places in zip(probabilities, order, strict=True)
        ]

    def _classification(self, probabilities: list[float], order: list[int]) -> Classification:
        scores = {self.labels[place]: probabilities[place] for place in order}
        return Classification(self.labels[order[0]], probabilities[order[0]], scores)

    def _encodings(self, texts: Sequence[str]) -> list[Encoding]:
        # The batch call also for one text: it lets other threads of Python run meanwhile, `encode` does not.
        try:
            return self._tokenizer.encode_batch_fast(list(texts))
        except TypeError as error:
            for index, text in enumerate(texts):
                if not is_unicode(text):
                    raise RequestInvalid(
                        "The text holds half a surrogate pair, which is no character.",
                        where=f"text {index + 1}",
                        remedy="Send text that can be written as UTF-8.",
                    ) from error
            raise

    def _length(self, encoding: Encoding) -> int:
        # What the cut takes off comes back in pieces that carry special tokens of their own.
        cut_off = sum(len(piece.ids) - self._special_tokens for piece in encoding.overflowing)
        return len(encoding.ids) + cut_off


def is_unicode(text: str) -> bool:
    """Returns whether a text can be written as UTF-8: false where it holds half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
