"""Reads parquet in batches, only the wanted columns, and what its metadata says that numbers mean."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from anneal_api.errors import Problem
from anneal_api.spec.data import Columns
from anneal_trainer.data.problems import ProblemLog
from anneal_trainer.data.records import Record, class_name, missing_columns, row_place

_BATCH_ROWS = 8192


def read_parquet(path: Path, name: str, columns: Columns, log: ProblemLog) -> Iterator[Record]:
    """Yields the rows of a parquet file."""
    try:
        with pq.ParquetFile(path) as file:
            missing = list(missing_columns(file.schema_arrow.names, columns))
            for problem in missing:
                log.add(Problem(problem.what, name, problem.remedy))
            if missing:
                return
            wanted = list(dict.fromkeys([columns.text, columns.label]))
            names = class_names(file.schema_arrow, columns.label)
            row = 0
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
                texts, labels = (_values(batch.column(key)) for key in (columns.text, columns.label))
                for text, label in zip(texts, labels, strict=True):
                    row += 1
                    if names is None or not isinstance(label, int):
                        yield Record(row, None, text, label)
                    elif label < len(names):
                        yield Record(row, None, text, class_name(label, names))
                    else:
                        log.add(_nameless(label, names, row_place(name, row, None, columns.label)))
    except (pa.ArrowException, UnicodeDecodeError) as error:  # the latter of a column's name
        first_line = str(error).splitlines()[0].rstrip(".")
        log.add(Problem(f"The file is not valid parquet: {first_line}.", name, "Write it again."))


def class_names(schema: pa.Schema, column: str) -> list[str] | None:
    """Returns the names of a column's numbers, which `datasets` writes into the metadata; None where it has none."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        feature = features[column]
        is_class = feature["_type"] == "ClassLabel" and pa.types.is_integer(schema.field(column).type)
        names = list(feature["names"]) if is_class else []
    except (TypeError, KeyError, ValueError):
        return None
    return names if names and all(isinstance(each, str) for each in names) else None


def _nameless(label: int, names: Sequence[str], where: str) -> Problem:
    return Problem(
        f"The label {label} has no name: the file's metadata names {len(names)} labels, from 0 on.",
        where,
        "Write the file again with all names, or without them.",
    )


def _values(column: pa.Array) -> list[object]:
    """Returns a column's values; strings that are not UTF-8 keep their bytes as lone surrogates."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> object:
    try:
        value: object = scalar.as_py()
    except UnicodeDecodeError:
        raw: bytes = scalar.as_buffer().to_pybytes()
        return raw.decode("utf-8", "surrogateescape")
    return value
