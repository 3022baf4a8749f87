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
    assert result.stdout.splitlines() == [
        f"OK  {first}  reviews (machine only)",
        f"OK  {second}  reviews (machine only), tweets (machine only)",
    ]


def on_claims(good: str) -> str:
    return good.replace("train.csv", '"pvc://datasets/train.csv"')


def anywhere(good: str) -> str:
    return good.replace("train.csv", '"hf://sst2"')


def test_it_is_told_where_a_job_can_run(write: Write, good: str) -> None:
    either, cluster = write(anywhere(good), "either.yaml"), write(on_claims(good), "cluster.yaml")
    mixed = write(f"{good}---\n{on_claims(good).replace('reviews', 'tweets')}", "mixed.yaml")
    result = anneal("validate", either, cluster, mixed)
    assert result.exit_code == ExitCode.OK
    assert result.stdout.splitlines() == [
        f"OK  {either}  reviews",
        f"OK  {cluster}  reviews (cluster only)",
        f"OK  {mixed}  reviews (machine only), tweets (cluster only)",
    ]
    record = json.loads(anneal("validate", either, cluster, mixed, "--output", "json").stdout)
    assert record["valid"] is True
    assert [file["runsOn"] for file in record["files"]] == [["machine", "cluster"], ["cluster"], []]


def test_one_place_can_be_asked_for(write: Write, good: str) -> None:
    machine, cluster = write(good, "machine.yaml"), write(on_claims(good), "cluster.yaml")
    assert anneal("validate", "--on", "machine", machine).stdout == f"OK  {machine}  reviews\n"
    assert anneal("validate", "--on", "cluster", cluster).stdout == f"OK  {cluster}  reviews\n"
    refused = anneal("validate", "--on", "machine", cluster)
    assert refused.exit_code == ExitCode.MANIFEST_INVALID
    assert refused.stdout.splitlines()[1:3] == [
        f"  {cluster}:9:13  spec.data.train.uri",
        "    Places like `pvc://` are on a cluster.",
    ]
    refused = anneal("validate", "--on", "cluster", machine)
    assert refused.exit_code == ExitCode.MANIFEST_INVALID
    assert "does not have the disk" in refused.stdout


def test_the_place_with_fewer_problems_tells_them(write: Write, good: str) -> None:
    bad = write(on_claims(good).replace("epochs: 3", "epochs: 0"))
    result = anneal("validate", bad)
    assert result.stdout.splitlines()[:2] == [
        f"INVALID  {bad}  1 problem",
        f"  {bad}:12:5  spec.training.epochs",
    ]


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
        f"OK  {fine}  reviews (machine only)",
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
                "runsOn": [],
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
            {"file": str(fine), "valid": True, "jobs": ["reviews"], "runsOn": ["machine"], "problems": []},
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
