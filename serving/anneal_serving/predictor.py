"""The one object that answers: codec and backend together.

Evaluation, gate, command line and server all answer through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from anneal_api.errors import ArtifactInvalid
from anneal_api.published import PredictorConfig
from anneal_serving.backends import Backend, load_backend
from anneal_serving.codecs import Classification, Codec, codec_for


class Predictor:
    """Answers texts with a model.

    Every row is computed alone: on a CPU that is fastest (no padding is computed), and a row's answer never
    depends on its company, as it would with dynamic int8. Several rows are computed at the same time.

    Args:
        config: Task, labels, codec settings.
        codec: Makes tensors of texts and answers of logits.
        backend: Computes the model.
        threads: Rows that are computed at the same time.
    """

    def __init__(self, config: PredictorConfig, codec: Codec, backend: Backend, *, threads: int = 1) -> None:
        self.config = config
        self.codec = codec
        self.threads = threads
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="predictor")
        """The threads that compute. A server runs single rows on them; nothing else should."""
        self._backend = backend

    @classmethod
    def load(cls, folder: Path, config: PredictorConfig, *, threads: int = 1) -> Self:
        """Returns the Predictor of a model, after a first answer: a model that cannot answer fails here.

        Args:
            folder: The model's folder.
            config: What its manifest says of it.
            threads: Rows that are computed at the same time.

        Raises:
            ArtifactInvalid: A file of the model is missing or cannot be read, or it does not fit the labels.
        """
        predictor = cls(config, codec_for(folder, config), load_backend(folder, config), threads=threads)
        outputs = predictor.row_logits(predictor.codec.encode(["A first text."])[0]).shape
        if outputs != (len(config.labels),):
            raise ArtifactInvalid(
                f"The model has outputs of shape {outputs} for {len(config.labels)} labels.",
                where=str(folder / config.model_file),
                remedy="Publish the model again.",
            )
        return predictor

    @property
    def labels(self) -> list[str]:
        """Label of each output, in the order of the logits."""
        return self.config.labels

    def predict(self, texts: Sequence[str]) -> list[Classification]:
        """Returns the answer for each text, in the order of the texts.

        Raises:
            RequestInvalid: A text holds half a surrogate pair, which is no character.
        """
        return self.codec.decode(self.logits(texts)) if texts else []

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns the model's outputs [texts, labels], in the order of the texts.

        Raises:
            RequestInvalid: A text holds half a surrogate pair, which is no character.
        """
        rows = self.codec.encode(texts)
        logits = np.empty((len(rows), len(self.labels)), dtype=np.float32)
        spread = self.threads > 1 and len(rows) > 1
        apply = self.executor.map if spread else map
        for index, answer in enumerate(apply(self.row_logits, rows)):
            logits[index] = answer
        return logits

    def row_logits(self, row: NDArray[np.int32]) -> NDArray[np.float32]:
        """Returns the model's outputs [labels] for one text's token ids, computed in the caller's thread."""
        logits: NDArray[np.float32] = self._backend.run(self.codec.collate([row]))[0]
        return logits

    def close(self) -> None:
        """Waits for the rows in work and ends the threads."""
        self.executor.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
