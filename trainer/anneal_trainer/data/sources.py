"""Finds the files, the bucket or the hub data set behind a `uri`, and makes rows of what they hold."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath

from anneal_api.errors import DataInvalid, Problem
from anneal_api.spec.data import Columns, DataFormat, DataSource
from anneal_api.uris import LocationError
from anneal_trainer.data.contents import not_utf8
from anneal_trainer.data.formats import content_of, format_of, read_records
from anneal_trainer.data.locations import (
    is_folder,
    local_path,
    scheme_of,
    start_of_relative_paths,
)
from anneal_trainer.data.problems import ProblemLog, did_you_mean, listed
from anneal_trainer.data.records import MOST_CHARACTERS, Record, kind_of, row_place
from anneal_trainer.data.rows import Rows

_UNREAD_PACKINGS = {".bz2", ".xz", ".zst", ".zip", ".7z", ".lz4", ".lzma", ".rar"}


def read_rows(source: DataSource, columns: Columns, *, default_split: str, base_folder: Path) -> Rows:
    """Reads all rows of a source into memory.

    Labels that are numbers or booleans become text: 1 and 1.0 -> `1`, true -> `true`. Spaces around a label are left
    out. Missing cells become empty texts. Nothing else is changed.

    Args:
        source: What to read.
        columns: Names of the columns with text and label.
        default_split: The field of the manifest that names the source; also the split to read of a hub data
            set, where the source names none.
        base_folder: Folder that relative paths start from: the manifest's.

    Raises:
        DataInvalid: The source is not there, or rows of it cannot be read. All problems are in it.
    """
    log = ProblemLog()
    rows = Rows([], [], [])
    where = f"spec.data.{default_split}"
    if scheme_of(source.uri) == "hf":
        from anneal_trainer.data.hub import hub_records  # noqa: PLC0415  datasets is slow to import

        split = source.split or default_split
        name = f"{source.uri}[{split}]"
        records = hub_records(source.uri, split, name=name, columns=columns, where=f"{where}.uri", log=log)
        _append(rows, records, name, columns, log)
    elif scheme_of(source.uri) == "s3":
        with tempfile.TemporaryDirectory(prefix="anneal-data-") as folder:
            path = _brought(source, f"{where}.uri", Path(folder))
            _append_files(rows, _files_at(path, source, where), columns, log)
    else:
        _append_files(
            rows, _files_at(_local(source, f"{where}.uri", base_folder), source, where), columns, log
        )
    log.raise_any(f"The {default_split} data cannot be read.", where=where)
    if not rows:
        raise DataInvalid(
            f"'{source.uri}' has no rows.",
            where=f"{where}.uri",
            remedy="Name a file with rows.",
        )
    return rows


def _append_files(
    rows: Rows, files: list[tuple[Path, str, DataFormat]], columns: Columns, log: ProblemLog
) -> None:
    for path, name, data_format in files:
        records = read_records(path, name=name, data_format=data_format, columns=columns, log=log)
        _append(rows, records, name, columns, log)


def _append(rows: Rows, records: Iterator[Record], name: str, columns: Columns, log: ProblemLog) -> None:
    for record in records:
        text, text_problem = _text_of(record.text)
        label, label_problem = _label_of(record.label)
        for problem, column in ((text_problem, columns.text), (label_problem, columns.label)):
            if problem:
                where = row_place(name, record.row, record.line, column)
                log.add(Problem(problem.what, where, problem.remedy))
        rows.texts.append(text)
        rows.labels.append(label)
        rows.sources.append(f"{name}:{record.row}")


def _text_of(value: object) -> tuple[str, Problem | None]:
    if _is_missing(value):
        return "", None
    if isinstance(value, str):
        return value, _unreadable(value)
    return "", Problem(f"The cell is {kind_of(value)}, not a text.", "", "Name a column that holds text.")


def _label_of(value: object) -> tuple[str, Problem | None]:
    if _is_missing(value):
        return "", None
    if isinstance(value, str):
        return value.strip(), _unreadable(value)
    if isinstance(value, int):
        return str(value).lower(), None
    # Tables with missing numbers hold 1 as 1.0.
    if isinstance(value, float):
        return (str(int(value)) if value.is_integer() else str(value)), None
    what = f"The cell is {kind_of(value)}, not a label."
    return "", Problem(what, "", "A label is a text, a number or a boolean.")


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _unreadable(text: str) -> Problem | None:
    """Finds what no tokenizer can work on."""
    if "\0" in text:
        return Problem("The cell holds a NUL character.", "", "Take it out; the file may be binary.")
    if len(text) > MOST_CHARACTERS:
        what = f"The cell has {len(text)} characters, the most is {MOST_CHARACTERS}."
        return Problem(what, "", "Cut the text into parts.")
    try:
        text.encode()
    except UnicodeEncodeError:
        return not_utf8("The cell", text.encode("utf-8", "surrogateescape") if _holds_bytes(text) else b"")
    return None


def _holds_bytes(text: str) -> bool:
    """Whether all of a text's lone surrogates stand for bytes that were no UTF-8."""
    return not any(
        "\ud800" <= character <= "\udc7f" or "\udd00" <= character <= "\udfff" for character in text
    )


def _local(source: DataSource, where: str, base_folder: Path) -> Path:
    try:
        return local_path(source.uri, base_folder=base_folder)
    except LocationError as error:
        raise DataInvalid(error.what, where=where, remedy=error.remedy) from error


def _brought(source: DataSource, where: str, folder: Path) -> Path:
    """Brings the data files at a place in a bucket into a folder; returns the one file's path, or the folder's."""
    from anneal_serving.buckets import Bucket, Purpose  # noqa: PLC0415  only for buckets

    try:
        bucket = Bucket(source.uri, Purpose.DATA)
        files = bucket.files()
        if not files:
            raise LocationError(
                f"There is nothing at '{source.uri}'.", "Check the names of the bucket and the key."
            )
        is_one = files[0].key == bucket.key
        wanted = files if is_one else [file for file in files if _is_data(PurePosixPath(file.name), source)]
        bucket.fetch(wanted, folder)
    except LocationError as error:
        raise DataInvalid(error.what, where=where, remedy=error.remedy) from error
    return folder / files[0].name if is_one else folder


def _files_at(path: Path, source: DataSource, where: str) -> list[tuple[Path, str, DataFormat]]:
    """Returns path, name in messages, and format of each file of a source, sorted by name."""
    if is_folder(path):
        return _files_in(path, source, f"{where}.uri")
    try:
        found = path.is_file()
    except OSError as error:
        raise DataInvalid(
            f"'{source.uri}' cannot be looked up: {error.strerror}.",
            where=f"{where}.uri",
            remedy="Name a file.",
        ) from error
    if not found:
        raise _not_found(path, source, f"{where}.uri")
    data_format = source.format or format_of(path)
    if data_format is None:
        if foreign := content_of(path):
            raise DataInvalid(f"'{path.name}': {foreign.what}", where=f"{where}.uri", remedy=foreign.remedy)
        raise DataInvalid(
            f"The ending of '{path.name}' does not tell how it is written.",
            where=f"{where}.uri",
            remedy=f"Set {where}.format to csv, tsv, json, jsonl or parquet.",
        )
    return [(path, path.name, data_format)]


def _files_in(folder: Path, source: DataSource, where: str) -> list[tuple[Path, str, DataFormat]]:
    _refuse_saved_data_set(folder, source, where)
    found: list[tuple[Path, str, DataFormat]] = []
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        data_format = format_of(path)
        if data_format is not None and _is_data(inside, source) and path.is_file():
            found.append((path, inside.as_posix(), data_format))
    packed = sorted(
        inside.as_posix()
        for inside in (path.relative_to(folder) for path in folder.rglob("*"))
        if inside.suffix.lower() in _UNREAD_PACKINGS and _is_data(inside.with_suffix(""), source)
    )
    if packed:
        raise DataInvalid(
            f"The folder '{source.uri}' has data files that are packed in a way that is not read: {listed(packed)}.",
            where=where,
            remedy="Unpack them, or compress them with gzip.",
        )
    if not found:
        kinds = source.format.value if source.format else "csv, tsv, json, jsonl or parquet"
        raise DataInvalid(
            f"The folder '{source.uri}' has no {kinds} file.",
            where=where,
            remedy="Name a folder with data files.",
        )
    return sorted(found, key=lambda entry: entry[1])


def _refuse_saved_data_set(folder: Path, source: DataSource, where: str) -> None:
    """Refuses a folder that `datasets` wrote with `save_to_disk`: its JSON files hold no rows."""
    dictionaries, states = (
        [path.parent for path in folder.rglob(name) if not _is_hidden(path.relative_to(folder))]
        for name in ("dataset_dict.json", "state.json")
    )
    saved = [parent for parent in states if (parent / "dataset_info.json").exists()]
    if saved or dictionaries:
        several = bool(dictionaries) or saved != [folder]
        loaded = 'load_from_disk(...)["train"]' if several else "load_from_disk(...)"
        raise DataInvalid(
            f"The folder '{source.uri}' was written by datasets' save_to_disk.",
            where=where,
            remedy=f'Write it as parquet, with datasets: {loaded}.to_parquet("train.parquet"), and name that file.',
        )


def _is_data(inside: PurePath, source: DataSource) -> bool:
    """Whether a path inside a folder is that of a data file: none that is hidden, and of the format asked for."""
    data_format = format_of(inside)
    return not _is_hidden(inside) and data_format is not None and source.format in {None, data_format}


def _is_hidden(inside: PurePath) -> bool:
    return any(part.startswith((".", "_")) for part in inside.parts)


def _not_found(path: Path, source: DataSource, where: str) -> DataInvalid:
    try:
        # A mounted ConfigMap keeps its versions in folders whose names begin with two dots.
        siblings = sorted(entry.name for entry in path.parent.iterdir() if not entry.name.startswith(".."))
    except OSError:
        siblings = []
    meant = did_you_mean(path.name, siblings)
    if meant:
        remedy = f"Did you mean '{meant}'?"
    elif siblings:
        remedy = f"That folder has {listed(siblings)}."
    else:
        remedy = start_of_relative_paths(source.uri)
    return DataInvalid(f"There is no file '{source.uri}' ({path}).", where=where, remedy=remedy)
