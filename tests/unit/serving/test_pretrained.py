"""Models and tokenizers come from their folder alone, and bring no code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from anneal_serving.pretrained import load_classifier, load_config, load_tokenizer

ROOT = Path(__file__).resolve().parents[3]
LOADER = ROOT / "serving" / "anneal_serving" / "pretrained.py"


def calls(name: str) -> list[tuple[Path, ast.Call]]:
    """Returns the calls of a method anywhere in the product."""
    found = []
    for folder in ("operator", "serving", "trainer"):
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found += [
                (path, node)
                for node in ast.walk(tree)
                if isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == name
            ]
    return found


def said(call: ast.Call) -> dict[str, object]:
    return {word.arg: word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)}


def test_there_is_one_place_that_loads_and_it_neither_asks_the_hub_nor_runs_code():
    found = calls("from_pretrained")
    assert len(found) == 3
    for path, call in found:
        assert path == LOADER
        assert said(call).items() >= {"local_files_only": True, "trust_remote_code": False}.items()


def test_a_model_that_is_built_brings_no_code_either():
    for path, call in calls("from_config"):
        assert said(call).get("trust_remote_code") is False, path


@pytest.mark.parametrize("load", [load_config, load_tokenizer, load_classifier])
@pytest.mark.parametrize("folder", ["acme/tiny", "bert-base-uncased", "."])
def test_a_name_is_never_looked_up_elsewhere(load, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="there is no folder"):
        load(Path(folder))
