"""Tries a base model's architecture before training: does it answer, read padding, take the longest input, export?

All of it is a property of the model's classes and its configuration, so a small model with random weights shows it in
seconds, and what would fail after hours of training fails before.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedConfig, PreTrainedModel

from anneal_api.errors import ModelNotFound
from anneal_api.published import BackendKind, PredictorConfig
from anneal_serving.backends import load_backend
from anneal_serving.backends.last_token import read_last_token, reads_last_token
from anneal_serving.codecs import Codec
from anneal_trainer.architecture.miniature import miniature
from anneal_trainer.architecture.traits import Traits
from anneal_trainer.compress.export import export_onnx
from anneal_trainer.quiet import quiet_libraries

Row = NDArray[np.int32]
Collate = Callable[[Sequence[Row]], dict[str, NDArray[np.int64]]]

_WHERE = "spec.model.source"
_LENGTHS = (4, 9, 23, 40)
"""Tokens of the rows that are answered alone, together and by the exported model."""

_TEXTS = 32

_SAME = 2e-5
"""Largest difference, as a share of the largest logit, that order of addition alone makes in fp32."""

_EXPORTED_SAME = 1e-3
_ANOTHER_FAMILY = "Choose a model of another family; docs/architectures.md has those that are known to work."


def try_architecture(
    config: PreTrainedConfig, predictor: PredictorConfig, codec: Codec, texts: Sequence[str]
) -> Traits:
    """Returns what an architecture can do.

    Args:
        config: The base model's configuration, with the labels of the task.
        predictor: How the trained model will answer; it names the inputs and the longest one.
        codec: Makes the model's inputs, as in training and serving.
        texts: Texts of the data; the first ones are looked at.

    Raises:
        ModelNotFound: It cannot be built, does not answer, or cannot be exported for serving.
    """
    wanted = predictor.codec.max_length
    collate = codec.collate
    row = max(codec.encode(texts[:_TEXTS]), key=len)
    found = Traits()

    def prove(model: PreTrainedModel) -> None:
        read_last_token(model)
        longest = _longest_read(model, collate, row, wanted)
        rows = [stretched(row, min(length, longest)) for length in _LENGTHS]
        alone = np.concatenate([_logits(model, collate([each])) for each in rows])
        _require_same_as_onnx(model, predictor, collate, rows, alone)
        found.longest = None if longest == wanted else longest
        found.pads = _pads(model, collate, rows, alone)
        found.reads_last_token = reads_last_token(model)

    try:
        with _one_thread(), quiet_libraries():
            found.tried = miniature(config, prove) is not None
    except ModelNotFound:
        raise
    except Exception as error:
        raise ModelNotFound(
            f"A model of type {config.model_type} cannot be used for {predictor.task.value}: {_reason(error)}",
            where=_WHERE,
            remedy=_ANOTHER_FAMILY,
        ) from error
    return found


@contextmanager
def _one_thread() -> Iterator[None]:
    """Computes so small a model with one thread: more of them wait for each other longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def stretched(row: Row, length: int) -> Row:
    """Returns a row of a given length: the first token, those in between over and over, and the last one."""
    if length <= 1:
        return row[:1]
    middle = row[1:-1] if len(row) > 2 else row[:1]  # noqa: PLR2004  # first and last
    return np.concatenate([row[:1], np.resize(middle, length - 2), row[-1:]]).astype(np.int32)


def _logits(model: PreTrainedModel, batch: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
    with torch.inference_mode():
        logits = model(**{name: torch.from_numpy(values) for name, values in batch.items()}).logits
    if logits.shape != (len(batch["input_ids"]), model.config.num_labels):
        raise ValueError(f"it answers {tuple(logits.shape)} where a row has {model.config.num_labels} labels")
    if not torch.isfinite(logits).all():
        raise ValueError("its logits are not finite numbers")
    answered: NDArray[np.float32] = logits.float().numpy()
    return answered


def _pads(model: PreTrainedModel, collate: Collate, rows: Sequence[Row], alone: NDArray[np.float32]) -> bool:
    try:
        together = _logits(model, collate(rows))
    except Exception:  # noqa: BLE001  it takes no padded batches, for whatever reason
        return False
    return bool(np.abs(together - alone).max() <= _SAME * np.abs(alone).max())


def _longest_read(model: PreTrainedModel, collate: Collate, row: Row, wanted: int) -> int:
    """Returns the tokens that the model reads, at most those that are wanted."""

    def reads(length: int) -> bool:
        try:
            _logits(model, collate([stretched(row, length)]))
        except Exception:  # noqa: BLE001  whatever it is, the table of positions ends
            return False
        return True

    if reads(wanted):
        return wanted
    reading, failing = 1, wanted
    while failing - reading > 1:
        middle = (reading + failing) // 2
        reading, failing = (middle, failing) if reads(middle) else (reading, middle)
    return reading


def _require_same_as_onnx(
    model: PreTrainedModel,
    predictor: PredictorConfig,
    collate: Collate,
    rows: Sequence[Row],
    alone: NDArray[np.float32],
) -> None:
    with tempfile.TemporaryDirectory(prefix="anneal-trial-") as scratch:
        folder = Path(scratch)
        served = predictor.model_copy(update={"backend": BackendKind.ONNXRUNTIME, "model_file": "model.onnx"})
        export_onnx(model, predictor.codec, folder / served.model_file)
        try:
            backend = load_backend(folder, served)
            exported = np.concatenate([backend.run(collate([each])) for each in rows])
        except Exception as error:
            raise _not_served(model, _reason(error)) from error
    difference = float(np.abs(exported - alone).max() / np.abs(alone).max())
    if not difference <= _EXPORTED_SAME:
        raise _not_served(model, f"its logits differ by {difference:.1g} of the largest one.")


def _not_served(model: PreTrainedModel, reason: str) -> ModelNotFound:
    return ModelNotFound(
        f"A model of type {model.config.model_type} does not answer as ONNX what it answers in PyTorch: {reason}",
        where=_WHERE,
        remedy=_ANOTHER_FAMILY,
    )


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0] if lines else type(error).__name__
    return f"{reason.rstrip('.')}."
