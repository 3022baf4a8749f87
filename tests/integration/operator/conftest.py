"""A real API server for the operator's tests: the CRD, CEL, server-side apply, conflicts and watches, without nodes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from cluster.apiserver import ApiServer, api_server
from cluster.binaries import binary, built
from cluster.progress import ClusterError
from real_parts import not_to_be_had, teller

_PROGRAMS = ("etcd", "kube-apiserver")
_BUILD_SECONDS = 3600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lets the first test that needs the server wait for its programs to be built, which is once in a while."""
    if all(built(name) for name in _PROGRAMS):
        return
    for item in items:
        if "apiserver" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(_BUILD_SECONDS))


@pytest.fixture(scope="session")
def apiserver(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """A bare API server with an audit log, whose namespaces end and whose orphans are collected."""
    show = teller(request.config)
    try:
        for name in _PROGRAMS:
            binary(name, say=show)
    except ClusterError as error:
        not_to_be_had("API server", error)
    with api_server(
        tmp_path_factory.mktemp("apiserver"),
        controllers=("garbage-collector-controller", "namespace-controller"),
        audit=True,
    ) as server:
        yield server


@pytest.fixture
def namespace(apiserver: ApiServer) -> Iterator[str]:
    """A fresh namespace, deleted after the test with all that is in it."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    status, answer = apiserver.request("POST", "/api/v1/namespaces", body)
    assert status == 201, answer
    yield name
    apiserver.request("DELETE", f"/api/v1/namespaces/{name}")
