"""Which number format the matrix products use."""

from __future__ import annotations

import torch

from anneal_api.errors import ManifestInvalid
from anneal_api.spec.training import Precision


def resolve_precision(wanted: Precision, device: torch.device) -> torch.dtype:
    """Returns the type to compute matrix products in: `torch.float32` or `torch.bfloat16`.

    A CPU that multiplies in bf16 itself (AMX, or AVX-512 with BF16) does so about twice as fast as in fp32; one that
    does not is several times slower, so `auto` avoids it there.

    Raises:
        ManifestInvalid: bf16 is asked for on a GPU that lacks it.
    """
    if wanted is Precision.FP32:
        return torch.float32
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        if wanted is Precision.BF16 and not fast:
            raise ManifestInvalid(
                f"{torch.cuda.get_device_name(device)} cannot compute in bf16.",
                where="spec.training.precision",
                remedy="Set it to auto or fp32.",
            )
        return torch.bfloat16 if fast else torch.float32
    if wanted is Precision.BF16:
        return torch.bfloat16
    native = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001
    return torch.bfloat16 if native else torch.float32
