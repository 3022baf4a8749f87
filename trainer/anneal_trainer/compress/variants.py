"""Makes the variants that a manifest asks for, and measures each through the Predictor that would serve it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anneal_api.errors import AnnealError
from anneal_api.published import BackendKind, PredictorConfig
from anneal_api.spec.compression import Compression
from anneal_serving.backends.last_token import read_last_token
from anneal_serving.predictor import Predictor
from anneal_serving.pretrained import load_classifier
from anneal_trainer.compress.export import export_onnx
from anneal_trainer.compress.quantize import quantize_int8
from anneal_trainer.compress.variant import (
    CONFIG_FILE,
    FP32,
    LOGITS_FILE,
    MEASURES_FILE,
    MODEL_FILE,
    Measures,
)
from anneal_trainer.environment import usable_cores

_EXPORT_TOLERANCE = 1e-3
_LATENCY_ROWS = 200
_WARM_UP_ROWS = 10


def make_variants(
    folder: Path,
    *,
    trained: Path,
    parent: PredictorConfig,
    compression: Compression,
    texts: Sequence[str],
    parent_logits: NDArray[np.float32],
) -> None:
    """Writes and measures the uncompressed model and every variant of the manifest.

    Args:
        folder: Gets one folder a variant.
        trained: The trained model, as Hugging Face saves it, with the tokenizer.
        parent: How the trained model answers in torch.
        compression: The variants to make.
        texts: The validation texts.
        parent_logits: The trained model's outputs for them, [rows, labels].

    Raises:
        AnnealError: The model cannot be exported, or what was exported computes something else.
    """
    fp32 = folder / FP32
    fp32.mkdir(parents=True, exist_ok=True)
    model, _ = load_classifier(trained)
    read_last_token(model)
    export_onnx(model, parent.codec, fp32 / MODEL_FILE)
    exact = _finish_variant(fp32, trained, parent, ["onnx"], texts, parent_logits)
    if exact.max_logit_difference > _EXPORT_TOLERANCE:
        raise AnnealError(
            f"The exported model differs from the trained one by {exact.max_logit_difference:.2g} in a logit.",
            where="spec.compression",
            remedy="The export of this model family is not exact with the installed versions; report it.",
        )
    for variant in compression.variants:
        if variant.quantize is None:
            continue
        target = folder / variant.name
        target.mkdir(exist_ok=True)
        quantize_int8(fp32 / MODEL_FILE, target / MODEL_FILE, variant.quantize)
        _finish_variant(target, trained, parent, ["onnx", "quantize"], texts, parent_logits)


def _finish_variant(
    folder: Path,
    trained: Path,
    parent: PredictorConfig,
    steps: list[str],
    texts: Sequence[str],
    parent_logits: NDArray[np.float32],
) -> Measures:
    shutil.copyfile(trained / parent.codec.tokenizer_file, folder / parent.codec.tokenizer_file)
    config = parent.model_copy(
        update={"backend": BackendKind.ONNXRUNTIME, "model_file": MODEL_FILE, "variant": folder.name}
    )
    (folder / CONFIG_FILE).write_text(config.model_dump_json(indent=1), encoding="utf-8")
    with Predictor.load(folder, config, threads=1) as predictor:
        latencies = _latencies_ms(predictor, texts)
    with Predictor.load(folder, config, threads=usable_cores()) as predictor:
        logits = predictor.logits(texts)
    np.save(folder / LOGITS_FILE, logits)
    measures = Measures(
        steps=steps,
        bytes=(folder / MODEL_FILE).stat().st_size,
        latency_ms_p50=float(np.percentile(latencies, 50)),
        latency_ms_p95=float(np.percentile(latencies, 95)),
        max_logit_difference=float(np.abs(logits - parent_logits).max()),
        agreement=float((logits.argmax(1) == parent_logits.argmax(1)).mean()),
    )
    (folder / MEASURES_FILE).write_text(json.dumps(asdict(measures), indent=1), encoding="utf-8")
    return measures


def _latencies_ms(predictor: Predictor, texts: Sequence[str]) -> list[float]:
    chosen = [texts[index] for index in np.linspace(0, len(texts) - 1, _LATENCY_ROWS).astype(int)]
    for text in chosen[:_WARM_UP_ROWS]:
        predictor.logits([text])
    latencies = []
    for text in chosen:
        started = time.perf_counter()
        predictor.logits([text])
        latencies.append((time.perf_counter() - started) * 1000)
    return latencies
