"""The worker count does not change what is learned."""

from __future__ import annotations

import pytest
from chain_world import anneal, read_json, stage_folder

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]


def test_one_worker_and_two_have_the_same_losses(job, tmp_path):
    training = {
        "dropout": 0.0,
        "precision": "fp32",  # bf16 rounds each worker's gradients
        "epochs": 1,
        "batchSize": 15,
        "maxBatchTokens": 128,
        "learningRate": 1e-3,
    }
    curves = []
    for workers in (1, 2):
        path = job(training=training, resources={"workers": workers, "cpu": 1}, evaluation={"gates": []})
        result = anneal("run", path, "--no-serve", "--fresh", folder=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
        record = read_json(stage_folder(tmp_path, "train") / "training.json")
        assert record["workers"] == workers
        curves.append(record["lossCurve"])
    one, two = curves
    assert [point["step"] for point in one] == [point["step"] for point in two] == list(range(1, 23))
    assert [point["loss"] for point in one] == pytest.approx([point["loss"] for point in two], abs=1e-5)
    assert [point["gradNorm"] for point in one] == pytest.approx(
        [point["gradNorm"] for point in two], abs=1e-4
    )
