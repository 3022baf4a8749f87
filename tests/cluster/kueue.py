"""Kueue beside KubeRay, for the tests that hold a job in its queue."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from . import versions
from .binaries import binary, module_folder
from .cache import cache_folder
from .kind_cluster import KindCluster, install_controller
from .progress import Say

_MODULE = "sigs.k8s.io/kueue"
_IMAGE = f"registry.k8s.io/kueue/kueue:{versions.KUEUE}"
_REMOTE = f"https://github.com/kubernetes-sigs/kueue/config/default?ref={versions.KUEUE}"
_DOCKERFILE = "FROM scratch\nCOPY kueue /manager\nUSER 65532:65532\n"


def install_kueue(cluster: KindCluster, say: Say) -> None:
    """Installs Kueue and waits until it runs.

    Args:
        cluster: Where.
        say: Gets a line when it has to be built first.

    Raises:
        ClusterError: It cannot be built, or does not come up.
    """
    if not cluster.pulled:
        with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
            context = Path(scratch)
            shutil.copy(binary("kueue", say=say), context)
            (context / "Dockerfile").write_text(_DOCKERFILE)
            cluster.build_image(_IMAGE, context)
    source = module_folder(_MODULE, versions.KUEUE) / "config/default" if shutil.which("go") else _REMOTE
    changes = {"image": _IMAGE, "imagePullPolicy": "IfNotPresent", "resources/requests/cpu": "50m"}
    install_controller(cluster, source, "kueue-controller-manager", changes)
