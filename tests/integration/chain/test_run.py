"""`anneal run` from manifest to published version: what it keeps, what it runs again, what it refuses."""

from __future__ import annotations

import socket

import httpx
import numpy as np
import pytest
from chain_world import anneal, read_json, serving, stage_folder, versions, write_rows

from anneal_serving.artifact import Artifact

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]


def _reused(output: str) -> set[str]:
    return {line.split()[1] for line in output.splitlines() if " reused " in line}


ALL = {"preflight", "prepare", "train", "evaluate", "compress", "gate", "publish"}


def test_a_job_is_published_and_a_second_run_does_nothing_twice(job, tmp_path):
    first = anneal("run", job(), folder=tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert _reused(first.stdout) == set()
    (version,) = versions(tmp_path)
    expected = {
        "manifest.json", "config.json", "model.safetensors", "model.onnx", "tokenizer.json", "parity.jsonl",
        "README.md", "report.html", "run.json", "training-rows.npy",
    }  # fmt: skip
    assert expected <= {path.name for path in version.iterdir()}
    assert "Published words v1" in first.stdout

    second = anneal("run", job(), folder=tmp_path)
    assert second.returncode == 0
    assert _reused(second.stdout) == ALL
    assert versions(tmp_path) == [version]

    # Editing the evaluation alone trains nothing again, and a bar that cannot be met publishes nothing.
    edited = anneal("run", job(evaluation={"gates": [{"metric": "accuracy", "min": 1.01}]}), folder=tmp_path)
    assert edited.returncode == 6, edited.stdout + edited.stderr
    assert {"preflight", "prepare", "train", "compress"} <= _reused(edited.stdout)
    assert "Nothing was published" in edited.stdout
    assert "spec.evaluation.gates[0]" in edited.stdout
    assert versions(tmp_path) == [version]

    # What was measured is what is served, and what the loop measured is what the Predictor measures.
    artifact = Artifact.open(version)
    with artifact.predictor(threads=2) as predictor:
        served = predictor.logits(_texts(tmp_path / "test.csv"))
    measured = np.load(stage_folder(tmp_path, "gate") / "test-logits.npy")
    assert np.array_equal(served, measured)
    labels = artifact.manifest.predictor.labels
    assert _labels_over_http(version, _texts(tmp_path / "test.csv")) == [
        labels[i] for i in measured.argmax(1)
    ]
    training = read_json(stage_folder(tmp_path, "train") / "training.json")
    in_loop = next(e for e in training["epochs"] if e["epoch"] == training["bestEpoch"])["metrics"]
    predicted = read_json(stage_folder(tmp_path, "evaluate") / "validation.json")["metrics"]
    assert predicted == pytest.approx(in_loop, abs=1e-5)

    # A worse second version loses against the incumbent, and the first one stays.
    gates = [{"metric": "accuracy", "versusIncumbent": -0.05}]  # no single row of 96 decides
    worse = anneal(
        "run",
        job(training={"learningRate": 1e-7, "epochs": 1}, evaluation={"gates": gates}),
        folder=tmp_path,
    )
    assert worse.returncode == 6, worse.stdout + worse.stderr
    assert "v1" in worse.stdout
    assert versions(tmp_path) == [version]

    # A version as good as the first takes its place, and says what it was compared with.
    write_rows(tmp_path / "train.csv", 352, seed=1)
    better = anneal("run", job(evaluation={"gates": gates}), folder=tmp_path)
    assert better.returncode == 0, better.stdout + better.stderr
    assert [path.name for path in versions(tmp_path)] == ["v1", "v2"]
    assert Artifact.open(versions(tmp_path)[1]).manifest.incumbent == 1


def _labels_over_http(version, texts):
    with serving(version) as url:
        answer = httpx.post(f"{url}/predict", json={"inputs": texts}, timeout=60)
        answer.raise_for_status()
        return [row["label"] for row in answer.json()["predictions"]]


def _texts(path):
    import csv

    with path.open(encoding="utf-8") as file:
        return [row["text"] for row in csv.DictReader(file)]


def test_bad_data_is_refused_before_training_with_file_row_and_column(job, tmp_path):
    path = job(data={"invalidRows": {"action": "Refuse"}})
    with (tmp_path / "test.csv").open("a", encoding="utf-8") as file:
        file.write("a text,neutral\n")
    result = anneal("run", path, folder=tmp_path)
    assert result.returncode == 4, result.stdout + result.stderr
    assert "neutral" in result.stderr
    assert "test.csv" in result.stderr
    assert "row 97" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("option", ["--work-dir", "--store"])
def test_a_place_that_cannot_be_written_is_found_before_preflight(job, tmp_path, option):
    path = job()
    result = anneal("run", path, option, path, folder=tmp_path)
    assert result.returncode == 9, result.stdout + result.stderr
    assert option in result.stderr
    assert f"{path} is a file" in result.stderr
    assert "preflight" not in result.stdout


def test_a_taken_port_is_found_before_training(job, tmp_path):
    path = job(serving={})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = anneal("run", path, "--port", taken.getsockname()[1], folder=tmp_path)
    assert result.returncode == 9
    assert "--port" in result.stderr
    assert not (tmp_path / ".anneal").exists()
