from __future__ import annotations

from pathlib import Path

import pytest
from manifest_reference import EXAMPLE, render

from anneal_api.errors import ExitCode
from anneal_api.suggestions import manifest_fields
from anneal_cli.manifest_file import load_job

DOCS = Path(__file__).parents[3] / "docs"


def test_the_reference_is_fresh() -> None:
    assert (DOCS / "manifest.md").read_text(encoding="utf-8") == render(), (
        "docs/manifest.md is stale: make docs"
    )


def test_the_example_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "finetunejob.yaml"
    file.write_text(EXAMPLE, encoding="utf-8")
    assert load_job(file).metadata.name == "reviews"


@pytest.mark.parametrize("path", sorted(manifest_fields()))
def test_every_field_is_described(path: str) -> None:
    assert manifest_fields()[path].summary.endswith(".")


def test_every_exit_code_is_documented() -> None:
    text = (DOCS / "exit-codes.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert [row.split(" | ")[:2] for row in rows] == [
        [f"| {code.value}", f"`{code.name}`"] for code in ExitCode
    ]
