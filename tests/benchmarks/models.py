"""The published models that the serving lines ask: trained once on the quickstart's data, exact and int8."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML
from tests.benchmarks.processes import REPOSITORY, run

from anneal_api.published import MANIFEST_FILE
from anneal_serving.artifact import Artifact, latest_version

QUICKSTART = REPOSITORY / "manifests" / "quickstart"
_MADE_BY = ("trainer/anneal_trainer", "serving/anneal_serving/codecs", "manifests/quickstart")
_QUICK_ROWS = 640
_TRAINING_SECONDS = 1800.0

FP32, INT8 = "fp32", "int8"


@dataclass(frozen=True)
class ServedModels:
    """Published versions of one trained model.

    Attributes:
        by_variant: The folder of each variant that there is.
    """

    by_variant: dict[str, Path]

    def __getitem__(self, variant: str) -> Path:
        return self.by_variant[variant]

    def __contains__(self, variant: str) -> bool:
        return variant in self.by_variant


def published(path: Path) -> ServedModels:
    """Returns the newest published version of each variant.

    Args:
        path: A version's folder, or a job's. A version's neighbours count too, where they come from the same weights.
    """
    newest = latest_version(path.resolve())
    weights = _weights_digest(newest)
    found: dict[str, Path] = {}
    for folder in sorted(newest.parent.glob("v*"), key=lambda folder: int(folder.name[1:])):
        if (folder / MANIFEST_FILE).is_file() and _weights_digest(folder) == weights:
            found[Artifact.open(folder, verify=False).manifest.predictor.variant] = folder
    return ServedModels(found)


def trained(cache: Path, *, quick: bool) -> ServedModels:
    """Returns the models, after training them where they are not in the cache.

    Args:
        cache: Where they are kept.
        quick: Train on few rows: good enough to see that everything works.
    """
    home = cache / f"{'quick' if quick else 'full'}-{_source_digest()}"
    done = home / "done"
    if not done.exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        # One job, published twice: the second run finds its training done and adds the int8 variant.
        steps: list[list[dict[str, object]]] = [[], [{"name": INT8, "quantize": {}}]]
        for number, variants in enumerate(steps):
            manifest = home / f"job-{number}.yaml"
            _write_job(manifest, variants, quick=quick)
            command = [
                sys.executable,
                "-m",
                "anneal_cli",
                "run",
                str(manifest),
                "--work-dir",
                str(home),
                "--no-serve",
            ]
            run(command, log=home / f"job-{number}.log", within=_TRAINING_SECONDS)
        done.touch()
    (job_folder,) = (home / "store" / "default").iterdir()
    return published(job_folder)


@dataclass(frozen=True)
class Questions:
    """What the servers are asked: held-out texts of mixed length, with the right answers.

    Attributes:
        texts: The texts.
        labels: The right label of each.
    """

    texts: list[str]
    labels: list[str]

    @classmethod
    def from_quickstart(cls, *, quick: bool) -> Questions:
        """Returns the quickstart's test rows."""
        with (QUICKSTART / "test.csv").open(encoding="utf-8", newline="") as file:
            rows = list(islice(csv.DictReader(file), 100 if quick else None))
        return cls([row["text"] for row in rows], [row["label"] for row in rows])


@dataclass(frozen=True)
class Reference:
    """What the trained weights answer in PyTorch, one text at a time: what an exact server has to say.

    Attributes:
        labels: The labels.
        log_scores: Logarithm of each label's probability, float64 [texts, labels].
    """

    labels: list[str]
    log_scores: NDArray[np.float64]

    @classmethod
    def of(cls, model: Path, texts: list[str]) -> Reference:
        """Computes it with transformers alone."""
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model)
        network = AutoModelForSequenceClassification.from_pretrained(model).eval()
        rows = []
        with torch.inference_mode():
            for text in texts:
                inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=512)
                rows.append(network(**inputs).logits[0].double().log_softmax(0).numpy())
        return cls([network.config.id2label[place] for place in range(len(rows[0]))], np.stack(rows))


def _write_job(path: Path, variants: list[dict[str, object]], *, quick: bool) -> None:
    job = YAML(typ="safe", pure=True).load((QUICKSTART / "finetunejob.yaml").read_text(encoding="utf-8"))
    spec = job["spec"]
    for split in ("train", "validation", "test"):
        uri = QUICKSTART / f"{split}.csv"
        if quick:
            uri = path.parent / f"{split}.csv"
            with (QUICKSTART / uri.name).open(encoding="utf-8") as rows:
                uri.write_text("".join(islice(rows, _QUICK_ROWS + 1)), encoding="utf-8")
        spec["data"][split] = {"uri": str(uri)}
    spec["evaluation"]["gates"] = []  # what is measured here is speed: publish whatever was made
    spec["compression"] = {"variants": variants, "maxDrop": 1, "prefer": "smallest"}
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(job, file)


def _weights_digest(version: Path) -> str:
    document = json.loads((version / MANIFEST_FILE).read_text(encoding="utf-8"))
    return next(str(file["sha256"]) for file in document["files"] if file["path"] == "model.safetensors")


def _source_digest() -> str:
    digest = hashlib.sha256()
    for folder in _MADE_BY:
        for path in sorted((REPOSITORY / folder).rglob("*")):
            if path.suffix in {".py", ".csv", ".yaml"}:
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
