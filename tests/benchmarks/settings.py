"""How large a run is, and where it keeps things."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """One run of the benchmarks.

    Attributes:
        rounds: How often every contestant runs.
        quick: Whether this only shows that everything works: little data, short phases, figures that mean nothing.
        scratch: A folder for logs and what contestants write.
        cache: A folder for what is made once.
        model: A published version or a job's folder to serve; None: one is trained.
        data: A folder with a whole data set to train on; None: extracts of the quickstart's rows.
        encoder: A folder with the model to train; None: MiniLM.
        batch_size: Rows of a training step.
        gpu: Train on a GPU.
        say: Told what goes on.
    """

    rounds: int
    quick: bool
    scratch: Path
    cache: Path
    model: Path | None
    data: Path | None
    say: Callable[[str], None]
    encoder: Path | None = None
    batch_size: int = 32
    gpu: bool = False

    @property
    def cores(self) -> int:
        """Cores that a contestant may use."""
        return len(os.sched_getaffinity(0))
