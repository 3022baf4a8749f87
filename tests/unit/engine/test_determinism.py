"""Torch is bound to algorithms that give the same bits, as strictly as the model allows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from anneal_trainer.engine.determinism import compute_deterministically

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def torchs_settings(monkeypatch) -> Iterator[None]:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    filled = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = filled


def _strict() -> bool:
    return (
        torch.are_deterministic_algorithms_enabled()
        and not torch.is_deterministic_algorithms_warn_only_enabled()
    )


def _refused() -> None:
    raise RuntimeError("histc_cuda does not have a deterministic implementation, but you set 'torch.use_...'")


def test_on_a_cpu_nothing_has_to_be_tried():
    compute_deterministically(CPU, _refused)
    assert _strict()


def test_on_a_gpu_it_is_as_strict():
    """Where torch may only warn, its attention adds gradients up in any order."""
    tried = []
    compute_deterministically(GPU, lambda: tried.append(_strict()))
    assert tried == [True]
    assert _strict()


def test_a_model_that_cannot_do_so_is_trained_all_the_same():
    compute_deterministically(GPU, _refused)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()


def test_other_failures_are_not_hidden():
    def fail() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        compute_deterministically(GPU, fail)
    assert _strict()
