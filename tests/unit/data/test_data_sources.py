"""Where rows may lie: beside the manifest, in folders, in packages, on the hub."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import datasets
import pytest

from anneal_api.errors import DataInvalid
from anneal_api.spec.data import Columns, DataSource
from anneal_trainer.data.rows import Rows
from anneal_trainer.data.sources import read_rows

CSV = "text,label\nhello,a\nworld,b\n"


def read(folder: Path, uri: str, **source: str) -> Rows:
    parsed = DataSource.model_validate({"uri": uri, **source})
    return read_rows(parsed, Columns(), default_split="test", base_folder=folder)


def complaint(folder: Path, uri: str, **source: str) -> str:
    with pytest.raises(DataInvalid) as caught:
        read(folder, uri, **source)
    assert caught.value.where.startswith("spec.data.test")
    return str(caught.value)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed package with data, which must not be imported."""
    folder = tmp_path / "site" / "gift_rows"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "rows.csv").write_text(CSV)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return "gift_rows"


def test_paths_start_from_the_manifests_folder(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "d.csv").write_text(CSV)
    assert read(tmp_path, "rows/d.csv").texts == ["hello", "world"]
    assert read(Path("/nowhere"), str(tmp_path / "rows" / "d.csv")).texts == ["hello", "world"]


def test_a_file_address_may_hold_escaped_characters(tmp_path: Path) -> None:
    path = tmp_path / "my rows#1.csv"
    path.write_text(CSV)
    assert read(Path("/nowhere"), f"file://{tmp_path}/my%20rows#1.csv").texts == ["hello", "world"]


def test_a_file_of_another_ending_needs_a_format(tmp_path: Path) -> None:
    (tmp_path / "d.txt").write_text(CSV)
    assert complaint(tmp_path, "d.txt") == (
        "spec.data.test.uri: The ending of 'd.txt' does not tell how it is written. Set "
        "spec.data.test.format to csv, tsv, "
        "json, jsonl or parquet."
    )
    assert read(tmp_path, "d.txt", format="csv").texts == ["hello", "world"]


def test_a_folder_gives_its_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "c.csv").write_text("text,label\nthird,a\n")
    (tmp_path / "b.jsonl").write_text('{"text": "second", "label": "b"}\n')
    (tmp_path / "a.csv").write_text("text,label\nfirst,a\n")
    (tmp_path / "README.md").write_text("not data")
    (tmp_path / ".hidden.csv").write_text("broken")
    rows = read(tmp_path, ".")
    assert rows.texts == ["first", "second", "third"]
    assert rows.sources == ["a.csv:1", "b.jsonl:1", "part/c.csv:1"]
    assert read(tmp_path, ".", format="jsonl").texts == ["second"]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert complaint(tmp_path, ".") == (
        "spec.data.test.uri: The folder '.' has no csv, tsv, json, jsonl or parquet file. Name a folder "
        "with data files."
    )


def test_a_header_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("text,label\n")
    assert complaint(tmp_path, "d.csv") == "spec.data.test.uri: 'd.csv' has no rows. Name a file with rows."


def test_a_missing_file_gets_a_guess(tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text(CSV)
    assert complaint(tmp_path, "revews.csv") == (
        f"spec.data.test.uri: There is no file 'revews.csv' ({tmp_path}/revews.csv). Did you mean "
        "'reviews.csv'?"
    )
    assert complaint(tmp_path, "xyz.csv").endswith("That folder has 'reviews.csv'.")


def test_a_file_inside_a_package_is_read_without_importing_it(package: str) -> None:
    assert read(Path("/nowhere"), f"pkg://{package}/rows.csv").texts == ["hello", "world"]
    assert package not in sys.modules


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (
            "pkg://no_such_rows/rows.csv",
            "The Python package 'no_such_rows' is not installed. Install it into the environment that "
            "runs anneal, for "
            "example with pip install no-such-rows.",
        ),
        (
            "pkg://gift_rows/../x.csv",
            "'pkg://gift_rows/../x.csv' leads out of its package. Leave '..' out of the path.",
        ),
        (
            "pkg://gift.rows/x.csv",
            "'pkg://gift.rows/x.csv' does not name a package. Write pkg://PACKAGE/PATH with the name "
            "that Python imports, "
            "for example pkg://my_models/bert.",
        ),
        (
            "file://rows/x.csv",
            "'file://rows/x.csv' is not an absolute file:// address. Write file:///absolute/path, with "
            "three slashes, or a "
            "plain path for one beside the manifest.",
        ),
        (
            "gs://bucket/x.csv",
            "'gs://bucket/x.csv' cannot be read: gs:// is not supported here. Use a path, file://, pkg:// or s3://.",
        ),
        ("x" * 300, f"'{'x' * 300}' cannot be looked up: File name too long. Name a file."),
        ("hf://", "'hf://' does not name a data set. Write hf://NAME or hf://NAME/CONFIG."),
    ],
)
@pytest.mark.usefixtures("package")
def test_an_address_that_leads_nowhere_is_explained(tmp_path: Path, uri: str, expected: str) -> None:
    assert complaint(tmp_path, uri) == f"spec.data.test.uri: {expected}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """A hub with one data set, OWNER `lab`, and the calls that it got."""
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    stored = datasets.Dataset.from_dict({"text": ["x", "y", None], "label": [1, 0, -1]}, features=features)
    calls: list[tuple[Any, ...]] = []

    def load_dataset(name: str, config: str | None, *, split: str) -> datasets.Dataset:
        calls.append((name, config, split))
        if name not in {"lab/reviews", "glue"}:
            raise datasets.exceptions.DatasetNotFoundError(f"Dataset '{name}' doesn't exist on the Hub.")
        if split == "dev":
            raise ValueError("Unknown split \"dev\". Should be one of ['train', 'test'].")
        return stored

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


@pytest.mark.parametrize(
    ("uri", "last_call"),
    [
        ("hf://lab/reviews", ("lab/reviews", None, "test")),
        ("hf://glue/sst2", ("glue", "sst2", "test")),
        ("hf://lab/reviews/english", ("lab/reviews", "english", "test")),
    ],
)
def test_a_hub_data_set_gives_the_names_of_its_classes(
    tmp_path: Path, hub: list[tuple[Any, ...]], uri: str, last_call: tuple[Any, ...]
) -> None:
    rows = read(tmp_path, uri)
    assert (rows.texts, rows.labels) == (["x", "y", ""], ["good", "bad", ""])
    assert rows.sources[0] == f"{uri}[test]:1"
    assert hub[-1] == last_call


@pytest.mark.usefixtures("hub")
def test_a_hub_data_set_that_cannot_be_read_is_explained(tmp_path: Path) -> None:
    unknown = complaint(tmp_path, "hf://nobody/nothing")
    assert "on a cluster, name a Secret with the key `token` in spec.model.secretRef" in unknown
    assert unknown.startswith(
        "spec.data.test.uri: 'hf://nobody/nothing' is not on the hub, or it is private: Dataset "
        "'nobody/nothing' doesn't "
        "exist on the Hub; Dataset 'nobody' doesn't exist on the Hub. Check the name; set HF_TOKEN"
    )
    assert "Unknown split \"dev\". Should be one of ['train', 'test']." in complaint(
        tmp_path, "hf://lab/reviews", split="dev"
    )


@pytest.mark.parametrize("name", ["lab/reviews", "glue"])
@pytest.mark.parametrize("is_file", [True, False])
def test_a_local_folder_of_the_same_name_never_passes_for_the_hubs_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: list[tuple[Any, ...]], name: str, is_file: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    if is_file:
        (tmp_path / name).write_text("text,label\nlocal,a\n")
    else:
        (tmp_path / name).mkdir()
        (tmp_path / name / "test.csv").write_text("text,label\nlocal,a\n")
    told = complaint(tmp_path, f"hf://{name}")
    assert told.startswith(
        f"spec.data.test.uri: 'hf://{name}' does not reach the hub: there is a file or folder '{name}' in {tmp_path}"
    )
    assert f"name it as a path, for example ./{name}." in told
    assert hub == []


def test_a_local_folder_with_the_owners_name_does_not_stand_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: list[tuple[Any, ...]]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab").mkdir()
    assert read(tmp_path, "hf://lab/reviews").texts == ["x", "y", ""]
    assert "there is a file or folder 'lab'" in complaint(tmp_path, "hf://lab/nothing")
    assert ("lab", "nothing", "test") not in hub


@pytest.mark.parametrize("uri", ["hf://csv", "hf://json", "hf://parquet/x"])
def test_the_readers_of_datasets_are_no_data_sets(
    tmp_path: Path, hub: list[tuple[Any, ...]], uri: str
) -> None:
    assert "datasets' own readers" in complaint(tmp_path, uri)
    assert not [call for call in hub if "/" not in call[0]]


@pytest.mark.parametrize(
    "uri", ["hf://", "hf://../reviews", "hf://./reviews", "hf://~/reviews", "hf://a/b/c/d", "hf://a//b"]
)
def test_what_is_no_name_on_the_hub_is_refused(tmp_path: Path, hub: list[tuple[Any, ...]], uri: str) -> None:
    assert "does not name a data set" in complaint(tmp_path, uri)
    assert hub == []


def test_a_hub_data_set_offline_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "without a network, copy the data beside the manifest" in complaint(tmp_path, "hf://lab/reviews")
