"""The real KubeRay does what the operator relies on, and what the simulator plays where there are no pods."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from kind_world import Namespace
from kuberay_contract import CASES, Case, holds, rayjob

from anneal_operator.resources.pods import Container, pod_template
from anneal_operator.resources.ray_clusters import head_mounts
from anneal_operator.resources.volumes import scratch
from anneal_operator.settings import Settings


def _pod(namespace: Namespace) -> dict[str, Any]:
    deployment = namespace.cluster.kubectl(
        *("get", "deployments", "--all-namespaces", "--selector=app.kubernetes.io/name=anneal-operator"),
        "--output=json",
    )
    (body,) = json.loads(deployment)["items"]
    env = body["spec"]["template"]["spec"]["containers"][0]["env"]
    image = next(each["value"] for each in env if each["name"] == "ANNEAL_OPERATOR_IMAGE")
    resources = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "2Gi"}}
    container = Container(
        "ray", image, [{"name": "HOME", "value": "/home/anneal"}], head_mounts(scratch()), resources
    )
    return pod_template(container, {}, Settings(image=image))


def test_every_case_of_the_contract_holds_on_the_real_one(namespace: Namespace) -> None:
    pod = _pod(namespace)

    def ask(method: str, name: str, body: dict[str, Any] | None) -> dict[str, Any] | None:
        if method == "POST":
            namespace.kubectl("create", "--filename=-", stdin=json.dumps(body))
            return body
        if method == "DELETE":
            namespace.kubectl("delete", "rayjob", name, "--wait=false")
            return None
        found = namespace.kubectl("get", "rayjob", name, "--output=json", "--ignore-not-found")
        return json.loads(found) if found.strip() else None

    def run(case: Case) -> str:
        try:
            holds(case, ask, rayjob(case, pod))
        except AssertionError as error:
            return f"{case.name}: {error}"
        return ""

    with ThreadPoolExecutor(len(CASES)) as pool:  # heads start slowly, and mostly wait
        wrong = [said for said in pool.map(run, CASES) if said]
    if wrong:
        pytest.fail("\n".join([*wrong, namespace.describe()]))
    namespace.kubectl("delete", "rayjobs", "--all", "--timeout=120s")
