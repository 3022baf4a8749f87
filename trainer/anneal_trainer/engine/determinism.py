"""The same seed gives the same bits: torch chooses among those algorithms only that see to it."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch


def compute_deterministically(device: torch.device, compute: Callable[[], None]) -> None:
    """Binds torch to deterministic algorithms.

    Where torch is asked to only warn of others, attention on a GPU adds its gradients up in any order. So it is asked
    to refuse; where it has to refuse the model, some operation of which has no deterministic algorithm on a GPU, it
    warns from then on.

    Args:
        device: What training computes on.
        compute: Computes gradients of the model once.
    """
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # 5 % of a step
    if device.type == "cpu":
        return
    os.environ.setdefault(
        "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
    )  # some releases of torch refuse all products without
    try:
        compute()
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        torch.use_deterministic_algorithms(True, warn_only=True)
