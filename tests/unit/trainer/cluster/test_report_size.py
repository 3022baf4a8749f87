"""A report fits into what the operator reads, and is still a report."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_api.attempt import MAX_PROGRESS_BYTES, MAX_REPORT_BYTES, PartReport, PartState
from anneal_api.errors import Reason
from anneal_trainer.cluster.report import report_text
from anneal_trainer.cluster.report_size import fitted


def published(*, variants: int = 1, rows: int = 1, words: str = "good") -> dict:
    return {
        "version": 3,
        "path": "default/reviews-6f3c2a10/v3",
        "digest": "a" * 64,
        "leadingMetric": "f1",
        "metrics": {"f1": 0.9, "accuracy": None},
        "gate": {
            "selected": "fp32",
            "incumbent": 2,
            "leadingMetric": "f1",
            "passed": True,
            "rows": [
                {
                    "metric": f"f1-{number}", "direction": "higher", "rule": "at least 0.8", "where": "spec",
                    "bar": 0.8, "candidate": 0.9, "incumbent": None, "difference": 0.1, "interval": [0.05, 0.15],
                    "rows": 96, "verdict": "passed", "message": words,
                }
                for number in range(rows)
            ],
        },
        "variants": [
            {
                "name": f"variant-{number}", "steps": ["onnx"], "bytes": 1, "latencyMsP50": 1.0,
                "latencyMsP95": 2.0, "validation": {"f1": 0.9}, "test": {"f1": 0.9}, "agreement": 1.0,
                "maxLogitDifference": None, "drop": 0.0, "eligible": True, "selected": False, "why": words,
            }
            for number in range(variants)
        ],
    }  # fmt: skip


def report(**parts: object) -> PartReport:
    return PartReport.model_validate(
        {
            "jobUid": "6f3c2a10-0000-4000-8000-000000000001",
            "generation": 1,
            "attempt": 1,
            "part": "finish",
            "state": "Succeeded",
            "heartbeat": "2026-01-02T03:04:05Z",
            **parts,
        }
    )


def test_a_short_report_is_left_whole():
    whole = report(published=published(variants=3, rows=4))
    again = PartReport.model_validate_json(report_text(whole, MAX_REPORT_BYTES))
    assert again.published is not None
    assert len(again.published.variants) == 3
    assert len(again.published.gate.rows) == 4
    assert again.published.gate.rows[0].interval == (0.05, 0.15)


def test_what_is_not_a_number_travels_as_null():
    text = report_text(report(published=published()), MAX_REPORT_BYTES)
    assert "NaN" not in text
    again = PartReport.model_validate_json(text)
    assert again.published is not None
    assert math.isnan(again.published.metrics["accuracy"])


def test_the_fields_that_fence_a_report_are_always_in_it():
    document = json.loads(report_text(report(state="Running"), MAX_PROGRESS_BYTES))
    assert document == {
        "jobUid": "6f3c2a10-0000-4000-8000-000000000001",
        "generation": 1,
        "attempt": 1,
        "part": "finish",
        "state": "Running",
        "heartbeat": "2026-01-02T03:04:05Z",
    }


def test_lists_are_cut_from_the_end():
    text = report_text(report(published=published(variants=400, rows=5)), MAX_REPORT_BYTES)
    assert MAX_REPORT_BYTES - 1000 < len(text.encode()) <= MAX_REPORT_BYTES
    again = PartReport.model_validate_json(text)
    assert again.published is not None
    names = [variant.name for variant in again.published.variants]
    assert names == [f"variant-{number}" for number in range(len(names))]
    assert 0 < len(names) < 400
    assert len(again.published.gate.rows) == 5, "the longer list pays first"


def test_a_progress_report_with_all_stages_fits():
    stages = [
        {"name": name, "key": "0123456789abcdef", "reused": False, "seconds": 12345.678901234567}
        for name in ("preflight", "prepare", "train", "evaluate", "compress", "gate", "publish")
    ]
    progress = {"step": 10**6, "totalSteps": 10**6, "epoch": 1.2345, "loss": 0.123456789, "etaSeconds": 1e5}
    full = report(state="Running", stage="train", stages=stages, progress=progress, resumedFrom=10**5)
    again = PartReport.model_validate_json(report_text(full, MAX_PROGRESS_BYTES))
    assert len(again.stages) == 7


def test_a_text_that_is_too_long_alone_is_cut_too():
    failure = {"reason": "DataInvalid", "message": "\u65e5" * 100_000, "where": "spec.data", "hint": "h"}
    text = report_text(report(state="Failed", failure=failure), MAX_REPORT_BYTES)
    assert len(text.encode()) <= MAX_REPORT_BYTES
    again = PartReport.model_validate_json(text)
    assert again.failure is not None
    assert again.failure.reason is Reason.DATA_INVALID
    assert again.failure.where == "spec.data"
    assert again.failure.message.endswith("\u2026")


@given(
    variants=st.integers(0, 60),
    rows=st.integers(0, 60),
    words=st.text(max_size=3000),
    limit=st.integers(2048, 8192),
)
def test_whatever_it_holds_it_fits_and_can_be_read(variants, rows, words, limit):
    text = report_text(report(published=published(variants=variants, rows=rows, words=words)), limit)
    assert len(text.encode()) <= limit
    again = PartReport.model_validate_json(text)
    assert again.state is PartState.SUCCEEDED
    assert again.published is not None
    assert again.published.digest == "a" * 64


def test_what_cannot_be_cut_is_an_error():
    with pytest.raises(ValueError, match="more than 10 bytes"):
        fitted({"number": 12345678901234567890}, 10)
