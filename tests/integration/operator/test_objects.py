"""What the builders make, on a real API server with KubeRay's own CRDs and real Pod Security admission."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from cluster.apiserver import ApiServer
from kuberay_simulator import install_kuberay_crds
from operator_world import Jobs, install_crd
from resource_samples import FULL, MINIMAL, Sample, objects, pod_specs

from anneal_operator.cluster.kinds import kind_named
from anneal_operator.resources.intent import differs
from anneal_operator.resources.names import MANAGER

pytestmark = pytest.mark.integration

_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
SPECS = {"minimal": MINIMAL, "full": FULL, "served": {**MINIMAL, "serving": {}}}


@pytest.fixture
def sample(apiserver: ApiServer, namespace: str, request: pytest.FixtureRequest) -> Sample:
    """A job that exists, so that what belongs to it is not collected."""
    install_crd(apiserver)
    install_kuberay_crds(apiserver)
    job = Jobs(apiserver, namespace).create()
    return Sample(SPECS[request.param], namespace=namespace, uid=job["metadata"]["uid"])


def apply(server: ApiServer, body: dict[str, Any]) -> dict[str, Any]:
    path = kind_named(body["kind"]).path(body["metadata"]["namespace"], body["metadata"]["name"])
    query = f"?fieldManager={MANAGER}&force=true&fieldValidation=Strict"
    status, answer = server.request("PATCH", path + query, body, media_type=_APPLY)
    assert status in {200, 201}, answer
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize("sample", SPECS, indirect=True)
def test_every_object_is_taken_whole_and_needs_no_second_apply(apiserver: ApiServer, sample: Sample) -> None:
    for name, body in objects(sample).items():
        live = apply(apiserver, body)
        assert not differs(live, body), name
        assert apply(apiserver, body)["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]


@pytest.mark.parametrize("sample", ["full"], indirect=True)
def test_an_edit_is_seen_and_undone(apiserver: ApiServer, sample: Sample) -> None:
    body = sample.service
    live = apply(apiserver, body)
    path = kind_named("RayService").path(sample.namespace, body["metadata"]["name"])
    edit = {"spec": {"excludeHeadPodFromServeSvc": False}, "metadata": {"annotations": {"mine": "kept"}}}
    status, edited = apiserver.request("PATCH", path, edit, media_type=_MERGE)
    assert status == 200, edited
    assert differs(edited, body)
    mended = apply(apiserver, body)
    assert not differs(mended, body)
    assert mended["spec"] == live["spec"]
    assert mended["metadata"]["annotations"]["mine"] == "kept"


@pytest.mark.parametrize("sample", ["full"], indirect=True)
def test_applying_a_report_again_leaves_what_pods_wrote(apiserver: ApiServer, sample: Sample) -> None:
    body = objects(sample)["attempt-configmap"]
    apply(apiserver, body)
    path = kind_named("ConfigMap").path(sample.namespace, body["metadata"]["name"])
    apiserver.request("PATCH", path, {"data": {"train.json": "{}"}}, media_type=_MERGE)
    assert apply(apiserver, body)["data"] == {"train.json": "{}"}


@pytest.mark.parametrize("sample", ["full", "served"], indirect=True)
def test_a_namespace_that_enforces_the_restricted_standard_takes_every_pod(
    apiserver: ApiServer, sample: Sample
) -> None:
    enforce = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    apiserver.request("PATCH", f"/api/v1/namespaces/{sample.namespace}", enforce, media_type=_MERGE)
    bodies = objects(sample)
    accounts = kind_named("ServiceAccount").path(sample.namespace)
    default = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    apiserver.request("POST", accounts, default)
    apply(apiserver, bodies["attempt-serviceaccount"])
    specs = [(f"{name}{path}", spec) for name, body in bodies.items() for path, spec in pod_specs(body)]
    for number, (place, spec) in enumerate(specs):
        status, answer = create_pod(apiserver, sample.namespace, f"pod-{number}", spec)
        assert status == 201, (place, answer)
    loose = copy.deepcopy(specs[0][1])
    del loose["containers"][0]["securityContext"]
    status, answer = create_pod(apiserver, sample.namespace, "loose", loose)
    assert status == 403, answer


def create_pod(server: ApiServer, namespace: str, name: str, spec: dict[str, Any]) -> tuple[int, Any]:
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    return server.request("POST", f"{kind_named('Pod').path(namespace)}?fieldValidation=Strict", body)
