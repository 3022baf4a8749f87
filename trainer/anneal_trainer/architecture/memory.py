"""Remembers what came of trying an architecture: every job with a base model of that shape would find the same.

What is kept is a folder of small files in the user's cache. It may go at any time, and need not be writable.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from transformers import PreTrainedConfig

from anneal_api.published import PredictorConfig
from anneal_trainer.architecture.traits import Traits
from anneal_trainer.environment import library_versions

_REVISION = 1
"""Raised when what a trial looks at changes."""

_OF_THE_JOB = {"_name_or_path", "id2label", "label2id"}
"""Fields of a configuration that differ from job to job, and decide nothing here but how many labels there are."""


def remembered(
    config: PreTrainedConfig, predictor: PredictorConfig, find_out: Callable[[], Traits]
) -> Traits:
    """Returns what an architecture can do, from an earlier trial with the same libraries where there was one.

    Args:
        config: The base model's configuration, with the labels of the task.
        predictor: How the trained model will answer.
        find_out: Tries it. What it raises is not remembered.
    """
    path = _folder() / f"{_key(config, predictor)}.json"
    with suppress(OSError, ValueError):
        return Traits.model_validate_json(path.read_bytes())
    traits = find_out()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(traits.model_dump_json(), encoding="utf-8")
        partial.replace(path)
    return traits


def _folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  never raises
    return Path(cache) / "anneal" / "architectures"


def _key(config: PreTrainedConfig, predictor: PredictorConfig) -> str:
    shape = {name: value for name, value in config.to_dict().items() if name not in _OF_THE_JOB}
    identity = [
        _REVISION,
        library_versions(),
        shape,
        len(predictor.labels),
        predictor.task.value,
        predictor.codec.model_dump(mode="json"),
    ]
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:32]
