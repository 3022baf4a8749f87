"""What went wrong, told from pods, Jobs, RayJobs, Events and reports: one word each, and what to do about it."""

from __future__ import annotations

from typing import Any

import pytest
from model_results import failure

from anneal_api.attempt import Part, PartFailure, PartReport
from anneal_operator.plan.diagnosis.failed import killed_for_memory, why_failed
from anneal_operator.plan.diagnosis.pending import why_waiting

RAY_JOB = {"kind": "RayJob", "metadata": {"name": "reviews-g1-a1"}}
JOB = {"kind": "Job", "metadata": {"name": "reviews-g1-a1-prepare"}}


def pod(status: dict[str, Any], name: str = "p1", node_type: str = "", created: str = "") -> dict[str, Any]:
    labels = {"ray.io/node-type": node_type} if node_type else {}
    return {
        "metadata": {"name": name, "labels": labels, "creationTimestamp": created},
        "spec": {"containers": [{"name": "main", "resources": {"limits": {"memory": "4Gi"}}}]},
        "status": status,
    }


def container(**state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "main", "image": "anneal/runtime:1", **state}]}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", **container(state=state)}


def unscheduled(message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"phase": "Pending", "conditions": [condition]}


def event(reason: str, message: str, kind: str = "Pod", name: str = "p1", at: str = "") -> dict[str, Any]:
    subject = {"kind": kind, "name": name}
    return {"reason": reason, "message": message, "involvedObject": subject, "lastTimestamp": at}


QUOTA = 'pods "p" is forbidden: exceeded quota: small, requested: cpu=4, used: cpu=0, limited: cpu=1'
SECURITY = 'pods "p" is forbidden: violates PodSecurity "restricted:latest"'
NO_CONFIG_MAP = 'MountVolume.SetUp failed for volume "data-0" : configmap "small-sets" not found'

LEAVING = {"metadata": {"name": "p1", "deletionTimestamp": "2026-01-01T12:00:00Z"}}

WAITING = [
    ("image", [pod(waiting("ErrImagePull", "not found"))], [], "ImagePull", "anneal/runtime:1"),
    ("image again", [pod(waiting("ImagePullBackOff"))], [], "ImagePull", "ImagePullBackOff"),
    ("image name", [pod(waiting("InvalidImageName"))], [], "ImagePull", "InvalidImageName"),
    (
        "secret",
        [pod(waiting("CreateContainerConfigError", 'secret "hub-token" not found'))],
        [],
        "SecretNotFound",
        "hub-token",
    ),
    (
        "key of a secret",
        [pod(waiting("CreateContainerConfigError", "couldn't find key token in Secret default/hub-token"))],
        [],
        "SecretNotFound",
        "key token",
    ),
    (
        "root image",
        [pod(waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"))],
        [],
        "Rejected",
        "runAsNonRoot",
    ),
    (
        "no node",
        [pod(unscheduled("0/3 nodes are available: 3 Insufficient nvidia.com/gpu."))],
        [],
        "Unschedulable",
        "Insufficient nvidia.com/gpu",
    ),
    (
        "no claim",
        [pod(unscheduled('0/1 nodes are available: persistentvolumeclaim "datasets" not found.'))],
        [],
        "VolumeNotFound",
        "datasets",
    ),
    (
        "unbound claim",
        [pod(unscheduled("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."))],
        [],
        "Unschedulable",
        "unbound",
    ),
    (
        "volume",
        [pod({"phase": "Pending"})],
        [
            event("FailedMount", 'MountVolume.SetUp failed for volume "s": secret "s3" not found'),
            event("FailedMount", "Unable to attach or mount volumes: timed out"),
        ],
        "SecretNotFound",
        "s3",
    ),
    (
        "config map",
        [pod({"phase": "Pending"})],
        [
            event("FailedMount", NO_CONFIG_MAP),
            event("FailedMount", "Unable to attach or mount volumes: timed out"),
        ],
        "VolumeNotFound",
        "small-sets",
    ),
    (
        "attach",
        [pod({"phase": "Pending"})],
        [event("FailedAttachVolume", "Multi-Attach error for volume pvc-1")],
        "VolumeNotFound",
        "Multi-Attach",
    ),
    ("quota", [], [event("FailedCreate", QUOTA, "RayJob", "reviews-g1-a1")], "QuotaExceeded", "small"),
    (
        "quota below KubeRay",
        [],
        [event("FailedToCreateHeadPod", QUOTA, "RayCluster", "reviews-g1-a1-x7k2p")],
        "QuotaExceeded",
        "small",
    ),
    (
        "admission",
        [],
        [event("FailedCreate", SECURITY, "RayJob", "reviews-g1-a1")],
        "Rejected",
        "PodSecurity",
    ),
    (
        "crash loop",
        [
            pod(
                container(
                    state={"waiting": {"reason": "CrashLoopBackOff"}},
                    lastState={"terminated": {"reason": "OOMKilled", "exitCode": 137}},
                )
            )
        ],
        [],
        "OutOfMemory",
        "again and again",
    ),
]


@pytest.mark.parametrize(
    ("pods", "warnings", "reason", "words"), [case[1:] for case in WAITING], ids=[case[0] for case in WAITING]
)
def test_what_keeps_pods_from_running_is_told(pods, warnings, reason, words):
    found = why_waiting(RAY_JOB, pods, warnings)
    assert found is not None
    assert found.reason == reason
    assert words in found.message
    assert found.hint


def test_who_misses_a_config_map_is_not_told_to_create_a_claim():
    found = why_waiting(RAY_JOB, [pod({"phase": "Pending"})], [event("FailedMount", NO_CONFIG_MAP)])
    assert found is not None
    assert found.hint.startswith("Create the ConfigMap")


@pytest.mark.parametrize(
    ("pods", "warnings"),
    [
        ([pod({"phase": "Running"})], [event("FailedMount", "an earlier try")]),
        ([pod({"phase": "Succeeded", **container(state={"waiting": {"reason": "ErrImagePull"}})})], []),
        ([], [event("FailedCreate", QUOTA, "Job", "somebody-else")]),
        ([], [event("BackOff", "exceeded quota", "RayJob", "reviews-g1-a1")]),
        (
            [pod({"phase": "Pending"}, created="2026-01-01T12:00:10Z")],
            [event("FailedCreate", QUOTA, "RayJob", "reviews-g1-a1", at="2026-01-01T12:00:00Z")],
        ),
        ([pod({"phase": "Pending"})], []),
        ([{**LEAVING, "status": waiting("ErrImagePull")}], []),
    ],
    ids=[
        "mounted by now",
        "ended",
        "another's",
        "another kind",
        "created by now",
        "just young",
        "on its way out",
    ],
)
def test_what_is_over_is_not_told(pods, warnings):
    assert why_waiting(RAY_JOB, pods, warnings) is None


def test_the_order_of_an_observation_does_not_matter_to_the_words():
    both = [pod(waiting("ErrImagePull"), "b"), pod(unscheduled("no node"), "a")]
    assert why_waiting(RAY_JOB, both, []) == why_waiting(RAY_JOB, both, [])


def killed(reason: str, **more: Any) -> dict[str, Any]:
    ended = {"terminated": {"reason": reason, "exitCode": more.pop("code", 137)}}
    return {"phase": "Failed", **container(state=ended), **more}


def ended_job(reason: str = "BackoffLimitExceeded") -> dict[str, Any]:
    condition = {"type": "Failed", "status": "True", "reason": reason, "message": "has reached its limit"}
    return {**JOB, "status": {"conditions": [condition]}}


def ended_ray_job(**status: str) -> dict[str, Any]:
    return {**RAY_JOB, "status": {"jobDeploymentStatus": "Failed", **status}}


EVICTED = {"phase": "Failed", "reason": "Evicted"}
DISRUPTED = {
    "phase": "Failed",
    "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}],
}

FAILED = [
    (
        "memory of a worker",
        None,
        [pod(killed("OOMKilled"), node_type="worker")],
        "OutOfMemory",
        "limit of 4Gi",
    ),
    ("memory outranks a lost link", "Collective", [pod(killed("OOMKilled"))], "OutOfMemory", "killed"),
    ("bad data outranks memory", "DataInvalid", [pod(killed("OOMKilled"))], "DataInvalid", "It broke"),
    ("preempted", None, [pod(DISRUPTED)], "Preempted", "PreemptionByScheduler"),
    ("preemption outranks a lost link", "Internal", [pod(DISRUPTED)], "Preempted", "had to go"),
    ("evicted", None, [pod({**EVICTED, "message": "low on resource: memory"})], "Preempted", "memory"),
    (
        "evicted for disk",
        None,
        [pod({**EVICTED, "message": "low on resource: ephemeral-storage."})],
        "DiskFull",
        "evicted",
    ),
    ("disk", "DiskFull", [], "DiskFull", "It broke"),
    ("model", "ModelNotFound", [], "ModelNotFound", "It broke"),
    ("gate", "GateNotPassed", [], "GateNotPassed", "It broke"),
    ("code", "UserCode", [], "UserCode", "It broke"),
    ("interrupted", "Interrupted", [], "Preempted", "It broke"),
    ("unknown to a status", "RequestInvalid", [], "Internal", "It broke"),
    ("exit code", None, [pod(killed("Error", code=4))], "DataInvalid", "exit code 4"),
    ("odd exit code", None, [pod(killed("Error", code=77))], "Internal", "exit code 77"),
    ("nothing known", None, [], "Internal", "did not report why"),
]


@pytest.mark.parametrize(
    ("told", "pods", "reason", "words"), [case[1:] for case in FAILED], ids=[case[0] for case in FAILED]
)
def test_why_a_part_failed(told, pods, reason, words):
    report = None
    if told is not None:
        report = PartReport.model_validate(
            {
                "jobUid": "u",
                "generation": 1,
                "attempt": 1,
                "part": "train",
                "state": "Failed",
                "heartbeat": "",
                "failure": failure(told),
            }
        )
    found = why_failed(Part.TRAIN, ended_ray_job(), report, pods)
    assert found.reason == reason
    assert words in found.message
    assert found.hint


@pytest.mark.parametrize(
    ("part", "body", "reason"),
    [
        (Part.PREPARE, ended_job("DeadlineExceeded"), "Deadline"),
        (Part.TRAIN, ended_ray_job(reason="DeadlineExceeded"), "Deadline"),
        (Part.TRAIN, ended_ray_job(jobDeploymentStatus="ValidationFailed", message="bad name"), "Rejected"),
        (Part.TRAIN, ended_ray_job(reason="SubmissionFailed", message="no pod"), "Internal"),
        (Part.TRAIN, None, "Internal"),
    ],
)
def test_what_the_controllers_say(part, body, reason):
    assert why_failed(part, body, None, []).reason == reason


@pytest.mark.parametrize(
    ("driver", "pods", "reason"),
    [
        ("RUNNING", [], "Preempted"),
        ("RUNNING", [pod({"phase": "Running"}, node_type="worker")], "Preempted"),
        ("RUNNING", [pod({"phase": "Running"}, node_type="head")], "Internal"),
        ("FAILED", [], "Internal"),
    ],
    ids=["all pods gone", "its head gone", "its head there", "seen to end"],
)
def test_a_driver_that_went_with_its_head_did_not_break(driver, pods, reason):
    found = why_failed(Part.TRAIN, ended_ray_job(jobStatus=driver), running_report(), pods)
    assert found.reason == reason


def running_report() -> PartReport:
    content = {
        "jobUid": "u",
        "generation": 1,
        "attempt": 1,
        "part": "train",
        "state": "Running",
        "heartbeat": "",
    }
    return PartReport.model_validate(content)


SERVING_MEMORY = [
    (
        "worker",
        "A serving pod was killed: it used more memory than its limit of 4Gi.",
        "runtime.servingResources",
    ),
    ("head", "The Ray head was killed: it used more memory than its limit of 4Gi.", "runtime.headResources"),
]


@pytest.mark.parametrize(("node_type", "message", "value"), SERVING_MEMORY)
def test_memory_of_a_serving_pod_is_not_taken_for_trainings(node_type, message, value):
    labels = {"anneal.dev/part": "serve", "anneal.dev/job": "reviews", "ray.io/node-type": node_type}
    ended = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    again = container(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState=ended)
    crashing = pod({"phase": "Running", **again})
    crashing["metadata"]["labels"] = labels
    killed_once = killed_for_memory(None, [crashing])
    assert killed_once is not None
    assert killed_once.message == message
    waits = why_waiting({"kind": "RayService", "metadata": {"name": "reviews"}}, [crashing], [])
    assert waits is not None
    assert waits.hint == killed_once.hint
    assert value in waits.hint
    assert "delete the RayService reviews: a service that stands keeps" in waits.hint
    assert "spec.training" not in waits.hint


@pytest.mark.parametrize(
    ("part", "node_type", "value"),
    [
        (Part.PREPARE, "", "runtime.stepResources"),
        (Part.FINISH, "", "runtime.stepResources"),
        (Part.TRAIN, "head", "runtime.headResources"),
        (Part.TRAIN, "worker", "spec.resources.memory"),
    ],
)
def test_memory_is_raised_where_it_is_set(part, node_type, value):
    found = why_failed(part, JOB, None, [pod(killed("OOMKilled"), node_type=node_type)])
    assert value in found.hint
    assert "RayService" not in found.hint


def test_who_has_filled_a_nodes_disk_is_not_told_of_volumes():
    evicted = pod({**EVICTED, "message": "low on resource: ephemeral-storage."})
    assert "the node's disk" in why_failed(Part.TRAIN, RAY_JOB, None, [evicted]).hint


def test_a_failure_keeps_its_place_and_its_hint():
    from anneal_operator.plan.diagnosis.failed import of_report

    told = PartFailure(reason="DataInvalid", message="No label.", where="a.csv, row 3", hint="Add one.")
    found = of_report(told)
    assert found.message == "a.csv, row 3: No label."
    assert found.hint == "Add one."


def test_whatever_a_pod_says_fits_into_a_status():
    told = PartFailure(reason="DataInvalid", message="x" * 60_000, hint="y" * 60_000)
    from anneal_operator.plan.diagnosis.failed import of_report

    found = of_report(told)
    assert len(found.message) == len(found.hint) == 1024
