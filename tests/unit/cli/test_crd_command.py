from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from anneal_cli.app import app


def test_the_definition_is_printed_alike_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = CliRunner().invoke(app, ["crd"])
    monkeypatch.chdir(tmp_path)
    second = CliRunner().invoke(app, ["crd"])
    assert first.exit_code == 0
    assert first.stdout == second.stdout
    assert first.stdout.endswith("\n")
    assert "\nkind: CustomResourceDefinition\n" in first.stdout


def test_small_numbers_are_numbers_to_every_yaml() -> None:
    assert "default: 2.0e-05\n" in CliRunner().invoke(app, ["crd"]).stdout
