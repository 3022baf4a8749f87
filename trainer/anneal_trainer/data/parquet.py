"""Reads parquet in batches, only the wanted columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from anneal_api.errors import Problem
from anneal_api.spec.data import Columns
from anneal_trainer.data.problems import ProblemLog
from anneal_trainer.data.records import Record, missing_columns

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
            row = 0
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
                texts, labels = (_values(batch.column(key)) for key in (columns.text, columns.label))
                for text, label in zip(texts, labels, strict=True):
                    row += 1
                    yield Record(row, None, text, label)
    except pa.ArrowException as error:
        first_line = str(error).splitlines()[0].rstrip(".")
        log.add(Problem(f"The file is not valid parquet: {first_line}.", name, "Write it again."))


def _values(column: pa.Array) -> list[object]:
    """Returns a column's values; strings that are not UTF-8 keep their bytes as lone surrogates."""
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
