"""Text in, tensors out; tensors in, an answer out: one codec a task, with numpy and tokenizers only.

Training, evaluation and serving call the same codec, so that what was measured is what is served.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from anneal_api.errors import ArtifactInvalid
from anneal_api.published import PredictorConfig
from anneal_api.tasks import Task
from anneal_serving.codecs.text_classification import Classification, TextClassificationCodec

__all__ = ["Classification", "Codec", "TextClassificationCodec", "codec_for"]


class Codec(Protocol):
    """What every task's codec can do."""

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Returns the token ids of each text, special tokens included, cut to the longest input."""

    def lengths(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Returns the tokens of each text before the cut."""

    def collate(self, rows: Sequence[NDArray[np.int32]]) -> dict[str, NDArray[np.int64]]:
        """Returns the model's inputs for rows of token ids, [rows, longest] each."""

    def decode(self, logits: NDArray[np.float32]) -> list[Classification]:
        """Returns the answer for each row of logits."""


def codec_for(folder: Path, config: PredictorConfig) -> Codec:
    """Returns the codec of a model.

    Args:
        folder: Holds the tokenizer.
        config: Names the task, the labels and the codec's settings.

    Raises:
        ArtifactInvalid: The tokenizer cannot be read, or this version of anneal does not know the task.
    """
    if config.task is Task.TEXT_CLASSIFICATION:
        return TextClassificationCodec.from_folder(folder, config)
    raise ArtifactInvalid(
        f"Models for the task `{config.task}` cannot be read by this version of anneal.",
        where=str(folder),
        remedy="Install the version of anneal that made the model, or a newer one.",
    )
