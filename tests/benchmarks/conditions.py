"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    "anneal",
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "onnxruntime",
    "ray",
    "fastapi",
    "uvicorn",
    "numpy",
    "kopf",
    "aiohttp",
)
_TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile")


def conditions() -> dict[str, str]:
    """Returns processor, cores, memory, system, load, versions and date."""
    processor = _field("/proc/cpuinfo", "model name") or platform.machine()
    flags = set((_field("/proc/cpuinfo", "flags") or "").split())
    memory = int((_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 2**20
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{processor} ({', '.join(flag for flag in _TELLING_FLAGS if flag in flags)})",
        "usable cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "versions": ", ".join(f"{name} {_version(name)}" for name in _PACKAGES),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def _field(path: str, name: str) -> str | None:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
