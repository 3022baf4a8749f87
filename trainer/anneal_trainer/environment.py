"""What a result was made with: library versions, processor, cores."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

_CONTROL_GROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_DECIDING = (
    "anneal",
    "torch",
    "transformers",
    "tokenizers",
    "ray",
    "onnx",
    "onnxruntime",
    "numpy",
    "scikit-learn",
)


def library_versions() -> dict[str, str]:
    """Returns the versions of anneal, Python and the libraries that decide the result."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in _DECIDING}}


def usable_cores() -> int:
    """Returns how many cores this process may use: a container may have a share of the machine's only."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = _CONTROL_GROUP_QUOTA.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores
    return min(cores, -(-int(quota) // int(period))) if quota.isdigit() else cores


def hardware() -> str:
    """Returns the processor's name and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    cores = usable_cores()
    return f"{name}, {cores} core{'s' if cores != 1 else ''}"
