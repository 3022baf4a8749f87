"""Reading files: what a person gets, and what is said where a file is broken."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal_api.errors import DataInvalid
from anneal_api.spec.data import Columns, DataSource
from anneal_trainer.data.rows import Rows
from anneal_trainer.data.sources import read_rows

COLUMNS = Columns()


def read(folder: Path, uri: str, *, columns: Columns = COLUMNS, **source: str) -> Rows:
    parsed = DataSource.model_validate({"uri": uri, **source})
    return read_rows(parsed, columns, default_split="train", base_folder=folder)


def write(folder: Path, name: str, content: str | bytes) -> str:
    raw = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(raw)
    return name


def complaints(folder: Path, uri: str, **source: str) -> list[str]:
    with pytest.raises(DataInvalid) as caught:
        read(folder, uri, **source)
    return [str(problem) for problem in caught.value.problems] or [str(caught.value)]


def parquet(**columns: list[object]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


GOOD = [("one, two", "a"), ('say "hi"\nto all', "b"), ("grüß dich 🎈", "a")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.csv", 'text,label\n"one, two",a\n"say ""hi""\nto all",b\ngrüß dich 🎈,a\n'),
        ("d.csv", '\ufefflabel,other,text\r\na,0,"one, two"\r\nb,1,"say ""hi""\nto all"\r\na,2,grüß dich 🎈'),
        ("d.tsv", 'text\tlabel\none, two\ta\n"say ""hi""\nto all"\tb\n\ngrüß dich 🎈\ta\n'),
        ("d.json", json.dumps([{"text": text, "label": label} for text, label in GOOD])),
        (
            "d.json",
            json.dumps({"version": 1, "data": [{"text": text, "label": label} for text, label in GOOD]}),
        ),
        ("d.jsonl", "\n\n".join(json.dumps({"label": label, "text": text}) for text, label in GOOD)),
        (
            "d.ndjson",
            "\ufeff" + "\n".join(json.dumps({"text": t, "label": n}, ensure_ascii=False) for t, n in GOOD),
        ),
        (
            "d.csv.gz",
            gzip.compress('text,label\n"one, two",a\n"say ""hi""\nto all",b\ngrüß dich 🎈,a\n'.encode()),
        ),
        (
            "d.parquet",
            parquet(text=[text for text, _ in GOOD], label=[label for _, label in GOOD], extra=[1, 2, 3]),
        ),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, content: str | bytes) -> None:
    rows = read(tmp_path, write(tmp_path, name, content))
    assert list(zip(rows.texts, rows.labels, strict=True)) == GOOD
    assert rows.sources == [f"{name}:1", f"{name}:2", f"{name}:3"]


def test_columns_are_mapped(tmp_path: Path) -> None:
    write(tmp_path, "d.csv", "text,review,sentiment\nno,yes,good\n")
    rows = read(tmp_path, "d.csv", columns=Columns(text="review", label="sentiment"))
    assert (rows.texts, rows.labels) == (["yes"], ["good"])


def test_numbers_and_booleans_become_labels_and_missing_cells_empty_texts(tmp_path: Path) -> None:
    labels = [1, 1.0, 0.5, True, False, None]
    write(tmp_path, "d.json", json.dumps([{"text": "x", "label": label} for label in labels]))
    assert read(tmp_path, "d.json").labels == ["1", "1", "0.5", "true", "false", ""]
    write(tmp_path, "d.parquet", parquet(text=["x", None, "z"], label=[2.0, float("nan"), None]))
    rows = read(tmp_path, "d.parquet")
    assert (rows.texts, rows.labels) == (["x", "", "z"], ["2", "", ""])


def test_spaces_around_a_label_are_no_part_of_it(tmp_path: Path) -> None:
    write(tmp_path, "d.csv", "text,label\n x , pos\ny,\u00a0pos \n")
    rows = read(tmp_path, "d.csv")
    assert (rows.texts, rows.labels) == ([" x ", "y"], ["pos", "pos"])


def test_a_json_line_may_hold_unicode_line_ends(tmp_path: Path) -> None:
    write(tmp_path, "d.jsonl", '{"text": "a\u2028b\x85c", "label": "x"}\n')
    assert read(tmp_path, "d.jsonl").texts == ["a\u2028b\x85c"]


def test_a_text_longer_than_the_csv_modules_own_limit_is_read(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    write(tmp_path, "d.csv", f"text,label\n{'x' * 200_000},a\n")
    assert len(read(tmp_path, "d.csv").texts[0]) == 200_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("d.csv", "", "d.csv: The file is empty. Name a file with rows."),
        (
            "d.csv",
            "review,sentiment,labels\nx,y,z\n",
            "d.csv: There is no column 'text'; there are 'review', 'sentiment', 'labels'. Set "
            "spec.data.columns.text to "
            "the name of the column with the text.",
        ),
        (
            "d.csv",
            "text,Label \nx,y\n",
            "d.csv: There is no column 'label'; there are 'text', 'Label '. Did you mean 'Label '? Then set "
            "spec.data.columns.label to it.",
        ),
        (
            "d.csv",
            "text,label,text\nx,y,z\n",
            "d.csv: The header names the column 'text' twice. Give each column one name.",
        ),
        (
            "d.csv",
            "text;label\nx;y\n",
            "d.csv: The cells seem to be separated by ';': the only column is 'text;label'. Write the "
            "file with commas "
            "between the cells.",
        ),
        (
            "d.csv",
            "text\tlabel\nx\ty\n",
            "d.csv: The cells seem to be separated by tabs: the only column is 'text\tlabel'. Set "
            "format: tsv.",
        ),
        (
            "d.csv",
            'text,label\n"two\nlines",a\nhello, world,b\n',
            "d.csv, row 2 (line 4): The row has 3 cells, the header has 2. Put a cell that holds a comma "
            "into double "
            "quotes.",
        ),
        (
            "d.csv",
            "text,label\nok,a\nshort\n",
            "d.csv, row 2 (line 3): The row has 1 cell, the header has 2. Put a cell that holds a comma "
            "into double "
            "quotes.",
        ),
        (
            "d.csv",
            'text,label\nok,a\n"never closed,b\nmore,c\n',
            "d.csv, row 2 (line 3): A double quote opens here and is never closed. Close it, and write a "
            "quote inside a "
            'quoted cell twice ("").',
        ),
        (
            "d.csv",
            b"text,label\nok,a\nna\xefve,b\n",
            "d.csv, row 2 (line 3), column text: The cell is not valid UTF-8. Save the file as UTF-8; it seems to "
            "be written in Windows-1252 or Latin-1.",
        ),
        (
            "d.csv",
            "text,label\nok,a\nx\0y,b\n",
            "d.csv, row 2 (line 3), column text: The cell holds a NUL character. Take it out; the file "
            "may be binary.",
        ),
        (
            "d.csv",
            "text,label\nx,a\n".encode("utf-16"),
            "d.csv: The file is written in UTF-16. Save it as UTF-8.",
        ),
        (
            "d.json",
            '[{"text": "x" "label": "a"}]',
            "d.json, line 1, position 15: The file is not valid JSON: expecting ',' delimiter. "
            "Mend the JSON.",
        ),
        (
            "d.json",
            '{"text": "x", "label": "a"}\n{"text": "x", "label": "a"}\n',
            "d.json, line 2, position 1: The file is not valid JSON: extra data. If every line is an "
            "object of its own, "
            "set format: jsonl.",
        ),
        (
            "d.json",
            '{"rows": []}',
            'd.json: The file holds no list of rows. Write an array of objects, [{"text": ..., "label": '
            "...}], or "
            '{"data": [...]} around it.',
        ),
        (
            "d.json",
            b'[\n{"text": "\xff"}]',
            "d.json, line 2: The file is not valid UTF-8. Save the file as UTF-8; it "
            "seems to be written in Windows-1252 or Latin-1.",
        ),
        (
            "d.jsonl",
            '{"text": "x", "label": "a"}\n\n{"text": "x", "label" "a"}\n',
            "d.jsonl, row 2 (line 3): The line is not valid JSON: expecting ':' delimiter at position "
            "23. Write one JSON "
            "object a line.",
        ),
        (
            "d.jsonl",
            b'{"text": "x", "label": "a"}\n{"text": "\xe9", "label": "a"}\n',
            "d.jsonl, row 2 (line 2): The line is not valid UTF-8. Save the file as UTF-8; it "
            "seems to be written in Windows-1252 or Latin-1.",
        ),
        (
            "d.jsonl",
            '{"text": "x", "label": "a"}\n["x", "a"]\n',
            'd.jsonl, row 2 (line 2): The row is a list, not an object. Write {"text": ..., "label": ...}.',
        ),
        (
            "d.jsonl",
            '{"text": "x", "label": "a"}\n{"text": "x", "lable": "a"}\n',
            "d.jsonl, row 2 (line 2): There is no column 'label'; there are 'text', 'lable'. Did you "
            "mean 'lable'? Then "
            "set spec.data.columns.label to it.",
        ),
        (
            "d.jsonl",
            '{"text": 5, "label": "a"}\n',
            "d.jsonl, row 1 (line 1), column text: The cell is a number, not a text. Name a column that "
            "holds text.",
        ),
        (
            "d.jsonl",
            '{"text": "x", "label": ["a", "b"]}\n',
            "d.jsonl, row 1 (line 1), column label: The cell is a list, not a label. A label is a text, "
            "a number or a "
            "boolean.",
        ),
        (
            "d.jsonl",
            '{"text": "half \\ud83c a pair", "label": "a"}\n',
            "d.jsonl, row 1 (line 1), column text: The cell is not valid UTF-8. Save the file as UTF-8.",
        ),
        ("d.parquet", b"", "d.parquet: The file is empty. Name a file with rows."),
        (
            "d.parquet",
            parquet(text=[1, 2], label=["a", "b"])[:-1] + b"x",
            "d.parquet: The file is not valid parquet: ",
        ),
        (
            "d.parquet",
            parquet(text=["x", "y"], label=[b"a", b"b"]),
            "d.parquet, row 1, column label: The cell is a bytes, not a label. A label is a text, a "
            "number or a boolean.",
        ),
        (
            "d.parquet",
            parquet(text=["x"], sentiment=["a"]),
            "d.parquet: There is no column 'label'; there are 'text', 'sentiment'. Set "
            "spec.data.columns.label to the "
            "name of the column with the label.",
        ),
        ("d.csv.gz", gzip.compress(b"text,label\nx,a\n" * 99)[:-9], "d.csv.gz: The file cannot be read: "),
    ],
)
def test_a_broken_file_is_named_with_row_and_column(
    tmp_path: Path, name: str, content: str | bytes, expected: str
) -> None:
    found = complaints(tmp_path, write(tmp_path, name, content))
    assert found[0].startswith(expected) if expected.endswith(" ") else found[0] == expected


def test_a_parquet_string_that_is_not_utf8_is_named_with_its_row(tmp_path: Path) -> None:
    texts = pa.array([b"fine", b"na\xefve"], pa.binary()).cast(pa.string(), safe=False)
    pq.write_table(pa.table({"text": texts, "label": ["a", "b"]}), tmp_path / "d.parquet")
    assert complaints(tmp_path, "d.parquet") == [
        "d.parquet, row 2, column text: The cell is not valid UTF-8. Save the file as UTF-8; it seems to be "
        "written in Windows-1252 or Latin-1."
    ]


def test_the_numbers_of_a_class_label_become_its_names(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    rows = {"text": ["x", "y", "z", "w"], "label": [1, 0, -1, None]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "d.parquet")
    assert read(tmp_path, "d.parquet").labels == ["good", "bad", "", ""]


@pytest.mark.parametrize(
    ("metadata", "labels", "expected"),
    [
        ({"info": {"features": {"label": {"_type": "Value", "dtype": "int64"}}}}, [0, 1], ["0", "1"]),
        ({"info": {"features": {"other": {"_type": "ClassLabel", "names": ["a"]}}}}, [0, 1], ["0", "1"]),
        ({"info": {"features": {"label": {"_type": "ClassLabel", "num_classes": 2}}}}, [0, 1], ["0", "1"]),
        (
            {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["a", "b"]}}}},
            ["x", "y"],
            ["x", "y"],
        ),
        ({"info": None}, [0, 1], ["0", "1"]),
        ([], [0, 1], ["0", "1"]),
        (None, [0, 1], ["0", "1"]),
    ],
)
def test_metadata_that_names_no_classes_changes_nothing(
    tmp_path: Path, metadata: object, labels: list[object], expected: list[str]
) -> None:
    table = pa.table({"text": ["x", "y"], "label": labels})
    content = b"{" if metadata is None else json.dumps(metadata).encode()
    pq.write_table(table.replace_schema_metadata({b"huggingface": content}), tmp_path / "d.parquet")
    assert read(tmp_path, "d.parquet").labels == expected


def test_a_class_without_a_name_is_refused_with_its_row(tmp_path: Path) -> None:
    metadata = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["a", "b"]}}}}
    table = pa.table({"text": ["x", "y"], "label": [1, 2]})
    pq.write_table(
        table.replace_schema_metadata({b"huggingface": json.dumps(metadata).encode()}), tmp_path / "d.parquet"
    )
    assert complaints(tmp_path, "d.parquet") == [
        "d.parquet, row 2, column label: The label 2 has no name: the file's metadata names 2 labels, from 0 on. "
        "Write the file again with all names, or without them."
    ]


def test_categories_are_read_as_their_values(tmp_path: Path) -> None:
    texts = pa.array(["x", "y", "x", None]).dictionary_encode()
    labels = pa.array(["b", None, "a", "b"]).dictionary_encode()
    pq.write_table(pa.table({"text": texts, "label": labels}), tmp_path / "d.parquet")
    rows = read(tmp_path, "d.parquet")
    assert (rows.texts, rows.labels) == (["x", "y", "x", ""], ["b", "", "a", "b"])


def test_a_category_that_is_not_utf8_is_named_with_its_row(tmp_path: Path) -> None:
    texts = pa.array([b"fine", b"na\xefve"], pa.binary()).cast(pa.string(), safe=False).dictionary_encode()
    pq.write_table(pa.table({"text": texts, "label": ["a", "b"]}), tmp_path / "d.parquet")
    assert complaints(tmp_path, "d.parquet")[0].startswith(
        "d.parquet, row 2, column text: The cell is not valid UTF-8."
    )


def test_all_problems_come_at_once_and_the_flood_is_counted(tmp_path: Path) -> None:
    write(tmp_path, "d.csv", "text,label\n" + "lonely\n" * 50)
    found = complaints(tmp_path, "d.csv")
    assert len(found) == 21
    assert found[19].startswith("d.csv, row 20 (line 21): ")
    assert found[20] == "30 more problems of this kind."


def test_a_csv_goes_on_after_a_broken_row(tmp_path: Path) -> None:
    write(tmp_path, "d.csv", 'text,label\n"a"b,x\nok,y\nz\n')
    first, second = complaints(tmp_path, "d.csv")
    assert first.startswith("d.csv, row 1 (line 2): The row cannot be read: ")
    assert second.startswith("d.csv, row 3 (line 4): The row has 1 cell")


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


@settings(max_examples=60, deadline=None)
@given(cells=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8), tabs=st.booleans())
def test_whatever_the_csv_module_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]], tabs: bool
) -> None:
    folder = tmp_path_factory.mktemp("round")
    name = "d.tsv" if tabs else "d.csv"
    with (folder / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if tabs else ",", quoting=csv.QUOTE_ALL)
        writer.writerows([("text", "label"), *cells])
    rows = read(folder, name)
    assert list(zip(rows.texts, rows.labels, strict=True)) == [(text, label.strip()) for text, label in cells]


WHOLE = {
    "csv": b'text,label\n"a ""b""\n",x\n\xc3\xbc,y\n',
    "tsv": b"text\tlabel\na\tx\nb\ty\n",
    "json": b'[{"text": "a", "label": 1}, {"text": "\\u00fc", "label": null}]',
    "jsonl": b'{"text": "a", "label": true}\n{"text": "b", "label": 1.5}\n',
    "parquet": parquet(text=["a", "b"], label=["x", "y"]),
    "csv.gz": gzip.compress(b"text,label\na,x\n", mtime=0),
}


@settings(max_examples=200, deadline=None)
@given(
    ending=st.sampled_from(sorted(WHOLE)), at=st.floats(0, 1), noise=st.binary(max_size=12), cut=st.booleans()
)
def test_damage_anywhere_is_an_answer_and_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, ending: str, at: float, noise: bytes, cut: bool
) -> None:
    whole = WHOLE[ending]
    start = int(at * len(whole))
    damaged = whole[:start] + noise + (b"" if cut else whole[start + len(noise) :])
    folder = tmp_path_factory.mktemp("damaged")
    write(folder, f"d.{ending}", damaged)
    refused: DataInvalid | None = None
    rows = Rows([], [], [])
    try:
        rows = read(folder, f"d.{ending}")
    except DataInvalid as error:
        refused = error
    if refused is not None:
        assert refused.problems or refused.remedy
    else:
        assert len(rows) == len(rows.labels) == len(rows.sources) > 0
