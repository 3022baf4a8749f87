from __future__ import annotations

from typing import Any

import pytest
from pod_security import restricted_violations
from resource_samples import FULL, MINIMAL, Sample, objects, pod_specs

PODS_OF_RAY_JOB, PODS_OF_RAY_SERVICE = 3, 2


def violations(pod: dict[str, Any]) -> list[str]:
    """What breaks the standard, or what is asked beyond it: no root file system that can be written to."""
    containers = [*pod.get("initContainers", []), *pod["containers"]]
    writable = [
        f"{each['name']}: the root file system can be written to"
        for each in containers
        if each.get("securityContext", {}).get("readOnlyRootFilesystem") is not True
    ]
    return [*restricted_violations(pod), *writable]


def every_pod(spec: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    bodies = objects(Sample(spec))
    return [(f"{name}{path}", pod) for name, body in bodies.items() for path, pod in pod_specs(body)]


@pytest.mark.parametrize("spec", [MINIMAL, FULL], ids=["minimal", "full"])
def test_every_pod_is_restricted(spec: dict[str, Any]) -> None:
    pods = every_pod(spec)
    serving = PODS_OF_RAY_SERVICE + 1 if "serving" in spec else 0
    assert len(pods) == 2 + PODS_OF_RAY_JOB + 1 + serving
    assert {place: violations(pod) for place, pod in pods} == {place: [] for place, _ in pods}


def test_the_autoscaler_is_restricted() -> None:
    cluster = Sample(FULL).service["spec"]["rayClusterConfig"]
    pod = cluster["headGroupSpec"]["template"]["spec"]  # KubeRay puts its container into this one
    autoscaler = {"name": "autoscaler", "securityContext": cluster["autoscalerOptions"]["securityContext"]}
    assert violations({**pod, "containers": [*pod["containers"], autoscaler]}) == []


@pytest.mark.parametrize("spec", [MINIMAL, FULL], ids=["minimal", "full"])
def test_only_pods_that_report_get_a_token(spec: dict[str, Any]) -> None:
    with_token = {place for place, pod in every_pod(spec) if pod["automountServiceAccountToken"]}
    reporting = {
        "prepare.spec.template.spec",
        "finish.spec.template.spec",
        "train.spec.rayClusterSpec.headGroupSpec.template.spec",
    }
    autoscaling = (
        {"service.spec.rayClusterConfig.headGroupSpec.template.spec"} if "serving" in spec else set()
    )
    assert with_token == reporting | autoscaling
    for place, pod in every_pod(spec):
        account = "reviews-reporter" if place in reporting else None
        assert pod.get("serviceAccountName") == account


def test_services_put_nothing_into_the_environment() -> None:
    assert all(pod["enableServiceLinks"] is False for _, pod in every_pod(FULL))


def test_every_pod_can_write_where_programs_expect_to() -> None:
    for place, pod in every_pod(FULL):
        scratch = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
        for container in pod["containers"]:
            writable = {m["mountPath"] for m in container["volumeMounts"] if m["name"] in scratch}
            home = {variable["value"] for variable in container["env"] if variable["name"] == "HOME"}
            assert {"/tmp", *home} <= writable, place
            assert len(home) == 1


def a_good_pod() -> dict[str, Any]:
    pod = objects(Sample())["prepare"]["spec"]["template"]["spec"]
    assert violations(pod) == []
    return pod


def in_container(name: str, value: object) -> Any:
    return lambda pod: pod["containers"][0]["securityContext"].update({name: value})


@pytest.mark.parametrize(
    "loosen",
    [
        lambda pod: pod.update(hostNetwork=True),
        lambda pod: pod.update(hostPID=True),
        lambda pod: pod["volumes"].append({"name": "root", "hostPath": {"path": "/"}}),
        lambda pod: pod["securityContext"].pop("seccompProfile"),
        lambda pod: pod["securityContext"].update(seccompProfile={"type": "Unconfined"}),
        lambda pod: pod["securityContext"].update(sysctls=[{"name": "kernel.x", "value": "1"}]),
        lambda pod: pod["securityContext"].update(runAsUser=0),
        in_container("privileged", True),
        in_container("allowPrivilegeEscalation", True),
        in_container("capabilities", {"drop": []}),
        in_container("capabilities", {"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
        in_container("runAsNonRoot", False),
        in_container("runAsUser", 0),
        in_container("procMount", "Unmasked"),
        in_container("readOnlyRootFilesystem", False),
        lambda pod: pod["containers"][0].pop("securityContext"),
        lambda pod: pod["containers"][0].update(ports=[{"containerPort": 80, "hostPort": 80}]),
        lambda pod: pod.update(initContainers=[{"name": "init", "image": "x"}]),
    ],
)
def test_the_check_finds_what_is_loosened(loosen: Any) -> None:
    pod = a_good_pod()
    loosen(pod)
    assert violations(pod) != []
