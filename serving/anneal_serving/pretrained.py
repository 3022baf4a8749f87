"""Loads what Hugging Face libraries saved in a folder: from that folder alone, and without running code of the model's.

The one place that calls `from_pretrained`. Left to themselves these calls look a name up on the hub where there is no
folder of it, ask on the terminal whether a model's own Python may run, and unpickle weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.utils import logging


@dataclass(frozen=True, slots=True)
class LoadingReport:
    """How a checkpoint's tensors met the parameters of a model.

    Attributes:
        missing: Parameters that the checkpoint lacks; they were drawn at random.
        mismatched: Parameters that have another shape in the checkpoint; they were drawn at random.
        unexpected: Tensors of the checkpoint that the model has no parameter for.
    """

    missing: frozenset[str]
    mismatched: frozenset[str]
    unexpected: frozenset[str]


def load_config(folder: Path) -> PreTrainedConfig:
    """Returns a model's configuration.

    Raises:
        ValueError: This version of transformers does not know the model's type.
        OSError: There is no configuration in the folder.
    """
    with _quietly():
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            _present(folder), local_files_only=True, trust_remote_code=False
        )
    return config


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Returns a model's tokenizer. What is wrong with one is raised as anything: each library has errors of its own."""
    with _quietly():
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            _present(folder), use_fast=True, local_files_only=True, trust_remote_code=False
        )
    return tokenizer


def load_classifier(
    folder: Path, config: PreTrainedConfig | None = None, *, device: str | None = None
) -> tuple[PreTrainedModel, LoadingReport]:
    """Returns a model with a head for text classification, in fp32, and how its weights were met.

    Args:
        folder: The model's folder.
        config: Used in place of the folder's own.
        device: `meta` reads no tensor: what comes back has shapes alone. None: the CPU.

    Raises:
        ValueError: The model's type has no such head.
        OSError: The weights are missing, or not in safetensors.
    """
    # device_map needs the package accelerate, which a server can do without.
    placed = {"device_map": device} if device else {}
    with _quietly():
        model, found = AutoModelForSequenceClassification.from_pretrained(
            _present(folder),
            config=config or load_config(folder),
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # what did not fit is in the report
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
            **placed,
        )
    return model, LoadingReport(
        frozenset(found["missing_keys"]),
        frozenset(name for name, *_ in found["mismatched_keys"]),
        frozenset(found["unexpected_keys"]),
    )


def _present(folder: Path) -> Path:
    # A relative path of no folder here is a name of the hub's to the library, and may be in its cache.
    if not folder.is_absolute() or not folder.is_dir():
        raise OSError(f"there is no folder {folder}")
    return folder


@contextmanager
def _quietly() -> Iterator[None]:
    """Keeps the library's advice, its bars and its table of missing weights away: the report has it all."""
    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
