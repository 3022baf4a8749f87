"""The seam between the loop and what runs it: Ray Train's worker group, or one process alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

import torch

from anneal_trainer.engine.progress import Progress


class Workers(Protocol):
    """The processes that train one model together, seen from one of them."""

    @property
    def rank(self) -> int:
        """Number of this process."""
        ...

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        ...

    @property
    def device(self) -> torch.device:
        """What this process computes on."""
        ...

    def resumed(self) -> AbstractContextManager[Path | None]:
        """Gives the newest checkpoint of an earlier process of this training, if there is one, to be read at once."""
        ...

    def save(self, write: Callable[[Path], None], *, metrics: dict[str, float]) -> None:
        """Keeps a checkpoint. Every process calls it at the same step; rank 0 writes.

        Args:
            write: Writes the checkpoint into the empty folder it is given.
            metrics: What to show of it.
        """
        ...

    def show(self, progress: Progress) -> None:
        """Shows progress, if this is the process that does. Never waits."""
        ...


class SoloWorker:
    """One process, without Ray. Checkpoints are numbered folders; the newest complete one is resumed from."""

    def __init__(self, folder: Path, *, device: torch.device | None = None) -> None:
        self._folder = folder
        self._device = device or torch.device("cpu")

    @property
    def rank(self) -> int:
        """Always 0."""
        return 0

    @property
    def world_size(self) -> int:
        """Always 1."""
        return 1

    @property
    def device(self) -> torch.device:
        """What it computes on."""
        return self._device

    def newest(self) -> Path | None:
        """Returns the newest complete checkpoint."""
        return max(self._folder.glob("checkpoint-*[0-9]"), default=None)

    def resumed(self) -> AbstractContextManager[Path | None]:
        """See `Workers.resumed`."""
        return nullcontext(self.newest())

    def save(self, write: Callable[[Path], None], *, metrics: dict[str, float]) -> None:
        """See `Workers.save`."""
        del metrics
        number = sum(1 for _ in self._folder.glob("checkpoint-*[0-9]"))
        partial = self._folder / f"checkpoint-{number:06d}.partial"
        partial.mkdir(parents=True)
        write(partial)
        partial.rename(self._folder / f"checkpoint-{number:06d}")

    def show(self, progress: Progress) -> None:
        """Shows nothing."""
