"""Whether a model is as sure as it is right, in bins of confidence (Guo et al., arXiv 1706.04599)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anneal_api.report import CalibrationBin

BINS = 15
"""Bins of equal width over the confidence, as many as in the paper."""

_EDGES = np.linspace(0, 1, BINS + 1)


def bin_of(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns the position of each confidence's bin, [rows]. Bins are open below and closed above."""
    return np.digitize(confidence, _EDGES[1:-1], right=True).astype(np.int64)


def calibration_bins(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> list[CalibrationBin]:
    """Returns the answers by confidence. Bins without answers are left out: they have no accuracy.

    Args:
        confidence: Probability of the predicted label, [rows].
        right: Whether the predicted label is the right one, [rows].
    """
    index = bin_of(confidence)
    return [
        CalibrationBin(
            lower=float(_EDGES[number]),
            upper=float(_EDGES[number + 1]),
            rows=int(inside.sum()),
            confidence=float(confidence[inside].mean()),
            accuracy=float(right[inside].mean()),
        )
        for number in range(BINS)
        if (inside := index == number).any()
    ]
