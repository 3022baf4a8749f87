"""What a part of the pipeline leaves for the parts after it, which may run in other processes on other machines.

The rows may be replaced while a job trains, and a branch of the hub moves: whoever looked again would find other
inputs, and none of the results that belong to them. So the part that looked writes down what it saw.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anneal_api.job import FineTuneJobSpec
from anneal_trainer.base_model import BaseModel
from anneal_trainer.stage_keys import SHAPELESS_FIELDS, SHAPING_PARTS
from anneal_trainer.stages import StageFolder, StageResult

_FOLDER = "handover"


@dataclass(frozen=True, slots=True)
class HandOver:
    """What the earlier parts found out.

    Attributes:
        base: The base model as `prepare` resolved it. Its folder is that of the machine that did.
        results: The stages that they finished, by name; only those that still hold.
    """

    base: BaseModel
    results: Mapping[str, StageResult]


def write(
    stages: StageFolder,
    spec: FineTuneJobSpec,
    processes: int,
    base: BaseModel,
    results: Iterable[StageResult],
) -> None:
    """Writes down what is done, for `read` with the same spec.

    Args:
        stages: Keeps it beside the results.
        spec: The job's spec.
        processes: Training processes.
        base: The base model.
        results: The stages that are done.
    """
    path = _path(stages, spec, processes)
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "base": {"folder": str(base.folder), "source": base.source, "revision": base.revision},
        "stages": {result.name: {"key": result.key, "reused": result.reused} for result in results},
    }
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
    partial.replace(path)
    stages.keep_file(path)


def read(stages: StageFolder, spec: FineTuneJobSpec, processes: int) -> HandOver | None:
    """Returns what earlier parts with the same spec left; None where they left nothing that can be read."""
    path = _path(stages, spec, processes)
    stages.bring_file(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        base = document["base"]
        found = HandOver(
            BaseModel(Path(base["folder"]), base["source"], base["revision"]),
            dict(_results(stages, document["stages"])),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def _results(stages: StageFolder, records: Mapping[str, Any]) -> Iterable[tuple[str, StageResult]]:
    for name, record in records.items():
        result = stages.recall(name, record["key"])
        if result is not None:
            # It ran in the same pass, unless the part that had it found it done already.
            yield name, replace(result, reused=record["reused"])


def _path(stages: StageFolder, spec: FineTuneJobSpec, processes: int) -> Path:
    shape = spec.model_dump(mode="json", include=SHAPING_PARTS, exclude=SHAPELESS_FIELDS)
    identity = [shape, processes]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return stages.root / _FOLDER / f"{digest[:16]}.json"
