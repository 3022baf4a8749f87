"""How far a training is, from the worker that knows to the process that shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training stands now.

    Attributes:
        step: Optimizer steps done.
        total_steps: Optimizer steps of all epochs.
        epoch: Passes over the rows done, with a fraction.
        loss: Mean loss per row of the last logged steps; None before the first.
        tokens_per_second: Tokens computed per second, without padding.
        eta_seconds: Estimated time to the last step.
        scores: Validation of the last scored epoch.
        resumed_from: Step that training went on from; None where it began anew.
    """

    step: int
    total_steps: int
    epoch: float
    loss: float | None
    tokens_per_second: float
    eta_seconds: float
    scores: dict[str, float]
    resumed_from: int | None = None


class ProgressBoard:
    """Holds the newest progress. It runs as an actor: rank 0 writes without waiting, the driver reads when it likes."""

    def __init__(self) -> None:
        self._newest: Progress | None = None

    def write(self, progress: Progress) -> None:
        """Replaces what is on the board."""
        self._newest = progress

    def read(self) -> Progress | None:
        """Returns what was written last."""
        return self._newest
