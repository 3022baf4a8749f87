"""Reads one split of a data set on the Hugging Face hub.

Since its version 4, `datasets` runs no code of a data set and asks no questions. But it takes a name for that of a
local folder first, which is refused here: a run elsewhere would train on other rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import datasets  # type: ignore[import-untyped]
from datasets import packaged_modules
from datasets.exceptions import DatasetsError  # type: ignore[import-untyped]

from anneal_api.errors import DataInvalid, Problem
from anneal_api.spec.data import Columns
from anneal_trainer.data.problems import ProblemLog
from anneal_trainer.data.records import Record, class_name, missing_columns

_BATCH_ROWS = 1000
_PART = re.compile(r"\w[\w.-]*")
_WITHOUT_NETWORK = (
    "without a network, copy the data beside the manifest and name the file; "
    "on a cluster, use pvc:// or s3://."
)
_TOKEN = (
    "set HF_TOKEN for a private or gated data set; on a cluster, name a Secret with the key `token` in "
    "spec.model.secretRef"
)


def hub_records(
    uri: str, split: str, *, name: str, columns: Columns, where: str, log: ProblemLog
) -> Iterator[Record]:
    """Yields the rows of a split. A ClassLabel's numbers become their names.

    Args:
        uri: `hf://NAME` or `hf://NAME/CONFIG`. `hf://A/B` is the data set A/B or, where there is none,
            configuration B of the data set A.
        split: Split of the data set.
        name: What messages call it.
        columns: Names of the columns to read.
        where: Path in the spec for errors about the whole.
        log: Gets what is wrong with its columns.

    Raises:
        DataInvalid: The hub, the data set, the configuration or the split cannot be reached.
    """
    dataset = _load(uri, split, where=where)
    missing = list(missing_columns(dataset.column_names, columns))
    for problem in missing:
        log.add(Problem(problem.what, name, problem.remedy))
    if missing:
        return
    feature = dataset.features[columns.label]
    names: list[str] | None = getattr(feature, "names", None)
    class_names = names if isinstance(feature, datasets.ClassLabel) else None
    wanted = list(dict.fromkeys([columns.text, columns.label]))
    row = 0
    for batch in dataset.select_columns(wanted).iter(batch_size=_BATCH_ROWS):
        for text, label in zip(batch[columns.text], batch[columns.label], strict=True):
            row += 1
            yield Record(row, None, text, label if class_names is None else class_name(label, class_names))


def _choices(uri: str, where: str) -> list[tuple[str, str | None]]:
    """Returns the names and configurations that a uri may stand for."""
    parts = uri.partition("://")[2].strip("/").split("/")
    match parts if all(map(_PART.fullmatch, parts)) else []:
        case [name] if name:
            return [(name, None)]
        case [first, second]:
            return [(f"{first}/{second}", None), (first, second)]
        case [owner, name, config]:
            return [(f"{owner}/{name}", config)]
        case _:
            raise DataInvalid(
                f"'{uri}' does not name a data set.",
                where=where,
                remedy="Write hf://NAME or hf://NAME/CONFIG.",
            )


def _load(uri: str, split: str, *, where: str) -> datasets.Dataset:
    reasons: list[str] = []
    for name, config in _choices(uri, where):
        if shadow := _shadow(name):
            if reasons:  # the uri stands for something else first, and that is not there
                reasons.append(shadow)
                continue
            raise DataInvalid(
                f"'{uri}' does not reach the hub: {shadow}.",
                where=where,
                remedy="Run from a folder without it; or, if it is the data that you mean, name it as a path, "
                f"for example ./{name}.",
            )
        try:
            return datasets.load_dataset(name, config, split=split)
        except FileNotFoundError as error:
            reasons.append(_first_line(error))
        except (DatasetsError, OSError, ValueError, RuntimeError) as error:
            raise DataInvalid(
                f"'{uri}' cannot be read from the hub: {_first_line(error)}.",
                where=where,
                remedy=f"Check the name, the configuration, the split and the network; {_WITHOUT_NETWORK}",
            ) from error
    raise DataInvalid(
        f"'{uri}' is not on the hub, or it is private: {'; '.join(dict.fromkeys(reasons))}.",
        where=where,
        remedy=f"Check the name; {_TOKEN}; {_WITHOUT_NETWORK}",
    )


def _shadow(name: str) -> str:
    """Returns what `load_dataset` would read in place of a data set of the hub; empty where there is nothing."""
    if name in getattr(packaged_modules, "_PACKAGED_DATASETS_MODULES", ()):
        return (
            f"'{name}' is one of datasets' own readers, which takes the files of the folder that it runs in"
        )
    if Path(name).exists():
        return f"there is a file or folder '{name}' in {Path.cwd()}, which datasets would read in its place"
    return ""


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
