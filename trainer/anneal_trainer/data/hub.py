"""Reads one split of a data set on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator

import datasets  # type: ignore[import-untyped]
from datasets.exceptions import DatasetsError  # type: ignore[import-untyped]

from anneal_api.errors import DataInvalid, Problem
from anneal_api.spec.data import Columns
from anneal_trainer.data.problems import ProblemLog
from anneal_trainer.data.records import Record, missing_columns

_BATCH_ROWS = 1000
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
    class_names: list[str] | None = getattr(dataset.features[columns.label], "names", None)
    wanted = list(dict.fromkeys([columns.text, columns.label]))
    row = 0
    for batch in dataset.select_columns(wanted).iter(batch_size=_BATCH_ROWS):
        for text, label in zip(batch[columns.text], batch[columns.label], strict=True):
            row += 1
            yield Record(row, None, text, label if class_names is None else _named(label, class_names))


def _named(label: int | None, class_names: list[str]) -> str | None:
    # -1 is the hub's way to say that a row has no label.
    return class_names[label] if label is not None and 0 <= label < len(class_names) else None


def _choices(uri: str, where: str) -> list[tuple[str, str | None]]:
    """Returns the names and configurations that a uri may stand for."""
    match uri.partition("://")[2].strip("/").split("/"):
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


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
