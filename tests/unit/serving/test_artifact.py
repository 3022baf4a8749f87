from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_model import TEXTS

from anneal_api.errors import ArtifactInvalid
from anneal_serving.artifact import Artifact, latest_version
from anneal_serving.model_info import ModelInfo


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_a_whole_version_opens_and_answers(version_folder: Path) -> None:
    artifact = Artifact.open(version_folder)
    assert artifact.version == "reviews/v1"
    with artifact.predictor() as predictor:
        assert predictor.predict(["fine"])[0].label in predictor.labels


def test_an_altered_file_is_found_by_its_digest(version_folder: Path) -> None:
    model = version_folder / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    with pytest.raises(ArtifactInvalid, match=r"model\.onnx.*altered"):
        Artifact.open(version_folder)
    assert Artifact.open(version_folder, verify=False).version == "reviews/v1"


def test_every_missing_and_short_file_is_named_at_once(version_folder: Path) -> None:
    (version_folder / "config.json").unlink()
    (version_folder / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(ArtifactInvalid) as caught:
        Artifact.open(version_folder)
    assert {problem.where for problem in caught.value.problems} == {"config.json", "tokenizer.json"}


def test_a_folder_without_a_manifest_is_no_version(version_folder: Path) -> None:
    (version_folder / "manifest.json").unlink()
    with pytest.raises(ArtifactInvalid, match=r"no manifest\.json"):
        Artifact.open(version_folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b"[" * 100_000])
def test_a_broken_manifest_is_an_invalid_artifact(version_folder: Path, content: bytes) -> None:
    (version_folder / "manifest.json").write_bytes(content)
    with pytest.raises(ArtifactInvalid, match="manifest"):
        Artifact.open(version_folder)


def test_an_unknown_format_asks_for_another_version_of_anneal(version_folder: Path) -> None:
    edit_manifest(version_folder, lambda document: document.update(formatVersion=2, novelty=True))
    with pytest.raises(ArtifactInvalid, match="has format 2") as caught:
        Artifact.open(version_folder)
    assert "Install the version of anneal" in caught.value.remedy


def test_a_path_out_of_the_folder_is_refused(version_folder: Path) -> None:
    (version_folder.parent / "outside").write_bytes(b"")
    stranger = {"path": "../outside", "bytes": 0, "sha256": "0" * 64}
    edit_manifest(version_folder, lambda document: document["files"].append(stranger))
    with pytest.raises(ArtifactInvalid, match="leads out of the folder"):
        Artifact.open(version_folder)


def test_a_link_out_of_the_folder_is_refused(version_folder: Path, tmp_path: Path) -> None:
    model = version_folder / "model.onnx"
    model.rename(tmp_path / "elsewhere.onnx")
    model.symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(ArtifactInvalid, match="leads out of the folder"):
        Artifact.open(version_folder)


def test_a_model_without_a_digest_is_refused(version_folder: Path) -> None:
    def forget(document: dict[str, Any]) -> None:
        document["files"] = [file for file in document["files"] if file["path"] != "model.onnx"]

    edit_manifest(version_folder, forget)
    with pytest.raises(ArtifactInvalid, match="not listed"):
        Artifact.open(version_folder)


def test_a_jobs_folder_means_its_highest_complete_version(version_folder: Path) -> None:
    job = version_folder.parent
    for number in (2, 9, 10):
        shutil.copytree(version_folder, job / f"v{number}")
    shutil.copytree(version_folder, job / "v11", ignore=shutil.ignore_patterns("manifest.json"))
    shutil.copytree(version_folder, job / ".v12.partial")
    assert latest_version(job) == job / "v10"
    assert latest_version(version_folder) == version_folder


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_a_folder_without_versions_says_what_to_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactInvalid) as caught:
        latest_version(tmp_path / name)
    assert "manifest.json" in caught.value.remedy


def test_examples_are_held_out_texts_of_every_label(version_folder: Path) -> None:
    examples = ModelInfo.of(Artifact.open(version_folder)).examples
    assert 1 < len(examples) <= 4
    assert set(examples) <= set(TEXTS)


def test_a_private_model_shows_no_examples(version_folder: Path) -> None:
    artifact = Artifact.open(version_folder)
    hashed = {"sha256": "0" * 64, "label": "neutral", "score": 0.9}
    (version_folder / "parity.jsonl").write_text(json.dumps(hashed) + "\n")
    assert ModelInfo.of(artifact).examples == ()
