"""Files that are not what their names say: told by their first bytes, in words that help."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from anneal_api.errors import DataInvalid
from anneal_api.spec.data import Columns, DataSource
from anneal_trainer.data.contents import likely_encoding
from anneal_trainer.data.rows import Rows
from anneal_trainer.data.sources import read_rows

CSV = b"text,label\nfine,a\nbad,b\n"
LINES = b'{"text": "fine", "label": "a"}\n{"text": "bad", "label": "b"}\n'
TABLE = pa.table({"text": ["fine", "bad"], "label": ["a", "b"]})


def read(folder: Path, name: str, content: bytes = b"", **source: str) -> Rows:
    if content:
        (folder / name).write_bytes(content)
    parsed = DataSource.model_validate({"uri": name, **source})
    return read_rows(parsed, Columns(), default_split="train", base_folder=folder)


def complaint(folder: Path, name: str, content: bytes = b"", **source: str) -> str:
    with pytest.raises(DataInvalid) as caught:
        read(folder, name, content, **source)
    problems = caught.value.problems
    assert len(problems) <= 1
    return str(problems[0] if problems else caught.value)


def parquet() -> bytes:
    stream = io.BytesIO()
    pq.write_table(TABLE, stream)
    return stream.getvalue()


def arrow(*, stream: bool) -> bytes:
    sink = io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)
    return sink.getvalue()


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, CSV)
    return stream.getvalue()


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("train.csv")
        entry.size = len(CSV)
        archive.addfile(entry, io.BytesIO(CSV))
    return stream.getvalue()


def database(folder: Path) -> bytes:
    with sqlite3.connect(folder / "d.db") as connection:
        connection.execute("create table rows (text, label)")
    connection.close()
    return (folder / "d.db").read_bytes()


def numpy_array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.arange(3))
    return stream.getvalue()


FOREIGN = [
    (zipped("train.csv"), "a zip archive", "Unpack it and name the file in it."),
    (zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook (xlsx)", "Save it as CSV in UTF-8"),
    (zipped("[Content_Types].xml", "word/document.xml"), "a Word document (docx)", "plain text"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "an old Office file", "Save it as CSV in UTF-8"),
    (bz2.compress(CSV), "compressed with bzip2", "Unpack it"),
    (lzma.compress(CSV), "compressed with xz", "Unpack it"),
    (b"\x28\xb5\x2f\xfd\x04\x00" + CSV, "compressed with zstd", "Unpack it"),
    (b"7z\xbc\xaf\x27\x1c" + bytes(40), "a 7z archive", "Unpack it"),
    (tarred(), "a tar archive", "Unpack it and name the file in it."),
    (gzip.compress(tarred()), "a tar archive", "Unpack it and name the file in it."),
    (gzip.compress(gzip.compress(CSV)), "compressed with gzip twice", "gunzip"),
    (b"%PDF-1.7\n" + CSV, "a PDF", "into csv or json"),
    (arrow(stream=False), "an Arrow file (Feather)", "parquet"),
    (arrow(stream=True), "an Arrow stream", "parquet"),
    (pickle.dumps([("fine", "a")]), "a Python pickle", "may run code"),
    (pickle.dumps([("fine", "a")], protocol=2), "a Python pickle", "may run code"),
    (numpy_array(), "a NumPy array", "csv, json or parquet"),
    (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "a Git LFS pointer: the data itself was not fetched",
        "git lfs pull",
    ),
    (b"\n<!DOCTYPE html>\n<html><title>Sign in</title>", "an HTML page", "download the data again"),
    (b'<HTML lang="en"><body>', "an HTML page", "download the data again"),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML", "error message"),
]


@pytest.mark.parametrize("name", ["d.csv", "d.tsv", "d.json", "d.jsonl", "d.parquet", "d.csv.gz", "d.data"])
@pytest.mark.parametrize(("content", "what", "remedy"), FOREIGN, ids=[what for _, what, _ in FOREIGN])
def test_what_a_file_is_counts_and_not_its_name(
    tmp_path: Path, name: str, content: bytes, what: str, remedy: str
) -> None:
    if name == "d.parquet" and content.startswith(b"\x1f\x8b"):
        what, remedy = "compressed with gzip inside", "gunzip"
    told = complaint(tmp_path, name, content)
    assert f"The file is {what}" in told
    assert name in told
    assert remedy in told


def test_a_database_is_told(tmp_path: Path) -> None:
    assert "The file is an SQLite database." in complaint(tmp_path, "d.csv", database(tmp_path))


def test_feather_is_told(tmp_path: Path) -> None:
    feather.write_feather(TABLE, tmp_path / "d.csv")
    assert "The file is an Arrow file (Feather)." in complaint(tmp_path, "d.csv")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.csv", gzip.compress(CSV)),
        ("d.csv.gz", CSV),
        ("d.jsonl", gzip.compress(LINES)),
        ("d.jsonl.gz", LINES),
        ("d.json", gzip.compress(b"[" + LINES.strip().replace(b"\n", b",") + b"]")),
        ("d.tsv.GZ", CSV.replace(b",", b"\t")),
    ],
)
def test_gzip_is_read_whatever_the_ending(tmp_path: Path, name: str, content: bytes) -> None:
    rows = read(tmp_path, name, content)
    assert list(zip(rows.texts, rows.labels, strict=True)) == [("fine", "a"), ("bad", "b")]


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        *((encoding, "UTF-16") for encoding in ("utf-16", "utf-16-le", "utf-16-be")),
        *((encoding, "UTF-32") for encoding in ("utf-32", "utf-32-le", "utf-32-be")),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl"])
def test_wide_encodings_are_told_with_and_without_a_mark(
    tmp_path: Path, ending: str, encoding: str, name: str
) -> None:
    told = complaint(tmp_path, f"d.{ending}", LINES.decode().encode(encoding))
    assert told == f"d.{ending}: The file is written in {name}. Save it as UTF-8."


@pytest.mark.parametrize(
    ("name", "content", "what", "wanted"),
    [
        ("d.csv", LINES, "JSON Lines, an object a line", "jsonl"),
        ("d.tsv", b"\xef\xbb\xbf" + LINES, "JSON Lines, an object a line", "jsonl"),
        ("d.csv", json.dumps([{"text": "x", "label": "a"}], indent=1).encode(), "JSON", "json"),
        ("d.csv", b'[{"text": "x", "label": "a"}]', "JSON", "json"),
        ("d.csv", b'{"data": [{"text": "x", "label": "a"}]}', "JSON", "json"),
        ("d.csv", b'{\n "data": []}', "JSON", "json"),
        ("d.jsonl", b'[\n{"text": "x", "label": "a"}\n]', "one JSON document", "json"),
        ("d.csv", parquet(), "parquet", "parquet"),
        ("d.json", parquet(), "parquet", "parquet"),
        ("d.data", parquet(), "parquet", "parquet"),
    ],
)
def test_another_format_that_can_be_read_is_named(
    tmp_path: Path, name: str, content: bytes, what: str, wanted: str
) -> None:
    told = complaint(tmp_path, name, content)
    assert f"The file is {what}" in told
    assert f"format: {wanted}" in told


def test_text_in_a_parquet_file_is_told(tmp_path: Path) -> None:
    assert "The file is not parquet but text." in complaint(tmp_path, "d.parquet", CSV)


def test_json_lines_in_a_json_file_are_told(tmp_path: Path) -> None:
    assert "set format: jsonl" in complaint(tmp_path, "d.json", LINES)


@pytest.mark.parametrize(
    "content",
    [
        b"text,label\n<b>bold</b>,a\n",
        b"text,label\n[1],a\n",
        b"[id],text,label\n1,x,a\n",
        b"{text},text,label\n1,x,a\n",
        b"ORC,text,label\n1,x,a\n",
        b"BZh,text,label\n1,x,a\n",
        "text,label\nÄÖÜ,a\n日本語のテキスト,b\n".encode(),
    ],
)
def test_a_csv_that_begins_like_something_else_is_read(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, "d.csv", content).labels[0] == "a"


def test_a_folder_of_datasets_is_told_with_what_to_do(tmp_path: Path) -> None:
    one = datasets.Dataset.from_dict({"text": ["x"], "label": ["a"]})
    one.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": one, "test": one}).save_to_disk(tmp_path / "several")
    told = complaint(tmp_path, "one")
    assert "was written by datasets' save_to_disk" in told
    assert "load_from_disk(...).to_parquet" in told
    assert 'load_from_disk(...)["train"].to_parquet' in complaint(tmp_path, "several")


def test_packed_files_beside_others_are_not_left_out_in_silence(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    read(tmp_path / "data", "one.csv", CSV)
    (tmp_path / "data" / "two.csv.bz2").write_bytes(bz2.compress(CSV))
    (tmp_path / "data" / "pictures.zip").write_bytes(b"PK")
    assert "is not read: 'two.csv.bz2'. Unpack them" in complaint(tmp_path, "data")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("das ist schön".encode("latin-1"), "Windows-1252 or Latin-1"),
        ("it\u2019s \u201cfine\u201d, he said".encode("cp1252"), "Windows-1252 or Latin-1"),
        ("привет мир".encode("cp1251"), ""),
        ("こんにちは".encode("shift_jis"), ""),
        (b"", ""),
    ],
)
def test_the_likely_encoding_is_named_where_there_is_one(raw: bytes, expected: str) -> None:
    assert likely_encoding(raw) == expected
