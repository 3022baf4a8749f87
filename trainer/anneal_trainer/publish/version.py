"""Writes the folder of a published version."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anneal_api.job import FineTuneJob
from anneal_api.published import MANIFEST_FILE, BaseModelRecord, DataRecord, PublishedModel
from anneal_api.report import RunReport
from anneal_serving.codecs import codec_for
from anneal_trainer.compress.variant import MODEL_FILE, Variant
from anneal_trainer.data.prepared import PreparedData
from anneal_trainer.data.rows import row_hashes
from anneal_trainer.evaluate.judgement import TRAINING_ROWS_FILE
from anneal_trainer.publish.model_card import render_model_card
from anneal_trainer.publish.report_page import render_report
from anneal_trainer.publish.store import published_files

RUN_FILE = "run.json"
"""The run's report as data."""

REPORT_FILE = "report.html"
"""The run's report as a page."""

PARITY_FILE = "parity.jsonl"
"""Held-out inputs with the answers that the version must give wherever it serves."""

_PARITY_ROWS = 100


def write_version(
    folder: Path,
    *,
    version: int,
    job: FineTuneJob,
    report: RunReport,
    trained: Path,
    variant: Variant,
    data: PreparedData,
    test_logits: NDArray[np.float32],
    candidate: str,
    incumbent: int | None,
) -> None:
    """Fills a version's folder, `manifest.json` last.

    Args:
        folder: An empty folder.
        version: Its number.
        job: The job.
        report: What the run found out.
        trained: The trained model with its tokenizer, as Hugging Face saves it.
        variant: The variant that the gate let through.
        data: The tokenized rows.
        test_logits: The variant's outputs for the test rows, [rows, labels].
        candidate: Digest of the trained and compressed files.
        incumbent: The version that it was compared with.
    """
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    shutil.copyfile(variant.folder / MODEL_FILE, folder / MODEL_FILE)
    _write_parity(folder, variant, data, test_logits, private=job.spec.data.private)
    np.save(folder / TRAINING_ROWS_FILE, np.unique(row_hashes(data.train.rows())))
    _write(folder / RUN_FILE, report.model_dump_json(indent=1))
    _write(folder / REPORT_FILE, render_report(report))
    manifest = PublishedModel.model_validate(
        {
            "namespace": job.metadata.namespace,
            "job": job.metadata.name,
            "version": version,
            "created_at": report.created_at,
            "predictor": variant.config,
            "files": [],
            "metrics": report.test.metrics,
            "base_model": BaseModelRecord.model_validate(
                {"source": report.base_model, "revision": report.base_revision}
            ),
            "data": DataRecord.model_validate(
                {
                    "digest": report.data.digest,
                    "train_rows": len(data.train),
                    "validation_rows": len(data.validation),
                    "test_rows": len(data.test),
                },
                by_name=True,
            ),
            "seed": job.spec.training.seed,
            "code_version": metadata.version("anneal"),
            "candidate": candidate,
            "incumbent": incumbent,
            "spec": job.spec.model_dump(mode="json", exclude_none=True),
        },
        by_name=True,
    )
    _write(folder / "README.md", render_model_card(report, manifest))
    complete = manifest.model_copy(update={"files": published_files(folder)})
    _write(folder / MANIFEST_FILE, complete.model_dump_json(indent=1))


def _write_parity(
    folder: Path, variant: Variant, data: PreparedData, test_logits: NDArray[np.float32], *, private: bool
) -> None:
    codec = codec_for(variant.folder, variant.config)
    chosen = np.unique(np.linspace(0, len(data.test) - 1, _PARITY_ROWS).astype(int))
    texts = data.test.rows().texts
    lines = []
    for row, answer in zip(chosen, codec.decode(test_logits[chosen]), strict=True):
        text = texts[row]
        asked = {"sha256": hashlib.sha256(text.encode()).hexdigest()} if private else {"text": text}
        lines.append(json.dumps({**asked, "label": answer.label, "score": answer.score}, ensure_ascii=False))
    _write(folder / PARITY_FILE, "\n".join(lines) + "\n")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
