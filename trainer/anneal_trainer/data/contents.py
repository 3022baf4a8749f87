"""What a file is by its first bytes, whatever its name says: told in words that help. Pure."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from anneal_api.errors import Problem
from anneal_api.spec.data import DataFormat

HEAD_BYTES = 1 << 14
"""How much of a file is looked at."""

GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"


@dataclass(frozen=True, slots=True)
class _Kind:
    start: bytes
    what: str
    remedy: str


_UNPACK = "Unpack it, or compress it with gzip, which is read as it is."
_ARCHIVE = "Unpack it and name the file in it."
_SPREADSHEET = "Save it as CSV in UTF-8, and name that file."
_TABLE = "Write it as parquet, for example with pandas: DataFrame.to_parquet."
_NO_TABLE = "Name a file with rows."

_KINDS = (
    _Kind(b"PK\x05\x06", "an empty zip archive", _ARCHIVE),
    _Kind(b"BZh", "compressed with bzip2", _UNPACK),
    _Kind(b"\xfd7zXZ\0", "compressed with xz", _UNPACK),
    _Kind(b"]\0\0", "compressed with LZMA", _UNPACK),
    _Kind(b"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK),
    _Kind(b"\x04\x22\x4d\x18", "compressed with LZ4", _UNPACK),
    _Kind(b"\x1f\x9d", "compressed with compress (.Z)", _UNPACK),
    _Kind(b"7z\xbc\xaf\x27\x1c", "a 7z archive", _ARCHIVE),
    _Kind(b"Rar!\x1a\x07", "a RAR archive", _ARCHIVE),
    _Kind(
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old Office file, such as an Excel workbook (xls)",
        _SPREADSHEET,
    ),
    _Kind(b"%PDF-", "a PDF", "Take the texts out of it, into csv or json."),
    _Kind(b"{\\rtf", "a document in Rich Text Format", "Save it as plain text in UTF-8."),
    _Kind(b"SQLite format 3\0", "an SQLite database", "Write the table as csv or parquet."),
    _Kind(b"ARROW1\0\0", "an Arrow file (Feather)", _TABLE),
    _Kind(b"FEA1", "an old Feather file", _TABLE),
    _Kind(b"\xff\xff\xff\xff", "an Arrow stream", "Write it as parquet, with datasets: Dataset.to_parquet."),
    _Kind(b"PARE", "an encrypted parquet file", "Write it without encryption."),
    _Kind(b"ORC", "an ORC file", _TABLE),
    _Kind(b"Obj\x01", "an Avro file", _TABLE),
    _Kind(b"\x93NUMPY", "a NumPy array", "Write texts and labels as csv, json or parquet."),
    _Kind(b"\x89HDF\r\n", "an HDF5 file", _TABLE),
    _Kind(b"\x89PNG\r\n", "an image (PNG)", _NO_TABLE),
    _Kind(b"\xff\xd8\xff", "an image (JPEG)", _NO_TABLE),
    _Kind(b"GIF8", "an image (GIF)", _NO_TABLE),
    _Kind(b"\x7fELF", "a program", _NO_TABLE),
    _Kind(
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer: the data itself was not fetched",
        "Run `git lfs pull` in its repository.",
    ),
    _Kind(
        b"/annex/objects/",
        "a git-annex pointer: the data itself was not fetched",
        "Run `git annex get` in its repository.",
    ),
)
_TEXTUAL_STARTS = (b"ORC", b"FEA1", b"GIF8", b"PARE", b"BZh")
"""Letters that a text file may begin with too: they count only before bytes that are no text."""

_ZIPPED = (
    (b"xl/", "an Excel workbook (xlsx)", _SPREADSHEET),
    (b"word/", "a Word document (docx)", "Save it as plain text, or put its texts into csv or json."),
    (b"ppt/", "a PowerPoint file (pptx)", "Put its texts into csv or json."),
    (b"opendocument.spreadsheet", "an OpenDocument spreadsheet (ods)", _SPREADSHEET),
    (b"opendocument", "an OpenDocument file", "Save it as plain text, or put its texts into csv or json."),
    (b"/data.pkl", "a file of PyTorch", "Write texts and labels as csv, json or parquet."),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_TAR_AT = 257
_PAGE = re.compile(rb"<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_XML = re.compile(rb"<(\?xml\b|[A-Za-z][\w.:-]*[\s/>])")
_JSON_ARRAY = re.compile(rb"\[\s*(\{|$)")

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_MOSTLY = 0.7
_FEW_HIGH = 0.3


def foreign_content(head: bytes, data_format: DataFormat | None) -> Problem | None:
    """Returns what a file is, without its place, where it is not what it should be.

    Args:
        head: Its first bytes, unpacked.
        data_format: How it should be written; None: nobody knows.
    """
    if not head:
        return None
    return next(_foreign(head, data_format), None)


def wide_encoding(head: bytes) -> str:
    """Returns the encoding of a text that takes several bytes for every letter; empty where it is none of those."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    sample = head[: len(head) // 4 * 4]
    if not sample:
        return ""
    # Letters of most languages have zeros in their upper bytes.
    zeros = [sample[place::4].count(0) / (len(sample) // 4) > _MOSTLY for place in range(4)]
    if zeros in ([False, True, True, True], [True, True, True, False]):
        return "UTF-32"
    if zeros in ([False, True, False, True], [True, False, True, False]):
        return "UTF-16"
    return ""


def likely_encoding(raw: bytes) -> str:
    """Returns the encoding that bytes which are no UTF-8 are most likely in; empty where nobody can tell."""
    high = sum(byte > 0x7F for byte in raw)  # noqa: PLR2004  beyond ASCII
    try:
        raw.decode("cp1252")
    except UnicodeDecodeError:
        return ""
    return "Windows-1252 or Latin-1" if 0 < high <= _FEW_HIGH * len(raw) else ""


def not_utf8(what: str, raw: bytes) -> Problem:
    """Returns the problem, without its place, of something that is not UTF-8.

    Args:
        what: What it is, for example `The cell`.
        raw: Its bytes, or enough of them; empty where they are not known.
    """
    encoding = likely_encoding(raw)
    seems = f"; it seems to be written in {encoding}" if encoding else ""
    return Problem(f"{what} is not valid UTF-8.", "", f"Save the file as UTF-8{seems}.")


def _foreign(head: bytes, data_format: DataFormat | None) -> Iterator[Problem]:
    if head.startswith(GZIP):
        what = "compressed with gzip" + (" inside" if data_format is DataFormat.PARQUET else " twice")
        yield _problem(what, "Unpack it with gunzip.")
    if head.startswith(b"PK\x03\x04"):
        found = next((kind for kind in _ZIPPED if kind[0] in head), (b"", "a zip archive", _ARCHIVE))
        yield _problem(found[1], found[2])
    for kind in _KINDS:
        if head.startswith(kind.start) and (kind.start not in _TEXTUAL_STARTS or not _is_text(head)):
            yield _problem(kind.what, kind.remedy)
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        yield _problem("a tar archive", _ARCHIVE)
    if _PICKLE.match(head):
        remedy = (
            "It may run code when it is opened, so it is not: write texts and labels as csv, json or parquet."
        )
        yield _problem("a Python pickle", remedy)
    if head.startswith(PARQUET) and data_format is not DataFormat.PARQUET:
        yield _problem("parquet", "Set format: parquet, or let its name end in .parquet.")
    if encoding := wide_encoding(head):
        yield Problem(f"The file is written in {encoding}.", "", "Save it as UTF-8.")
    yield from _foreign_text(head.removeprefix(codecs.BOM_UTF8).lstrip(), data_format)
    if data_format is DataFormat.PARQUET and not head.startswith(PARQUET) and _is_text(head):
        yield Problem(
            "The file is not parquet but text.",
            "",
            "Set format to csv, tsv, json or jsonl, as it is written.",
        )


def _foreign_text(text: bytes, data_format: DataFormat | None) -> Iterator[Problem]:
    if _PAGE.match(text):
        yield _problem(
            "an HTML page, such as a login or error page that was saved in place of the data",
            "Open it in a browser to see what it says, and download the data again.",
        )
    elif _XML.match(text) and not _has_separators(text):
        yield _problem(
            "XML",
            "Look into it: it may be an error message. Rows have to be csv, tsv, json, jsonl or parquet.",
        )
    if data_format in {DataFormat.CSV, DataFormat.TSV, DataFormat.PARQUET} and (
        written := _json_format(text)
    ):
        yield _problem(
            _JSON_NAMES[written], f"Set format: {written.value}, or let its name end in .{written.value}."
        )
    if data_format is DataFormat.JSONL and _json_format(text) is DataFormat.JSON:
        yield _problem("one JSON document and not one object a line", "Set format: json.")


_JSON_NAMES = {DataFormat.JSON: "JSON", DataFormat.JSONL: "JSON Lines, an object a line"}


def _json_format(text: bytes) -> DataFormat | None:
    """Returns json or jsonl for a text that is written so."""
    first, newline, rest = text.partition(b"\n")
    if _JSON_ARRAY.match(first.strip()):
        return DataFormat.JSON
    if not text.startswith(b"{"):
        return None
    if not first.strip(b" \t\r{"):
        return DataFormat.JSON  # an object over several lines
    try:
        whole = isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        # The end of a very long line was not looked at.
        return DataFormat.JSONL if not newline and re.match(rb'\{\s*"', text) else None
    if not whole:
        return None
    return DataFormat.JSONL if rest.strip() or not _holds_rows(first) else DataFormat.JSON


def _holds_rows(line: bytes) -> bool:
    document = json.loads(line)
    return isinstance(document, dict) and isinstance(document.get("data"), list)


def _has_separators(text: bytes) -> bool:
    first = text.partition(b"\n")[0]
    return b"," in first or b"\t" in first


def _is_text(head: bytes) -> bool:
    return not any(byte < 0x20 and byte not in b"\t\n\r\f" for byte in head[:512])  # noqa: PLR2004  control characters


def _problem(what: str, remedy: str) -> Problem:
    return Problem(f"The file is {what}.", "", remedy)
