from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def manifest() -> dict[str, Any]:
    """A manifest without a fault, to break in one place."""
    return {
        "apiVersion": "anneal.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "reviews"},
        "spec": {
            "task": "text-classification",
            "model": {"source": "bert-base-uncased"},
            "data": {"train": {"uri": "train.csv"}, "split": {"validation": 0.1, "test": 0.1}},
            "training": {"epochs": 3, "batchSize": 32, "learningRate": 2e-5},
            "resources": {"workers": 2},
            "evaluation": {"metrics": ["accuracy", "f1"], "gates": [{"metric": "f1", "min": 0.9}]},
            "compression": {"variants": [{"name": "int8", "quantize": {}}]},
            "serving": {"replicas": {"min": 1, "max": 2}, "cpu": 2},
        },
    }
