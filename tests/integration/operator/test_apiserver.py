"""The bare API server that the operator is tested against does what a cluster's does."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster.apiserver import ApiServer, api_server
from cluster.progress import ClusterError

pytestmark = pytest.mark.integration

_APPLY = "application/apply-patch+yaml"
_CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "samples.test.anneal.dev"},
    "spec": {
        "group": "test.anneal.dev",
        "scope": "Namespaced",
        "names": {"plural": "samples", "singular": "sample", "kind": "Sample", "listKind": "SampleList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["size"],
                                "properties": {
                                    "size": {"type": "integer", "minimum": 1},
                                    "most": {"type": "integer", "default": 9},
                                    "name": {
                                        "type": "string",
                                        "x-kubernetes-validations": [
                                            {"rule": "self == oldSelf", "message": "name is immutable"}
                                        ],
                                    },
                                },
                                "x-kubernetes-validations": [
                                    {"rule": "self.size <= self.most", "message": "size is above most"}
                                ],
                            },
                            "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture(scope="module")
def samples(apiserver: ApiServer) -> Callable[[str], str]:
    """Installs a small CRD; returns the path of its objects in a namespace."""
    status, answer = apiserver.request(
        "PATCH",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/samples.test.anneal.dev?fieldManager=test",
        _CRD,
        media_type=_APPLY,
    )
    assert status in {200, 201}, answer
    apiserver.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/samples.test.anneal.dev")
    return lambda namespace: f"/apis/test.anneal.dev/v1/namespaces/{namespace}/samples"


def sample(name: str, /, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "test.anneal.dev/v1", "kind": "Sample", "metadata": {"name": name}, "spec": spec}


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_holds_a_crd_to_its_schema_and_fills_in_defaults(
    apiserver: ApiServer, samples: Callable[[str], str], namespace: str
) -> None:
    status, answer = apiserver.request("POST", samples(namespace), sample("a", size=0))
    assert status == 422
    assert "spec.size" in answer["message"]
    status, answer = apiserver.request("POST", samples(namespace), sample("a", size=3))
    assert status == 201
    assert answer["spec"]["most"] == 9


def test_evaluates_cel_rules(apiserver: ApiServer, samples: Callable[[str], str], namespace: str) -> None:
    status, answer = apiserver.request("POST", samples(namespace), sample("a", size=10))
    assert status == 422
    assert "size is above most" in answer["message"]
    apiserver.request("POST", samples(namespace), sample("a", size=1, name="first"))
    status, answer = apiserver.request(
        "PATCH",
        f"{samples(namespace)}/a",
        {"spec": {"name": "second"}},
        media_type="application/merge-patch+json",
    )
    assert status == 422
    assert "name is immutable" in answer["message"]


def test_keeps_status_apart_and_counts_generations(
    apiserver: ApiServer, samples: Callable[[str], str], namespace: str
) -> None:
    place = f"{samples(namespace)}/a"
    _, answer = apiserver.request(
        "POST", samples(namespace), sample("a", size=1) | {"status": {"phase": "Completed"}}
    )
    assert "status" not in answer
    status = sample("a", size=8) | {"status": {"phase": "Completed"}}
    _, answer = apiserver.request(
        "PATCH", f"{place}/status", status, media_type="application/merge-patch+json"
    )
    assert answer["status"] == {"phase": "Completed"}
    assert answer["spec"]["size"] == 1
    assert answer["metadata"]["generation"] == 1
    _, answer = apiserver.request(
        "PATCH", place, {"spec": {"size": 2}}, media_type="application/merge-patch+json"
    )
    assert answer["metadata"]["generation"] == 2


def test_server_side_apply_refuses_a_field_of_another_manager(
    apiserver: ApiServer, samples: Callable[[str], str], namespace: str
) -> None:
    place = f"{samples(namespace)}/a?fieldManager="
    assert apiserver.request("PATCH", place + "first", sample("a", size=1), media_type=_APPLY)[0] == 201
    status, answer = apiserver.request("PATCH", place + "second", sample("a", size=2), media_type=_APPLY)
    assert status == 409
    assert '"first"' in answer["message"]
    assert ".spec.size" in answer["message"]
    status, answer = apiserver.request(
        "PATCH", f"{place}second&force=true", sample("a", size=2), media_type=_APPLY
    )
    assert status == 200
    assert answer["spec"]["size"] == 2


def test_an_update_of_an_old_version_is_a_conflict(
    apiserver: ApiServer, samples: Callable[[str], str], namespace: str
) -> None:
    _, first = apiserver.request("POST", samples(namespace), sample("a", size=1))
    _, second = apiserver.request("PUT", f"{samples(namespace)}/a", first | {"spec": {"size": 2}})
    assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    status, answer = apiserver.request("PUT", f"{samples(namespace)}/a", first | {"spec": {"size": 3}})
    assert (status, answer["reason"]) == (409, "Conflict")


def test_kubectl_applies_and_says_why_not(
    apiserver: ApiServer, samples: Callable[[str], str], namespace: str
) -> None:
    del samples
    manifest = json.dumps(sample("a", size=4))
    said = apiserver.kubectl("-n", namespace, "apply", "--server-side", "-f", "-", stdin=manifest)
    assert "serverside-applied" in said
    assert "4" in apiserver.kubectl("-n", namespace, "get", "samples", "-o=jsonpath={.items[*].spec.size}")
    with pytest.raises(ClusterError, match=r"samples.* not found"):
        apiserver.kubectl("-n", namespace, "get", "samples", "b")


def test_collects_what_a_deleted_owner_leaves(apiserver: ApiServer, namespace: str) -> None:
    place = f"/api/v1/namespaces/{namespace}/configmaps"
    _, owner = apiserver.request("POST", place, {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    apiserver.request("POST", place, {"metadata": {"name": "child", "ownerReferences": [reference]}})
    apiserver.request("DELETE", f"{place}/owner")
    until(lambda: apiserver.request("GET", f"{place}/child")[0] == 404)


def test_pods_can_be_made_without_a_service_account(apiserver: ApiServer, namespace: str) -> None:
    pod = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    assert apiserver.request("POST", f"/api/v1/namespaces/{namespace}/pods", pod)[0] == 201


def test_audits_writes_and_no_reads(apiserver: ApiServer, namespace: str) -> None:
    place = f"/api/v1/namespaces/{namespace}/configmaps"
    apiserver.request("POST", place, {"metadata": {"name": "written"}})
    apiserver.request("GET", f"{place}/written")
    seen = [
        (event["verb"], event["objectRef"]["resource"], event["objectRef"].get("name"))
        for event in apiserver.audited_writes()
        if event.get("objectRef", {}).get("namespace") == namespace
    ]
    assert ("create", "configmaps", "written") in seen
    assert {verb for verb, _, _ in seen} <= {"create", "update", "patch", "delete", "deletecollection"}


def test_an_outage_ends_with_everything_in_place_and_nothing_left_running(tmp_path: Path) -> None:
    with api_server(tmp_path) as server:
        place = "/api/v1/namespaces/default/configmaps"
        server.request("POST", place, {"metadata": {"name": "kept"}, "data": {"a": "b"}})
        with server.outage(), pytest.raises(OSError, match="refused"):
            server.request("GET", "/readyz")
        assert server.request("GET", f"{place}/kept")[1]["data"] == {"a": "b"}
    found = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False)
    assert found.stdout == ""
