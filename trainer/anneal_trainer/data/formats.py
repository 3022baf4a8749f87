"""Opens one file of rows, whatever its format. What is wrong with it goes into a log, row by row."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import BinaryIO, cast

from anneal_api.errors import Problem
from anneal_api.spec.data import Columns, DataFormat
from anneal_trainer.data.contents import GZIP, HEAD_BYTES, foreign_content
from anneal_trainer.data.json_objects import read_json, read_json_lines
from anneal_trainer.data.problems import ProblemLog
from anneal_trainer.data.records import Record
from anneal_trainer.data.separated import read_separated

_ENDINGS = {
    ".csv": DataFormat.CSV,
    ".tsv": DataFormat.TSV,
    ".json": DataFormat.JSON,
    ".jsonl": DataFormat.JSONL,
    ".ndjson": DataFormat.JSONL,
    ".parquet": DataFormat.PARQUET,
}


def format_of(path: PurePath) -> DataFormat | None:
    """Returns the format that a file's ending tells; `.gz` behind it is looked through."""
    return _ENDINGS.get(_uncompressed_suffix(path))


def read_records(
    path: Path, *, name: str, data_format: DataFormat, columns: Columns, log: ProblemLog
) -> Iterator[Record]:
    """Yields the rows of a file; rows that cannot be read are noted and left out.

    Args:
        path: The file. All formats but parquet may be compressed with gzip, whatever the ending.
        name: The file's name in messages.
        data_format: How it is written.
        columns: Names of the columns to read.
        log: Gets what is wrong, with row and line.
    """
    try:
        with _opened(path, unpacked=data_format is not DataFormat.PARQUET) as stream:
            head = stream.read(HEAD_BYTES)
            stream.seek(0)
            foreign = foreign_content(head, data_format)
            if foreign is not None:
                log.add(Problem(foreign.what, name, foreign.remedy))
            elif not head:
                log.add(Problem("The file is empty.", name, "Name a file with rows."))
            elif data_format is not DataFormat.PARQUET:
                yield from _read_text_format(stream, name, data_format, columns, log)
            else:
                from anneal_trainer.data.parquet import read_parquet  # noqa: PLC0415  pyarrow is slow to import

                yield from read_parquet(path, name, columns, log)
    except (OSError, EOFError, zlib.error) as error:
        log.add(
            Problem(
                f"The file cannot be read: {error}.",
                name,
                "Check that it is complete and that you may read it.",
            )
        )


def content_of(path: Path) -> Problem | None:
    """Returns what a file is, where its first bytes tell; None where it may hold rows or cannot be opened."""
    try:
        with _opened(path, unpacked=True) as stream:
            return foreign_content(stream.read(HEAD_BYTES), None)
    except (OSError, EOFError, zlib.error):
        return None


def _uncompressed_suffix(path: PurePath) -> str:
    suffix = path.suffix.lower()
    return PurePath(path.stem).suffix.lower() if suffix == ".gz" else suffix


@contextmanager
def _opened(path: Path, *, unpacked: bool) -> Iterator[BinaryIO]:
    with path.open("rb") as plain:
        is_packed = plain.read(len(GZIP)) == GZIP
        plain.seek(0)
        if is_packed and unpacked:
            with gzip.open(plain, "rb") as packed:
                yield cast("BinaryIO", io.BufferedReader(packed))
        else:
            yield plain


def _read_text_format(
    stream: BinaryIO, name: str, data_format: DataFormat, columns: Columns, log: ProblemLog
) -> Iterator[Record]:
    if data_format is DataFormat.JSON:
        yield from read_json(stream.read(), name, columns, log)
    elif data_format is DataFormat.JSONL:
        yield from read_json_lines(stream, name, columns, log)
    else:
        yield from read_separated(stream, name, data_format, columns, log)
