"""A BERT of a few thousand weights with a tokenizer of its own: everything that serves, in a second."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification

from anneal_api.published import PredictorConfig
from anneal_api.spec.compression import Quantize
from anneal_serving.artifact import Artifact
from anneal_trainer.compress.export import export_onnx
from anneal_trainer.compress.quantize import quantize_int8

LABELS = ["negative", "neutral", "positive"]
MAX_LENGTH = 16
VERSION = "reviews/v1"
TEXTS = [
    "a gripping film that one wants to see again",
    "it never finds its feet",
    "fine, I suppose",
    "The worst two hours of my year!",
    "a small, warm and very funny story about a family that one comes to love before it is over, all of it",
    "na\u00efve \u65e5\u672c \U0001f600",
]


def write_tiny_model(folder: Path) -> PredictorConfig:
    """Writes tokenizer, torch weights, `model.onnx` and `int8.onnx`; returns how the torch model answers."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            # Wide weights, so that different texts get clearly different answers.
            initializer_range=0.5,
            id2label=dict(enumerate(LABELS)),
            label2id={label: index for index, label in enumerate(LABELS)},
        )
    )
    model.save_pretrained(folder)
    config = PredictorConfig.model_validate(
        {
            "task": "text-classification",
            "labels": LABELS,
            "codec": {
                "maxLength": MAX_LENGTH,
                "padTokenId": 0,
                "inputs": ["input_ids", "attention_mask", "token_type_ids"],
            },
            "backend": "torch",
            "modelFile": "model.safetensors",
            "variant": "fp32",
        }
    )
    export_onnx(model, config.codec, folder / "model.onnx")
    quantize_int8(folder / "model.onnx", folder / "int8.onnx", Quantize())
    return config


def onnx_config(config: PredictorConfig, file: str = "model.onnx") -> PredictorConfig:
    """Returns how the same model answers through ONNX Runtime."""
    document = config.model_dump() | {"backend": "onnxruntime", "modelFile": file, "variant": Path(file).stem}
    return PredictorConfig.model_validate(document)


def publish(
    folder: Path,
    predictor: PredictorConfig,
    *,
    version: int = 1,
    parity: Sequence[Mapping[str, object]] | None = None,
) -> None:
    """Writes `parity.jsonl`, with made-up answers if need be, and `manifest.json` beside a model's files."""
    rows = parity or [
        {"text": text, "label": LABELS[index % 3], "score": 0.5 + index / 20}
        for index, text in enumerate(TEXTS)
    ]
    (folder / "parity.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    files = [
        {
            "path": path.name,
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.iterdir())
        if path.name != "manifest.json"
    ]
    manifest = {
        "formatVersion": 1,
        "namespace": "default",
        "job": "reviews",
        "version": version,
        "createdAt": "2026-01-02T03:04:05Z",
        "predictor": predictor.model_dump(mode="json"),
        "files": files,
        "metrics": {"accuracy": 0.912, "f1": 0.905},
        "baseModel": {"source": "pkg://tiny/model", "revision": "0"},
        "data": {"digest": "0" * 64, "trainRows": 3, "validationRows": 3, "testRows": 6},
        "seed": 42,
        "codeVersion": "0.1.0",
        "candidate": "0" * 64,
        "incumbent": None,
        "spec": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def right_answers(folder: Path) -> list[dict[str, object]]:
    """Returns the rows of a `parity.jsonl` that a published version answers by itself."""
    with Artifact.open(folder).predictor() as predictor:
        answers = predictor.predict(TEXTS)
    return [
        {"text": text, "label": answer.label, "score": answer.score}
        for text, answer in zip(TEXTS, answers, strict=True)
    ]


def _tokenizer() -> Tokenizer:
    # The vocabulary is written out, not trained: training orders equal pieces by chance.
    normalizer = normalizers.BertNormalizer()
    words = sorted({word for text in TEXTS for word in re.findall(r"\w+", normalizer.normalize_str(text))})
    letters = [chr(code) for code in range(33, 127)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    # As published tokenizers often are: with padding and a limit of their own, which the codec must undo.
    tokenizer.enable_padding(length=32)
    tokenizer.enable_truncation(8)
    return tokenizer
