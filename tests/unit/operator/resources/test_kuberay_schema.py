from __future__ import annotations

import copy
from typing import Any

import pytest
from kuberay_source import kuberay_folder, pod_template_errors, schema_errors
from resource_samples import FULL, IN_BUCKET, MINIMAL, Sample, objects

SPECS = {
    "minimal": MINIMAL,
    "full": FULL,
    "served": {**MINIMAL, "serving": {}},
    "bucket": IN_BUCKET,
    "queued": {**FULL, "resources": {"queue": "team-a"}},
}


@pytest.mark.parametrize("name", SPECS)
def test_kuberay_takes_the_objects_whole(name: str) -> None:
    bodies = objects(Sample(SPECS[name]))
    ray = [body for body in bodies.values() if body["apiVersion"] == "ray.io/v1"]
    assert {body["kind"] for body in ray} == (
        {"RayJob", "RayService"} if "serving" in SPECS[name] else {"RayJob"}
    )
    assert [error for body in ray for error in schema_errors(body)] == []


@pytest.mark.parametrize("name", SPECS)
def test_jobs_have_real_pod_templates(name: str) -> None:
    jobs = [body for body in objects(Sample(SPECS[name])).values() if body["kind"] == "Job"]
    assert len(jobs) >= 3
    assert [error for body in jobs for error in pod_template_errors(body["spec"]["template"])] == []


def test_the_check_finds_what_the_api_server_would_drop() -> None:
    body = Sample(FULL).service
    broken: list[Any] = []
    for change in (
        lambda spec: spec.update(rayClusterSpec={}),
        lambda spec: spec.pop("rayClusterConfig"),
        lambda spec: spec["rayClusterConfig"]["headGroupSpec"].update(replica=1),
        lambda spec: spec["rayClusterConfig"]["workerGroupSpecs"][0].update(minReplicas="2"),
        lambda spec: spec["serveService"]["spec"]["ports"][0].update(port="http"),
    ):
        changed = copy.deepcopy(body)
        change(changed["spec"])
        broken.append(schema_errors(changed))
    assert all(broken)


def test_kuberay_still_is_as_the_builders_assume() -> None:
    folder = kuberay_folder() / "controllers/ray"
    constants = (folder / "utils/constant.go").read_text()
    for text in (
        '"ray.io/disable-provisioned-head-restart"',
        '"ray.io/initializing-timeout"',
        'ServingPortName   = "serve"',
        "MaxRayClusterNameLength - 6",
        'RayNodeTypeLabelKey                      = "ray.io/node-type"',
    ):
        assert text in constants
    # The head Service of a RayService selects by KubeRay's own application name.
    assert "BuildServiceForHeadPod(ctx, rayCluster, nil, nil)" in (folder / "common/service.go").read_text()
    # Annotations of a RayJob go to its cluster, where the head looks for them.
    job = (folder / "rayjob_controller.go").read_text()
    assert "maps.Copy(annotations, rayJobInstance.Annotations)" in job
    assert "SidecarMode doesn't support SubmitterPodTemplate" in (folder / "utils/validation.go").read_text()
