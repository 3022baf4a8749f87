"""What every family of classifiers comes to here, and docs/architectures.md, which says so.

`python -m architectures measure [FAMILY...]` looks at families anew and writes `architectures.json`; `python -m
architectures` prints the page that is made of it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from classifier_families import FAMILIES, texts_of, write_base

from anneal_api.errors import ModelNotFound
from anneal_api.job import FineTuneJobSpec
from anneal_api.published import BackendKind, PredictorConfig
from anneal_serving.backends.last_token import read_last_token
from anneal_serving.codecs import Codec, codec_for
from anneal_serving.predictor import Predictor
from anneal_serving.pretrained import load_classifier
from anneal_trainer.architecture.checkpoint import classifier_config, examine
from anneal_trainer.architecture.traits import Traits
from anneal_trainer.architecture.trial import try_architecture
from anneal_trainer.base_model import BaseModel, predictor_config, published_padding, tokenizer_files
from anneal_trainer.compress.export import export_onnx
from anneal_trainer.data.prepared import write_prepared
from anneal_trainer.data.rows import Rows, Splits
from anneal_trainer.engine.plan import TrainingPlan

VERDICTS = Path(__file__).with_name("architectures.json")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "architectures.md"

LABELS = ["neg", "pos"]
_LENGTHS = (3, 17, 8, 5, 12, 9, 4, 17)
_MAX_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a family comes to.

    Attributes:
        trains: Whether a job with such a model is accepted.
        pads: Whether rows of different lengths are computed together in training.
        reads_last_token: Whether it answers by the last token.
        reason: Why it is refused, as preflight says; empty where it is not.
    """

    trains: bool
    pads: bool = True
    reads_last_token: bool = False
    reason: str = ""


class NoSmallModel(Exception):
    """No small model of the family can be made of its configuration's defaults."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A small base model of a family that preflight has accepted, and rows for it."""

    base: BaseModel
    folder: Path
    predictor: PredictorConfig
    traits: Traits
    texts: list[str]
    spec: FineTuneJobSpec

    @property
    def codec(self) -> Codec:
        """Makes the model's inputs."""
        return codec_for(self.folder, self.predictor)

    def plan(self) -> TrainingPlan:
        """Returns a training of two steps."""
        return TrainingPlan(
            self.base.folder,
            self.folder,
            self.predictor,
            self.spec.training,
            selection_metric="accuracy",
            threads=1,
            pads=self.traits.pads,
            pad_token_id=published_padding(self.base),
        )


def prepare(family: str, folder: Path) -> Prepared:
    """Takes a small model of a family through preflight, and tokenizes rows for it.

    Raises:
        NoSmallModel: There is none.
        ModelNotFound: Preflight refuses it.
    """
    try:
        write_base(family, folder / "base")
    except Exception as error:
        raise NoSmallModel(f"{family}: {error}") from error
    base = BaseModel((folder / "base").absolute(), "./base", "")
    spec = FineTuneJobSpec.model_validate(
        {
            "task": "text-classification",
            "model": {"source": "./base"},
            "data": {"train": {"uri": "train.csv"}},
            "training": {
                "epochs": 1,
                "batchSize": 4,
                "learningRate": 1e-3,
                "dropout": 0.0,
                "maxLength": _MAX_LENGTH,
                "precision": "fp32",
            },
        }
    )
    config = classifier_config(base, LABELS)
    prepared = folder / "prepared"
    prepared.mkdir()
    tokenizer_files(base, prepared)
    predictor = predictor_config(base, spec, LABELS, "model.safetensors")
    codec = codec_for(prepared, predictor)
    texts = texts_of(_LENGTHS)
    examine(base, config)
    traits = try_architecture(config, predictor, codec, texts)
    rows = Rows(texts, [LABELS[index % 2] for index in range(len(texts))], texts)
    write_prepared(prepared, Splits(rows, rows, rows), codec, LABELS)
    return Prepared(base, prepared, predictor, traits, texts, spec)


def verdict_on(family: str, folder: Path) -> Verdict:
    """Returns what a family comes to.

    Raises:
        NoSmallModel: No small model of it can be made.
    """
    try:
        traits = prepare(family, folder).traits
    except ModelNotFound as refusal:
        return Verdict(trains=False, reason=refusal.what)
    return Verdict(True, traits.pads, traits.reads_last_token)


def torch_logits(prepared: Prepared, trained: Path) -> np.ndarray:
    """Returns what a trained model answers row by row in torch, [rows, labels]."""
    tokenizer_files(prepared.base, trained)
    with Predictor.load(trained, prepared.predictor) as predictor:
        return predictor.logits(prepared.texts)


def onnx_logits(prepared: Prepared, trained: Path) -> np.ndarray:
    """Returns what a trained model answers row by row as it is served, [rows, labels]."""
    tokenizer_files(prepared.base, trained)
    model, _ = load_classifier(trained)
    read_last_token(model)
    export_onnx(model, prepared.predictor.codec, trained / "model.onnx")
    served = prepared.predictor.model_copy(
        update={"backend": BackendKind.ONNXRUNTIME, "model_file": "model.onnx"}
    )
    with Predictor.load(trained, served) as predictor:
        return predictor.logits(prepared.texts)


def recorded() -> dict[str, Verdict]:
    """Returns what was found of each family."""
    return {name: Verdict(**fields) for name, fields in json.loads(VERDICTS.read_text()).items()}


def page(verdicts: dict[str, Verdict]) -> str:
    """Returns docs/architectures.md."""
    trained = {name: verdict for name, verdict in verdicts.items() if verdict.trains}
    refused = {name: verdict for name, verdict in verdicts.items() if not verdict.trains}
    others = sorted(set(FAMILIES) - verdicts.keys())
    lines = [
        "# Families of models",
        "",
        "Which families of Hugging Face models text classification takes as `model.source`, by the `model_type` of",
        "their config.json. A small model of each, with random weights, was tried as preflight tries yours, trained,",
        "exported and asked (`tests/integration/test_architectures.py`). Preflight tries your own model's",
        "configuration in the same way, whatever this page says, and refuses what cannot work before it is trained.",
        "",
        f"## Taken ({len(trained)})",
        "",
        "*Last token*: the model answers by the last token of a text, as decoders do. It is found by the attention",
        "mask, so a text may end in any token, and no padding token is needed. *One length*: models of the family take",
        "padding for text, so that training computes only rows of the same length together, which is slower. Served",
        "rows are never padded.",
        "",
        "| model_type | |",
        "| --- | --- |",
        *(f"| `{name}` | {_marks(verdict)} |" for name, verdict in trained.items()),
        "",
        f"## Refused ({len(refused)})",
        "",
        f"With transformers {transformers.__version__} and torch {torch.__version__.partition('+')[0]}:",
        "",
        "| model_type | preflight says |",
        "| --- | --- |",
        *(f"| `{name}` | {_cell(verdict.reason)} |" for name, verdict in refused.items()),
        "",
        "## Not tried",
        "",
        "No small model can be made of their configurations' defaults; preflight decides on the one that you name:",
        ", ".join(f"`{name}`" for name in others) + ".",
        "",
    ]
    return "\n".join(lines)


def _marks(verdict: Verdict) -> str:
    marks = ["last token"] * verdict.reads_last_token + ["one length"] * (not verdict.pads)
    return ", ".join(marks)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _measure(families: Sequence[str]) -> None:
    found = recorded() if VERDICTS.exists() else {}
    for family in families:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                found[family] = verdict_on(family, Path(scratch))
            except NoSmallModel as error:
                found.pop(family, None)
                print(f"- {error}"[:200], flush=True)
                continue
        print(f"{family}: {found[family]}", flush=True)
        document = {name: asdict(found[name]) for name in FAMILIES if name in found}
        VERDICTS.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        _measure(sys.argv[2:] or FAMILIES)
    else:
        print(page(recorded()), end="")
