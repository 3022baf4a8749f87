from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_model import LABELS, TEXTS, onnx_config

from anneal_api.errors import ArtifactInvalid
from anneal_api.published import PredictorConfig
from anneal_serving.predictor import Predictor

BACKENDS = ["torch", "model.onnx", "int8.onnx"]


def load(tiny: tuple[Path, PredictorConfig], backend: str, threads: int = 1) -> Predictor:
    folder, config = tiny
    return Predictor.load(
        folder, config if backend == "torch" else onnx_config(config, backend), threads=threads
    )


def test_both_backends_answer_alike(tiny: tuple[Path, PredictorConfig]) -> None:
    with load(tiny, "torch") as torch_predictor, load(tiny, "model.onnx") as onnx_predictor:
        expected, found = torch_predictor.logits(TEXTS), onnx_predictor.logits(TEXTS)
        assert found.shape == (len(TEXTS), len(LABELS))
        assert found.dtype == expected.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-4)
        labels = [answer.label for answer in onnx_predictor.predict(TEXTS)]
        assert labels == [answer.label for answer in torch_predictor.predict(TEXTS)]
        assert len(set(labels)) > 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_rows_answer_does_not_depend_on_its_company(
    tiny: tuple[Path, PredictorConfig], backend: str
) -> None:
    with load(tiny, backend, threads=3) as predictor:
        together = predictor.logits(TEXTS)
        backwards = predictor.logits(TEXTS[::-1])[::-1]
        alone = np.concatenate([predictor.logits([text]) for text in TEXTS])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, backwards)


def test_a_row_takes_one_core(tiny: tuple[Path, PredictorConfig]) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        with load(tiny, "torch", threads=3) as predictor:
            assert list(predictor.executor.map(lambda _: torch.get_num_threads(), range(3))) == [1, 1, 1]
    finally:
        torch.set_num_threads(before)


def test_answers_come_in_the_order_of_the_texts(tiny: tuple[Path, PredictorConfig]) -> None:
    texts = TEXTS * 20
    with load(tiny, "model.onnx", threads=1) as one, load(tiny, "model.onnx", threads=4) as four:
        np.testing.assert_array_equal(four.logits(texts), one.logits(texts))


def test_no_texts_get_no_answers(predictor: Predictor) -> None:
    assert predictor.predict([]) == []
    assert predictor.logits([]).shape == (0, len(LABELS))


def test_a_model_that_does_not_fit_its_labels_fails_when_loaded(
    tiny: tuple[Path, PredictorConfig],
) -> None:
    folder, config = tiny
    two = onnx_config(config).model_copy(update={"labels": LABELS[:2]})
    with pytest.raises(ArtifactInvalid, match="for 2 labels"):
        Predictor.load(folder, two)


def test_a_model_with_other_inputs_fails_when_loaded(tiny: tuple[Path, PredictorConfig]) -> None:
    folder, config = tiny
    codec = config.codec.model_copy(update={"inputs": ["input_ids", "attention_mask"]})
    with pytest.raises(ArtifactInvalid, match="token_type_ids"):
        Predictor.load(folder, onnx_config(config).model_copy(update={"codec": codec}))


@pytest.mark.parametrize("backend", ["torch", "model.onnx"])
def test_broken_weights_are_an_invalid_artifact(
    tiny: tuple[Path, PredictorConfig], tmp_path: Path, backend: str
) -> None:
    folder, config = tiny
    for name in ("tokenizer.json", "config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ArtifactInvalid, match="cannot be loaded"):
        load((tmp_path, config), backend)
    for name in ("model.safetensors", "model.onnx"):
        (tmp_path / name).write_bytes(b"\x08\x00not a model")
    with pytest.raises(ArtifactInvalid, match="cannot be loaded"):
        load((tmp_path, config), backend)


def test_answering_needs_neither_torch_nor_ray_nor_a_web_framework(version_folder: Path) -> None:
    script = """
import sys
from pathlib import Path
from anneal_serving.artifact import Artifact
with Artifact.open(Path(sys.argv[1])).predictor() as predictor:
    assert predictor.predict(["fine"])[0].label
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(version_folder)], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert {"onnxruntime", "tokenizers", "numpy"} <= loaded
    heavy = {"torch", "ray", "transformers", "fastapi", "starlette", "datasets", "pandas", "sklearn"}
    assert loaded.isdisjoint(heavy)
