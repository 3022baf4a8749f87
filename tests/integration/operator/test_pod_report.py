"""A pod's report on a real API server, with no more rights than the operator gives it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from cluster.apiserver import ApiServer
from cluster.binaries import binary
from report_contract import CONTRACT, key

from anneal_api.status import Run
from anneal_operator.resources.attempt import attempt_objects
from anneal_trainer.cluster.configmap import ApiAccess, ConfigMapKey
from anneal_trainer.cluster.report import ReportNotWrittenError

pytestmark = pytest.mark.integration

_GROUPS = {
    "ConfigMap": ("api/v1", "configmaps"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "Role": ("apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
}


class RealWorld:
    """The attempt's objects as the operator makes them, and the token that its pods get."""

    def __init__(self, server: ApiServer, namespace: str, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self.namespace = namespace
        # Owners that exist: the garbage collector takes what belongs to nobody.
        self.owner, self.stranger = (self._create(_config_map(name)) for name in ("reviews", "stranger"))
        self._objects = attempt_objects(_job(namespace, self.owner), _RUN)
        self.name = str(self._objects[0]["metadata"]["name"])
        for body in self._objects:
            self._create(_owned(body, "reviews", self.owner))
        (account,) = [str(b["metadata"]["name"]) for b in self._objects if b["kind"] == "ServiceAccount"]
        status, answer = server.request("POST", f"{self._path('ServiceAccount', account)}/token", _TOKEN)
        assert status == 201, answer
        (folder / "token").write_text(answer["status"]["token"])
        (folder / "ca.crt").write_bytes(server.ca.read_bytes())

    def access(self) -> ApiAccess:
        return ApiAccess(self._server.url, self._folder)

    def read(self) -> dict[str, Any]:
        return self._ask("GET", self._path("ConfigMap", self.name))

    def set(self, key: str, value: str) -> None:
        self._patch({"data": {key: value}})

    def recreate(self, owner_uid: str) -> None:
        self.delete()
        name = "reviews" if owner_uid == self.owner else "stranger"
        self._create(_owned(self._objects[0], name, owner_uid))

    def delete(self) -> None:
        self._ask("DELETE", self._path("ConfigMap", self.name))

    def spoil_token(self) -> None:
        (self._folder / "token").write_text("expired")

    def create_other_config_map(self, name: str) -> None:
        body = _owned(self._objects[0], "reviews", self.owner)
        self._create({**body, "metadata": {**body["metadata"], "name": name}})

    def _patch(self, body: dict[str, Any]) -> None:
        path = self._path("ConfigMap", self.name)
        status, answer = self._server.request("PATCH", path, body, media_type="application/merge-patch+json")
        assert status == 200, answer

    def _create(self, body: dict[str, Any]) -> str:
        status, answer = self._server.request("POST", self._path(body["kind"]), body)
        assert status == 201, answer
        return str(answer["metadata"]["uid"])

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        status, answer = self._server.request(method, path)
        assert status == 200, answer
        return dict(answer)

    def _path(self, kind: str, name: str = "") -> str:
        group, plural = _GROUPS[kind]
        return f"/{group}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")


_TOKEN = {
    "apiVersion": "authentication.k8s.io/v1",
    "kind": "TokenRequest",
    "spec": {"expirationSeconds": 3600},
}
_RUN = Run.model_validate(
    {
        "generation": 1,
        "attempt": 1,
        "part": "train",
        "image": "anneal:test",
        "startedAt": "2026-01-02T03:04:05Z",
        "partStartedAt": "2026-01-02T03:04:05Z",
    }
)


def _job(namespace: str, uid: str) -> dict[str, Any]:
    metadata = {"name": "reviews", "namespace": namespace, "uid": uid, "generation": 1}
    return {"apiVersion": "anneal.dev/v1alpha1", "kind": "FineTuneJob", "metadata": metadata, "spec": {}}


def _config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def _owned(body: dict[str, Any], owner: str, uid: str) -> dict[str, Any]:
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uid}
    return {**body, "metadata": {**body["metadata"], "ownerReferences": [reference]}}


@pytest.fixture
def world(apiserver: ApiServer, namespace: str, tmp_path: Path) -> RealWorld:
    return RealWorld(apiserver, namespace, tmp_path)


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_the_contract(world, check):
    check(world)


def test_a_pod_can_write_to_no_other_attempt(world):
    world.create_other_config_map("reviews-g1-a2")
    other = ConfigMapKey(
        world.access(),
        namespace=world.namespace,
        name="reviews-g1-a2",
        key="train.json",
        owner_uid=world.owner,
    )
    with pytest.raises(ReportNotWrittenError, match="403"):
        other.write("late")


def test_a_server_that_is_not_trusted_gets_no_token(world, tmp_path):
    other = tmp_path / "other"
    kubeadm = [binary("kubeadm"), "init", "phase", "certs", "ca", "--cert-dir", other]
    subprocess.run(kubeadm, check=True, capture_output=True)
    (tmp_path / "ca.crt").write_bytes((other / "ca.crt").read_bytes())
    with pytest.raises(ReportNotWrittenError, match="certificate verify failed"):
        key(world).write("one")


def test_an_outage_passes(apiserver, world):
    train = key(world)
    train.write("one")
    with apiserver.outage(), pytest.raises(ReportNotWrittenError, match="refused"):
        train.write("two")
    train.write("three")
    assert world.read()["data"] == {"train.json": "three"}
