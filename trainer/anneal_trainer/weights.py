"""Reads what the header of safetensors files says, without loading a tensor.

A file starts with 8 bytes, the header's length, and the header: JSON with type, shape and place of a tensor
(https://huggingface.co/docs/safetensors/index#format).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from anneal_api.errors import UnplacedError

WEIGHT_PATTERNS = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")
"""Names of the files that hold weights, `*` for any part."""

WEIGHTS_FILE = "model.safetensors"
"""The file of weights that are in one piece."""

_INDEX = "model.safetensors.index.json"
_LONGEST_HEADER = 100_000_000
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")


class WeightsUnreadableError(UnplacedError):
    """The weights are missing, cut off or of a kind that is not loaded."""


def weight_files(folder: Path) -> list[Path]:
    """Returns a model's safetensors files: the single one, or all that its index names.

    Raises:
        WeightsUnreadableError: There are none, or some are missing.
    """
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    index = folder / _INDEX
    if not index.is_file():
        raise _no_safetensors(folder)
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsUnreadableError(f"{_INDEX} cannot be read.", "Copy the model again.") from error
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise WeightsUnreadableError(f"The weights lack {', '.join(missing)}.", "Copy the model again.")
    return [folder / name for name in names]


def count_parameters(folder: Path) -> int:
    """Returns how many numbers a model's weights hold; integer tensors such as position ids do not count.

    Raises:
        WeightsUnreadableError: The weights are missing or damaged.
    """
    return sum(
        math.prod(tensor["shape"])
        for path in weight_files(folder)
        for name, tensor in _header(path).items()
        if name != "__metadata__" and tensor["dtype"].startswith(("F", "BF"))
    )


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        start = file.read(8)
        if start.startswith(b"version "):
            raise WeightsUnreadableError(
                f"{path.name} is a Git LFS pointer, not the weights.", "Run git lfs pull in its repository."
            )
        size = int.from_bytes(start, "little")
        if not 0 < size <= _LONGEST_HEADER:
            raise _damaged(path)
        try:
            header: dict[str, Any] = json.loads(file.read(size))
            end = max((t["data_offsets"][1] for n, t in header.items() if n != "__metadata__"), default=0)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path) from error
    if path.stat().st_size != 8 + size + end:
        raise _damaged(path)
    return header


def _damaged(path: Path) -> WeightsUnreadableError:
    return WeightsUnreadableError(f"{path.name} is damaged or cut off.", "Copy or download the model again.")


def _no_safetensors(folder: Path) -> WeightsUnreadableError:
    pickled = sorted(path.name for pattern in _PICKLED for path in folder.glob(pattern))
    if pickled:
        return WeightsUnreadableError(
            f"The weights are only there as {pickled[0]}, which can run code when loaded.",
            "Load it once where you trust it and save it with save_pretrained(), which writes safetensors.",
        )
    return WeightsUnreadableError(
        f"There is no {WEIGHTS_FILE} in {folder}.", "Name the folder that save_pretrained() wrote."
    )
