"""Which files of a folder are the base model: those that training reads, and whose content names it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from anneal_trainer.weights import WEIGHT_PATTERNS

VOCABULARIES = (
    "tokenizer.json",
    "vocab*.txt",
    "vocab*.json",
    "*vocab.json",
    "*.model",
    "*.spm",
    "*.codes",
    "*.tiktoken",
    "*.tokenizer",
    "*.vocab",
    "merges.txt",
    "dict.txt",
    "emoji.json",
    "normalizer.json",
    "byte_maps.json",
    "word_*.json",
)
"""Names of the files in which tokenizers keep their vocabularies, `*` for any part."""

MODEL_PATTERNS = (
    "config.json",
    *WEIGHT_PATTERNS,
    *VOCABULARIES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
"""Names of the files of a base model that training reads, `*` for any part."""


def is_one_of(name: str, patterns: Sequence[str]) -> bool:
    """Returns whether a file's name is among those that patterns stand for."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def model_files(folder: Path) -> list[Path]:
    """Returns the files of a model's folder that training reads, by name."""
    return [
        path for path in sorted(folder.iterdir()) if path.is_file() and is_one_of(path.name, MODEL_PATTERNS)
    ]


def content_digest(folder: Path) -> str:
    """Returns the SHA-256, in hex, over names and contents of the files that training reads."""
    state = hashlib.sha256()
    for path in model_files(folder):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        state.update(f"{path.name} {content}\n".encode())
    return state.hexdigest()
