"""A run's report as a real run would make it, with few or many labels, and the cases that break pages."""

from __future__ import annotations

import math
import random
from typing import Any, Literal

from anneal_api.published import PublishedModel
from anneal_api.report import RunReport

Outcome = Literal["published", "first", "failed"]

INTENTS = """
card arrival, card linking, exchange rate, cash withdrawal charge, pending transfer, lost or stolen card,
top up failed, verify my identity, change pin, direct debit not recognized, refund not showing up, age limit,
country support, contactless not working, edit personal details, beneficiary not allowed, transfer timing,
virtual card, wrong amount of cash received, terminate account
"""
LABELS = {
    2: ["negative", "positive"],
    5: ["1 star", "2 stars", "3 stars", "4 stars", "5 stars"],
    20: [" ".join(each.split()) for each in INTENTS.split(",")],
}

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\x00\x1b[31m `a|b` {{ 7*7 }} \u202etxet"

MANIFEST = """\
apiVersion: anneal.dev/v1alpha1
kind: FineTuneJob
metadata:
  name: reviews
  namespace: team-a
spec:
  task: text-classification
  model:
    source: bert-base-uncased
    revision: main
  data:
    train:
      uri: train.csv
    validation:
      uri: validation.csv
    test:
      uri: test.csv
  training:
    epochs: 3
    batchSize: 32
    learningRate: 2e-05
    seed: 42
  evaluation:
    metrics: [f1, accuracy, log_loss]
    gates:
    - metric: f1
      min: 0.88
    - metric: f1
      versusIncumbent: -0.005
  compression:
    variants:
    - name: int8
      quantize: {}
    maxDrop: 0.01
"""


def sample_report(
    labels: int = 2,
    *,
    outcome: Outcome = "published",
    private: bool = False,
    hostile: bool = False,
) -> RunReport:
    """Returns a report.

    Args:
        labels: 2, 5 or 20.
        outcome: Published against an incumbent, published as the first version, or kept back by the gate.
        private: Whether texts are left out.
        hostile: Whether labels, texts and messages try to break out of the page.
    """
    chance = random.Random(labels)
    names = list(LABELS[labels])
    if hostile:
        names[0] = HOSTILE
        names[1] = "an-unbroken-label-" + "x" * 120
    test = _scores(chance, names, rows=872 if labels == 2 else 1800, private=private, hostile=hostile)
    validation = _scores(chance, names, rows=870, private=private, hostile=hostile)
    return RunReport.model_validate(
        {
            "job": "reviews",
            "namespace": "team-a",
            "task": "text-classification",
            "version": {"published": 4, "first": 1, "failed": None}[outcome],
            "created_at": "2026-03-02T14:03:11+00:00",
            "base_model": "bert-base-uncased",
            "base_revision": "86b5e0934494bd15c9632b12f734a8a67f723594",
            "metrics": ["f1", "accuracy", "log_loss"],
            "data": _data(names, hostile=hostile),
            "training": _training(chance),
            "validation": validation,
            "test": test,
            "baselines": _baselines(test["metrics"], names),
            "variants": _variants(validation["metrics"], test["metrics"]),
            "gate": _gate(test, outcome, hostile=hostile),
            "stages": [
                {"name": name, "key": f"{index:x}7d3c9e1" * 8, "reused": index < 2, "seconds": seconds}
                for index, (name, seconds) in enumerate(
                    {"preflight": 1.234567891, "prepare": 4.1, "train": 219.4, "evaluate": 11.91,
                     "compress": 38.2, "gate": 7.75}.items()
                )
            ],
            "versions": {"anneal": "0.1.0", "python": "3.11.7", "torch": "2.9.1", "transformers": "5.20.0",
                         "onnxruntime": "1.23.2", "tokenizers": "0.22.1", "ray": "2.56.0"},
            "hardware": "AMD EPYC 7B13, 2 cores, 24 GiB",
            "manifest": MANIFEST + (f"# {HOSTILE[:20]}\n" if hostile else ""),
        },
        by_name=True,
    )  # fmt: skip


def sample_manifest(report: RunReport, **changes: object) -> PublishedModel:
    """Returns the `manifest.json` that belongs to a report."""
    document: dict[str, object] = {
        "namespace": report.namespace,
        "job": report.job,
        "version": report.version or 1,
        "created_at": report.created_at,
        "predictor": {
            "task": "text-classification",
            "labels": report.data.labels,
            "codec": {"max_length": 128, "inputs": ["input_ids", "attention_mask", "token_type_ids"]},
            "backend": "onnxruntime",
            "model_file": "model.onnx",
            "variant": report.gate.selected,
        },
        "files": [],
        "metrics": report.test.metrics,
        "base_model": {"source": report.base_model, "revision": report.base_revision},
        "data": {"digest": report.data.digest, "train_rows": 4000, "validation_rows": 870, "test_rows": 872},
        "seed": 42,
        "code_version": "0.1.0",
        "candidate": "c" * 64,
        "incumbent": report.gate.incumbent,
        "spec": {
            "task": "text-classification",
            "model": {"source": report.base_model, "revision": "main"},
            "data": {
                "train": {"uri": "train.csv"},
                "validation": {"uri": "validation.csv"},
                "test": {"uri": "test.csv"},
            },
            "training": {"epochs": 3, "batchSize": 32, "learningRate": 2e-5, "maxLength": 128, "seed": 42},
            "compression": {"maxDrop": 0.01, "variants": [{"name": "int8", "quantize": {}}]},
        },
    }
    return PublishedModel.model_validate({**document, **changes}, by_name=True)


def _scores(
    chance: random.Random, names: list[str], *, rows: int, private: bool, hostile: bool
) -> dict[str, Any]:
    confusion = [[0] * len(names) for _ in names]
    for row in range(rows):
        right = min(int(len(names) * (row / rows) ** 1.2), len(names) - 1)
        wrong = chance.random() < 0.05 + 0.1 * (right % 4) / 4
        answer = (right + chance.choice([1, 1, 1, -1, 3])) % len(names) if wrong else right
        confusion[right][answer] += 1
    per_class = []
    for index, name in enumerate(names):
        found = confusion[index][index]
        predicted, support = sum(line[index] for line in confusion), sum(confusion[index])
        precision, recover = found / max(predicted, 1), found / max(support, 1)
        f1 = 2 * precision * recover / max(precision + recover, 1e-9)
        per_class.append(
            {"label": name, "precision": precision, "recall": recover, "f1": f1, "support": support}
        )
    accuracy = sum(confusion[index][index] for index in range(len(names))) / rows
    macro = {key: sum(each[key] for each in per_class) / len(names) for key in ("f1", "precision", "recall")}
    metrics = {
        "accuracy": accuracy,
        **macro,
        "f1_micro": accuracy,
        "log_loss": 0.2713954123,
        "ece": 0.0271828,
    }
    half = 1.96 * math.sqrt(accuracy * (1 - accuracy) / rows)
    intervals = {
        name: (metrics[name] - half, metrics[name] + half) for name in ("f1", "accuracy", "log_loss")
    }
    return {
        "rows": rows,
        "metrics": metrics,
        "intervals": intervals,
        "per_class": per_class,
        "confusion": confusion,
        "calibration": _calibration(rows, 1 / len(names)),
        "worst": _worst(names, private=private, hostile=hostile),
    }


def _calibration(rows: int, least: float) -> list[dict[str, float]]:
    bins = []
    for index in range(15):
        lower, upper = index / 15, (index + 1) / 15
        inside = 0 if upper <= least else max(1, int(rows * math.exp(3.2 * (upper - 1)) * 0.24))
        middle = (lower + upper) / 2
        right = min(1.0, middle - 0.06 * math.sin(7 * middle)) if inside else 0.0
        confidence = middle if inside else 0.0
        bins.append(
            {"lower": lower, "upper": upper, "rows": inside, "confidence": confidence, "accuracy": right}
        )
    return bins


def _worst(names: list[str], *, private: bool, hostile: bool) -> list[dict[str, Any]]:
    texts = [
        "a gorgeous , witty , seductive movie that somehow left me cold",
        "it 's not that i do n't like it , it 's that i could not look away",
        "a very long story " + "and then it goes on , " * 90 + "and ends .",
        "https://example.org/a/very/long/address/without/any/space/" + "segment/" * 20,
        "فيلم رائع لكن النهاية مخيبة للآمال",
        "fine",
    ]
    if hostile:
        texts[0] = HOSTILE
    return [
        {
            "text": "" if private else text,
            "source": f"test.csv:{17 + 31 * index}",
            "expected": names[index % len(names)],
            "predicted": names[(index + 1) % len(names)],
            "confidence": 0.9991234567 - 0.012 * index,
            "expected_probability": 0.0008765433 + 0.01 * index,
        }
        for index, text in enumerate(texts)
    ]


def _training(chance: random.Random) -> dict[str, Any]:
    steps, every = 375, 1
    curve = []
    for step in range(every, steps + 1, every):
        warmth = min(step / 23, (steps - step) / (steps - 23))
        curve.append(
            {
                "step": step,
                "epoch": step / 125,
                "loss": max(0.02, 0.18 + 0.52 * math.exp(-step / 60) + chance.gauss(0, 0.07)),
                "learning_rate": 2e-5 * warmth,
                "grad_norm": 1.5 + 4 * math.exp(-step / 90) + abs(chance.gauss(0, 0.8)),
            }
        )
    epochs = [
        {"epoch": 1, "step": 125, "metrics": {"f1": 0.9012345, "log_loss": 0.2912}, "best": True},
        {"epoch": 2, "step": 250, "metrics": {"f1": 0.9184321, "log_loss": 0.2508}, "best": True},
        {"epoch": 3, "step": 375, "metrics": {"f1": 0.9151234, "log_loss": 0.2694}, "best": False},
    ]
    return {
        "steps": steps,
        "planned_steps": steps,
        "best_epoch": 2,
        "selection_metric": "f1",
        "stopped_early": False,
        "workers": 2,
        "precision": "fp32",
        "seconds": 219.4172635,
        "useful_tokens_per_second": 3127.8812,
        "resumed_from": 190,
        "loss_curve": curve,
        "epochs": epochs,
    }


def _baselines(test: dict[str, float], names: list[str]) -> list[dict[str, Any]]:
    tfidf = {**test, "f1": 0.8123456, "accuracy": 0.8156, "log_loss": 0.4211}
    majority = {
        **test,
        "f1": 0.68 / len(names),
        "accuracy": 1.1 / len(names),
        "log_loss": math.log(len(names)),
    }
    return [
        {
            "name": "majority class",
            "description": "always answers the label with the most training rows",
            "validation": majority,
            "test": majority,
        },
        {
            "name": "TF-IDF + logistic regression",
            "description": "words and word pairs weighted by rarity, logistic regression from scikit-learn",
            "validation": tfidf,
            "test": tfidf,
            "intervals": {"f1": (0.786, 0.8381), "accuracy": (0.79, 0.8412)},
        },
    ]


def _variants(validation: dict[str, float], test: dict[str, float]) -> list[dict[str, Any]]:
    common = {
        "agreement": 1.0,
        "max_logit_difference": 1.9e-6,
        "drop": 0.0,
        "eligible": True,
        "selected": False,
    }
    return [
        {
            **common,
            "name": "fp32",
            "steps": ["onnx"],
            "bytes": 90_868_376,
            "latency_ms_p50": 6.8412345,
            "latency_ms_p95": 14.2,
            "validation": validation,
            "test": {**test, "f1": test["f1"] + 0.001},
            "why": "the uncompressed model; eligible, but larger than int8",
        },
        {
            **common,
            "name": "int8",
            "steps": ["onnx", "quantize"],
            "bytes": 23_041_912,
            "latency_ms_p50": 2.9312345,
            "latency_ms_p95": 5.1,
            "validation": {**validation, "f1": validation["f1"] - 0.0021},
            "test": test,
            "agreement": 0.9931,
            "max_logit_difference": 0.183,
            "drop": 0.0021,
            "selected": True,
            "why": "0.0021 below fp32, within maxDrop 0.01; the smallest eligible variant",
        },
        {
            **common,
            "name": "int8-tensor",
            "steps": ["onnx", "quantize"],
            "bytes": 22_780_104,
            "latency_ms_p50": 2.8,
            "latency_ms_p95": 4.9,
            "validation": {**validation, "f1": validation["f1"] - 0.0312},
            "test": {**test, "f1": test["f1"] - 0.0291},
            "agreement": 0.9412,
            "max_logit_difference": 1.412,
            "drop": 0.0312,
            "eligible": False,
            "why": "0.0312 below fp32, over maxDrop 0.01",
        },
    ]


def _gate(test: dict[str, Any], outcome: Outcome, *, hostile: bool) -> dict[str, Any]:
    reached, rows = test["metrics"]["f1"], test["rows"]
    failed, first = outcome == "failed", outcome == "first"
    bar = 0.95 if failed else 0.88
    theirs = reached + 0.0213 if failed else reached - 0.0103
    difference = reached - theirs
    half = 0.0118
    absolute = {
        "metric": "f1",
        "direction": "higher",
        "rule": f"at least {bar}",
        "where": "spec.evaluation.gates[0]",
        "bar": bar,
        "candidate": reached,
        "incumbent": None,
        "difference": None,
        "interval": None,
        "rows": rows,
        "verdict": "failed" if failed else "passed",
        "message": f"f1 {reached:.4f} is {'below' if failed else 'above'} the bar of {bar}",
    }
    relative = {
        **absolute,
        "rule": "at most 0.005 below " + ("the incumbent" if first else "v3"),
        "where": "spec.evaluation.gates[1]",
        "bar": None if first else theirs - 0.005,
        "incumbent": None if first else theirs,
        "difference": None if first else difference,
        "interval": None if first else (difference - half, difference + half),
        "verdict": "skipped" if first else absolute["verdict"],
        "message": "nothing is published yet, so there is no incumbent to compare with"
        if first
        else f"f1 differs by {difference:+.4f} from v3",
    }
    information = {
        **relative,
        "metric": "log_loss",
        "direction": "lower",
        "rule": "difference to v3",
        "where": "",
        "bar": None,
        "candidate": 0.2713954,
        "incumbent": 0.2888,
        "difference": -0.0174,
        "interval": (-0.0391, 0.0043),
        "verdict": "passed",
        "message": HOSTILE if hostile else "for information",
    }
    return {
        "selected": "int8",
        "incumbent": None if first else 3,
        "leading_metric": "f1",
        "passed": not failed,
        "rows": [absolute, relative] if first else [absolute, relative, information],
    }


def _data(names: list[str], *, hostile: bool) -> dict[str, Any]:
    def split(rows: int) -> dict[str, Any]:
        weights = [1 / (1 + 0.12 * index) for index in range(len(names))]
        counts = [int(rows * weight / sum(weights)) for weight in weights]
        counts[0] += rows - sum(counts)
        return {
            "rows": rows,
            "labels": dict(zip(names, counts, strict=True)),
            "tokens_mean": 25.163829,
            "tokens_p95": 49,
            "tokens_max": 212,
            "truncated": rows // 300,
        }

    return {
        "digest": "blake2b:5f1c0d7e9b3a4c62" * 2,
        "labels": names,
        "splits": {"train": split(4000), "validation": split(870), "test": split(872)},
        "dropped": [
            {
                "split": "train",
                "reason": HOSTILE if hostile else "empty text",
                "rows": 21,
                "of": 4021,
                "where": HOSTILE if hostile else "train.csv, rows 7, 9 and 19 more, column text",
            },
            {
                "split": "test",
                "reason": "label not in training",
                "rows": 3,
                "of": 875,
                "where": "test.csv, rows 1, 2, 3, column label",
            },
        ],
        "findings": [
            {
                "level": "warning",
                "what": HOSTILE if hostile else "12 rows of train.csv are in there twice",
                "where": "train.csv:204, column text",
                "remedy": "Drop the copies: they count double.",
            },
            {
                "level": "note",
                "what": "13 training rows are longer than maxLength 128 and are cut",
                "where": "spec.training.maxLength",
                "remedy": "Raise it to 212 if the end of a text matters.",
            },
        ],
    }
