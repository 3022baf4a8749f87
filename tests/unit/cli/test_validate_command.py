from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from anneal_api.errors import ExitCode
from anneal_cli.app import app

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")


def anneal(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_good_files_are_ok(write: Write, good: str) -> None:
    first, second = write(good, "a.yaml"), write(f"{good}---\n{good.replace('reviews', 'tweets')}", "b.yaml")
    result = anneal("validate", first, second)
    assert result.exit_code == ExitCode.OK
    assert result.stdout.splitlines() == [f"OK  {first}  reviews", f"OK  {second}  reviews, tweets"]


def test_every_problem_of_every_file_is_printed(write: Write, good: str, tmp_path: Path) -> None:
    bad = write(good.replace("epochs: 3", "epoch: 3").replace("name: reviews", "name: Reviews"), "bad.yaml")
    fine, missing = write(good, "fine.yaml"), tmp_path / "missing.yaml"
    result = anneal("validate", bad, fine, missing)
    assert result.exit_code == ExitCode.MANIFEST_INVALID
    assert result.stdout.splitlines() == [
        f"INVALID  {bad}  2 problems",
        f"  {bad}:3:12  metadata.name",
        "    'Reviews' is not a valid name.",
        "    Use lower-case letters, digits and dashes; begin and end with a letter or digit.",
        f"  {bad}:12:5  spec.training.epoch",
        "    There is no such field.",
        "    Did you mean `epochs`?",
        f"OK  {fine}  reviews",
        f"INVALID  {missing}  1 problem",
        f"  {missing}",
        "    There is no such file.",
        "    Check the path.",
    ]


def test_json_is_for_programs(write: Write, good: str) -> None:
    bad, fine = write(good.replace("epochs: 3", "epochs: 0"), "bad.yaml"), write(good, "fine.yaml")
    result = anneal("validate", bad, fine, "--output", "json")
    assert result.exit_code == ExitCode.MANIFEST_INVALID
    assert json.loads(result.stdout) == {
        "valid": False,
        "files": [
            {
                "file": str(bad),
                "valid": False,
                "jobs": [],
                "problems": [
                    {
                        "path": "spec.training.epochs",
                        "line": 12,
                        "column": 5,
                        "what": "0 is out of range.",
                        "remedy": "Make it at least 1.",
                    }
                ],
            },
            {"file": str(fine), "valid": True, "jobs": ["reviews"], "problems": []},
        ],
    }


def test_text_of_a_manifest_cannot_style_or_steer_the_terminal(write: Write, good: str) -> None:
    bad = write(good.replace("task: text-classification", r'task: "[red]x[/red]\e[31m"'))
    result = anneal("validate", bad)
    assert r"'[red]x[/red]\x1b[31m' is not one of the values" in result.stdout


@pytest.mark.parametrize("arguments", [["validate"], ["validate", "--output", "xml", "a"], ["nonsense"]])
def test_a_wrong_command_line_is_a_usage_error(arguments: list[str]) -> None:
    assert anneal(*arguments).exit_code == ExitCode.USAGE


def test_version_and_help() -> None:
    assert anneal("--version").stdout.startswith("anneal ")
    help_text = anneal("--help")
    assert help_text.exit_code == ExitCode.OK
    assert "validate" in help_text.stdout
