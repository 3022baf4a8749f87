"""Which rows a step has, and how they are cut so that little padding is computed. Pure.

A step has exactly `batchSize` rows, over all workers together. Rows of about the same length are put into the same
step, which leaves almost no padding (Khomenko et al., arXiv 1708.05604), and what is left of the rows at an epoch's
end is filled up from the epoch's beginning, so that every step weighs the same. All of it follows from the seed, the
epoch and the lengths: a restarted run, whatever its worker count, meets the same rows in the same steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_POOL_STEPS = 50
"""Steps whose rows are sorted by length together. More: less padding but less random steps."""


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Returns the optimizer steps of one pass over the rows."""
    return -(-rows // batch_size)


def epoch_steps(lengths: NDArray[np.int64], batch_size: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Returns the rows of each step of an epoch, [steps, batch_size], longest row first within a step.

    Args:
        lengths: Length of each row in tokens.
        batch_size: Rows of a step.
        seed: The training's seed.
        epoch: Passes over the rows done before this one.
    """
    random = np.random.default_rng([seed, epoch])
    steps = steps_per_epoch(len(lengths), batch_size)
    order = np.resize(random.permutation(len(lengths)), steps * batch_size)
    pool = batch_size * min(_POOL_STEPS, max(1, steps // 4))
    grouped = [
        rows[np.argsort(-lengths[rows], kind="stable")]
        for rows in (order[start : start + pool] for start in range(0, len(order), pool))
    ]
    by_step = np.concatenate(grouped).reshape(steps, batch_size)
    return by_step[random.permutation(steps)]


def worker_share(step_rows: NDArray[np.int64], *, rank: int, world_size: int) -> NDArray[np.int64]:
    """Returns the rows of a step that one worker computes: every n-th, so that lengths are spread evenly."""
    return step_rows[rank::world_size]


def micro_batches(
    rows: NDArray[np.int64], lengths: NDArray[np.int64], *, max_tokens: int, pads: bool = True
) -> Iterator[NDArray[np.int64]]:
    """Cuts rows, longest first, into pieces of at most `max_tokens` tokens, padding included.

    A row longer than the budget is a piece of its own: a budget bounds memory, it never drops data.

    Args:
        rows: The rows, longest first.
        lengths: Length of every row in tokens.
        max_tokens: The budget.
        pads: Whether a piece may have rows of different lengths.
    """
    start = 0
    while start < len(rows):
        longest = max(1, int(lengths[rows[start]]))
        piece = rows[start : start + max(1, max_tokens // longest)]
        if not pads:
            piece = piece[lengths[piece] == lengths[piece[0]]]
        yield piece
        start += len(piece)


def by_length(lengths: NDArray[np.int64], rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the rows sorted longest first, as `micro_batches` wants them."""
    chosen = np.asarray(rows, dtype=np.int64)
    return chosen[np.argsort(-lengths[chosen], kind="stable")]
