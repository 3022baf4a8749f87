"""Double quotes that are no quoting: no row is lost without a word."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal_api.errors import DataInvalid
from anneal_api.spec.data import Columns, DataSource
from anneal_trainer.data.rows import Rows
from anneal_trainer.data.sources import read_rows

SEPARATORS = {"tsv": "\t", "csv": ","}
PLAIN = [(f"a plain text {number}", "pos" if number % 2 else "neg") for number in range(6)]

UNQUOTED = {
    "a quotation over four rows": [
        *PLAIN,
        ('"so he', "pos"),
        ("went", "neg"),
        ("on", "pos"),
        ('and"', "neg"),
        *PLAIN,
    ],
    "from the first row on": [('"so he', "pos"), ("went", "neg"), ('home"', "pos"), *PLAIN],
    "from the first row to the last": [('"so he', "pos"), *PLAIN, ('home"', "neg")],
    "two of them": [
        *PLAIN,
        ('"so', "pos"),
        ('he"', "neg"),
        *PLAIN,
        ('"went', "neg"),
        ("on", "pos"),
        ('and"', "pos"),
    ],
    "never closed": [*PLAIN, ('"so he', "pos"), *PLAIN],
    "never closed, in the first row": [('"so he', "pos"), *PLAIN],
    "never closed, in the last row": [*PLAIN, ('"so he', "pos")],
    "a quotation at the start of a cell": [*PLAIN, ('"Great" movie', "pos")],
    "a quotation in a quotation": [*PLAIN, ('"He said "hi""', "pos"), ("more", "neg")],
    "quoted titles beside": [*PLAIN, ('"Alien"', "pos"), ('"so he', "pos"), ('went"', "neg"), *PLAIN],
}


def read(folder: Path, name: str, content: str, columns: Columns | None = None) -> Rows:
    (folder / name).write_bytes(content.encode())
    source = DataSource.model_validate({"uri": name})
    return read_rows(source, columns or Columns(), default_split="train", base_folder=folder)


def complaints(folder: Path, name: str, content: str) -> list[str]:
    with pytest.raises(DataInvalid) as caught:
        read(folder, name, content)
    return [str(problem) for problem in caught.value.problems]


def joined(rows: list[tuple[str, str]], ending: str, end: str = "\n", header: str = "text label") -> str:
    separator = SEPARATORS[ending]
    return end.join([header.replace(" ", separator), *(separator.join(row) for row in rows)])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("ending", ["tsv", "csv"])
@pytest.mark.parametrize("rows", UNQUOTED.values(), ids=UNQUOTED.keys())
def test_a_file_that_is_not_quoted_keeps_every_row(
    tmp_path: Path, rows: list[tuple[str, str]], ending: str, end: str
) -> None:
    for last in ("", end):
        found = read(tmp_path, f"d.{ending}", joined(rows, ending, end) + last)
        assert list(zip(found.texts, found.labels, strict=True)) == rows
        assert found.sources == [f"d.{ending}:{row}" for row in range(1, len(rows) + 1)]


@pytest.mark.parametrize("rows", UNQUOTED.values(), ids=UNQUOTED.keys())
def test_the_text_may_stand_in_the_last_of_several_columns(
    tmp_path: Path, rows: list[tuple[str, str]]
) -> None:
    turned = "\n".join(
        ["id\tlabel\ttext", *(f"{number}\t{label}\t{text}" for number, (text, label) in enumerate(rows))]
    )
    found = read(tmp_path, "d.tsv", turned)
    assert list(zip(found.texts, found.labels, strict=True)) == rows


def test_blank_lines_between_rows_do_not_count(tmp_path: Path) -> None:
    rows = UNQUOTED["a quotation over four rows"]
    found = read(tmp_path, "d.tsv", joined(rows, "tsv", "\n\n"))
    assert list(zip(found.texts, found.labels, strict=True)) == rows


REAL = [
    [*PLAIN, ("one\ntwo", "pos"), ("one, two\nthree, four\nfive", "neg"), *PLAIN],
    [("a, b\nc, d", "pos"), ("e\n\nf", "neg")],
    [("pos\nneg\npos", "neg"), *PLAIN],
    [('he said "hi",\nand went', "pos"), *PLAIN],
    [("dear sir,\r\nyours", "pos"), *PLAIN],
]


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("ending", ["tsv", "csv"])
@pytest.mark.parametrize("rows", REAL)
def test_texts_of_several_lines_stay_what_they_are(
    tmp_path: Path, rows: list[tuple[str, str]], ending: str, quoting: int
) -> None:
    file = io.StringIO()
    csv.writer(file, delimiter=SEPARATORS[ending], quoting=quoting).writerows([("text", "label"), *rows])  # type: ignore[arg-type]
    found = read(tmp_path, f"d.{ending}", file.getvalue())
    assert list(zip(found.texts, found.labels, strict=True)) == rows


def test_where_the_file_needs_its_quotes_a_merge_is_refused_with_its_first_row(tmp_path: Path) -> None:
    quoted = [*PLAIN, ('"one, two"', "pos")]
    rows = [*quoted, ('"so he', "pos"), ("went", "neg"), ('home"', "pos"), *quoted]
    (found,) = complaints(tmp_path, "d.csv", joined(rows, "csv"))
    assert found.startswith(
        "d.csv, row 8 (line 9): A double quote opens here and closes on line 11, so 3 lines count"
    )
    assert "json" in found


@pytest.mark.parametrize(
    "quoted",
    [('"he said ""hi"""', "pos"), ("a text", '"pos"'), ('""', "pos")],
    ids=["a doubled quote", "a quoted label", "a quoted cell that is empty"],
)
def test_a_file_that_a_csv_library_wrote_is_not_read_literally(
    tmp_path: Path, quoted: tuple[str, str]
) -> None:
    rows = [quoted, *PLAIN, ('"so he', "pos"), ('went"', "neg"), *PLAIN]
    assert complaints(tmp_path, "d.tsv", joined(rows, "tsv"))[0].startswith("d.tsv, row 8 (line 9): ")


@pytest.mark.parametrize(
    "rows",
    [
        [(f'"text \\"{number}\\" here"', label) for number, (_, label) in enumerate(PLAIN)],
        [*PLAIN, ('"a \\"quote\\" here"', "pos")],
        [*((f'"{text}"', label) for text, label in PLAIN), ('"a "quote" here"', "pos")],
    ],
    ids=["backslashes", "one backslash", "all texts quoted"],
)
def test_quoting_that_is_not_csvs_is_refused_and_never_left_in_the_texts(
    tmp_path: Path, rows: list[tuple[str, str]]
) -> None:
    assert "Write a quote inside a quoted cell twice" in complaints(tmp_path, "d.csv", joined(rows, "csv"))[0]


@pytest.mark.parametrize(
    ("ending", "merged"),
    [
        ("tsv", [('"so he', "rare"), ('went"', "neg")]),
        ("tsv", [('"so he', "pos"), ("went", "rare"), ('home"', "neg")]),
        ("csv", [('"so he', "rare"), ("went", "neg"), ('home"', "pos")]),
    ],
)
def test_a_merge_with_a_label_that_is_nowhere_else_is_refused(
    tmp_path: Path, ending: str, merged: list[tuple[str, str]]
) -> None:
    told = complaints(tmp_path, f"d.{ending}", joined([*PLAIN, *merged, *PLAIN], ending))
    assert told[0].startswith(f"d.{ending}, row 7 (line 8): ")


def test_a_quote_that_opens_in_the_label_is_refused(tmp_path: Path) -> None:
    rows = [*PLAIN, ("a text", '"pos'), ("another", 'pos"'), *PLAIN]
    assert complaints(tmp_path, "d.tsv", joined(rows, "tsv"))[0].startswith("d.tsv, row 7 (line 8): ")


@pytest.mark.parametrize(
    "rows",
    [
        [*PLAIN, ('"so, he', "pos"), *PLAIN],
        [*PLAIN, ('"He said "hi", twice"', "pos")],
    ],
    ids=["never closed", "a quotation in a quotation"],
)
def test_what_can_be_read_neither_way_is_refused_with_its_row(
    tmp_path: Path, rows: list[tuple[str, str]]
) -> None:
    assert complaints(tmp_path, "d.csv", joined(rows, "csv"))[0].startswith("d.csv, row 7 (line 8): ")


WORDS = st.text(st.sampled_from('ab" ,\n'), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(WORDS, min_size=1, max_size=6))
def test_what_a_csv_library_quotes_everywhere_is_never_taken_apart(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    file = io.StringIO()
    rows = [*((text, "ab"[index % 2]) for index, text in enumerate(texts))]
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    found = read(tmp_path_factory.mktemp("quoted"), "d.csv", file.getvalue())
    assert list(zip(found.texts, found.labels, strict=True)) == rows
