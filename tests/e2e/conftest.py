"""A real cluster with KubeRay and anneal, installed from the chart with images built here."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.kind_cluster import KindCluster, Wanted, bring_up, find_cluster, take_down
from cluster.product_images import load_product
from cluster.progress import ClusterError, Steps
from helm_chart import find_helm
from kind_world import SYSTEM, Namespace, helm, install
from real_parts import in_ci, not_to_be_had, teller

_HERE = Path(__file__).parent
_BUILD_SECONDS = 3600
_MODULES = (
    "test_quickstart",
    "test_refusals",
    "test_kuberay",
    "test_store_in_a_bucket",
    "test_faults",
    "test_kueue",
)


@pytest.hookimpl(trylast=True)  # after the order of all tests was drawn
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs these last, in the order they are written in: each module is one life of one job.

    The first of them waits for a cluster and images to be built.
    """
    ours = [item for item in items if isinstance(item, pytest.Function) and _HERE in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.timeout(_BUILD_SECONDS))
    others = [item for item in items if item not in ours]
    items[:] = [*others, *sorted(ours, key=_place)]


def _place(item: pytest.Function) -> tuple[int, int]:
    return _MODULES.index(item.path.stem), item.function.__code__.co_firstlineno


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[KindCluster]:
    """A kind cluster with KubeRay; one that is up already is taken as it is, and stays."""
    show = teller(request.config)
    was_up = find_cluster() is not None
    try:
        steps = Steps(show)
        found = bring_up(Wanted(), steps, install=in_ci())
        # "loaded" is a short cut while one works on the tests themselves.
        if os.environ.get("ANNEAL_E2E_IMAGES") != "loaded":
            load_product(found, steps, install=in_ci())
        show(steps.table())
    except ClusterError as error:
        not_to_be_had("cluster", error)
    yield found
    if not was_up:
        take_down(found.name)


@pytest.fixture(scope="session")
def anneal(cluster: KindCluster) -> KindCluster:
    """The cluster, with the chart as it is now installed in `anneal-system`."""
    if find_helm(build=shutil.which("go") is not None) is None:
        not_to_be_had("cluster", "there is no helm, and no Go to build one.")
    install(cluster)
    helm(cluster, "test", "anneal", "--timeout=3m")
    # The image of a developer's last run may have had the same tag.
    cluster.kubectl("--namespace", SYSTEM, "rollout", "restart", "deployment/anneal")
    cluster.kubectl("--namespace", SYSTEM, "rollout", "status", "deployment/anneal", "--timeout=180s")
    return cluster


@pytest.fixture(scope="module")
def namespace(anneal: KindCluster) -> Iterator[Namespace]:
    """A fresh namespace that enforces the restricted Pod Security Standard; deleted with all that is in it."""
    name = f"team-{uuid.uuid4().hex[:6]}"
    anneal.kubectl("create", "namespace", name)
    anneal.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield Namespace(anneal, name)
    anneal.kubectl("delete", "namespace", name, "--wait=false")
