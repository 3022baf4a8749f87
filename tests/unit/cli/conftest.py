from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

GOOD = """\
apiVersion: anneal.dev/v1alpha1
kind: FineTuneJob
metadata: {name: reviews}
spec:
  task: text-classification
  model:
    source: bert-base-uncased
  data:
    train: {uri: train.csv}
    split: {validation: 0.1, test: 0.1}
  training:
    epochs: 3
    learningRate: 2e-5
"""

Write = Callable[..., Path]


@pytest.fixture
def good() -> str:
    """The text of a manifest without a fault."""
    return GOOD


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a manifest and returns its path."""

    def _write(content: str | bytes, name: str = "job.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return _write
