"""What a server says of its model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self

from anneal_serving.artifact import Artifact

PARITY_FILE = "parity.jsonl"

_EXAMPLES = 4
_SHORTEST = 25
_LONGEST = 160


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A published model, described for those who ask it.

    Attributes:
        version: Job and number, for example `reviews/v3`.
        task: What it answers.
        labels: The labels that it knows.
        variant: Name of the variant, for example `int8`.
        base_model: What it was tuned from.
        created_at: When it was published, ISO 8601.
        metrics: Scores on the test rows.
        max_length: Longest input in tokens; longer ones are cut.
        examples: Held-out texts to try it on; none where the data is private.
    """

    version: str
    task: str
    labels: tuple[str, ...]
    variant: str
    base_model: str
    created_at: str
    metrics: dict[str, float]
    max_length: int
    examples: tuple[str, ...] = ()

    @classmethod
    def of(cls, artifact: Artifact) -> Self:
        """Returns the description of a published model."""
        manifest = artifact.manifest
        return cls(
            version=artifact.version,
            task=manifest.predictor.task,
            labels=tuple(manifest.predictor.labels),
            variant=manifest.predictor.variant,
            base_model=manifest.base_model.source,
            created_at=manifest.created_at,
            metrics=manifest.metrics,
            max_length=manifest.predictor.codec.max_length,
            examples=_examples(artifact),
        )

    def as_json(self) -> dict[str, object]:
        """Returns the answer of `GET /model`."""
        return {
            "version": self.version,
            "task": self.task,
            "labels": list(self.labels),
            "variant": self.variant,
            "baseModel": self.base_model,
            "createdAt": self.created_at,
            "metrics": self.metrics,
            "maxLength": self.max_length,
            "examples": list(self.examples),
        }


def _examples(artifact: Artifact) -> tuple[str, ...]:
    """Returns a few held-out texts of readable length: each label in turn, the surest answers first."""
    path = artifact.folder / PARITY_FILE
    if not path.is_file():
        return ()
    by_label: dict[str, list[tuple[float, str]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text = row.get("text", "").strip()
        if _SHORTEST <= len(text) <= _LONGEST:
            by_label.setdefault(row["label"], []).append((row["score"], text))
    queues = [sorted(rows, reverse=True) for rows in by_label.values()]
    chosen: list[str] = []
    while any(queues) and len(chosen) < _EXAMPLES:
        chosen.extend(queue.pop(0)[1] for queue in queues if queue)
    return tuple(dict.fromkeys(chosen[:_EXAMPLES]))
