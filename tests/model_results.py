"""What the parts of a job report in tests of the plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def failure(reason: str, message: str = "It broke.") -> dict[str, Any]:
    """Returns the failure of a part's report."""
    return {"reason": reason, "message": message, "where": "", "hint": ""}


def published(version: int | None, *, score: float = 0.9, path: str = "") -> dict[str, Any]:
    """Returns the result of a finish part."""
    passed = version is not None
    return {
        "version": version,
        "path": path or f"default/reviews-uid1/v{version}",
        "digest": f"{version:064d}" if passed else "",
        "leadingMetric": "f1",
        "metrics": {"f1": score},
        "gate": {
            "selected": "fp32",
            "incumbent": None,
            "leadingMetric": "f1",
            "passed": passed,
            "rows": [
                {
                    "metric": "f1",
                    "direction": "higher",
                    "rule": "at least 0.8",
                    "where": "spec.evaluation.gates[0]",
                    "bar": 0.8,
                    "candidate": score,
                    "incumbent": None,
                    "difference": None,
                    "interval": None,
                    "rows": 100,
                    "verdict": "passed" if passed else "failed",
                    "message": f"{score} against 0.8.",
                }
            ],
        },
        "variants": [
            {
                "name": "fp32",
                "steps": ["onnx"],
                "bytes": 1000,
                "latencyMsP50": 5.0,
                "latencyMsP95": 6.0,
                "validation": {"f1": score},
                "test": {"f1": score},
                "agreement": 1.0,
                "maxLogitDifference": 0.0,
                "drop": 0.0,
                "eligible": True,
                "selected": True,
                "why": "It is the only one.",
            }
        ],
    }


def content_of(spec: Mapping[str, Any]) -> str:
    """Returns what decides which version a spec comes to, here."""
    return json.dumps([spec["training"], spec["data"]], sort_keys=True)
