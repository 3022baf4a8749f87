"""Whatever happens to a job on its way, it comes to the same end, and then nothing moves any more."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from model_cluster import SPEC, ModelCluster
from model_results import content_of

from anneal_operator.settings import Settings

PATIENT = Settings(image="anneal/runtime:1", max_attempts=50, backoff_seconds=1.0, max_backoff_seconds=4.0)

HARMLESS = [
    ("look", 0),
    ("work", 0),
    ("tick", 1),
    ("tick", 20),
    ("strip", 0),
    ("suspend", 0),
    ("resume", 0),
]
FAULTS = [
    ("evict", 0),
    ("silence", 0),
    ("collective", 0),
    ("kuberay away", 0),
    ("kuberay back", 0),
    ("invalid", 0),
    ("valid", 0),
]
STEPS = st.lists(
    st.one_of(
        st.sampled_from(HARMLESS),
        st.sampled_from([("work", 0), ("look", 0)]),
        st.sampled_from(FAULTS),
        st.tuples(st.just("crash"), st.integers(0, 6)),
        st.tuples(st.just("remove"), st.integers(0, 30)),
        st.tuples(st.just("train"), st.integers(1, 3)),
        st.tuples(st.just("serve"), st.integers(1, 3)),
        st.tuples(st.just("size"), st.integers(1, 3)),
    ),
    max_size=40,
)


def _train(cluster: ModelCluster, epochs: int) -> None:
    cluster.edit(training={**cluster.job["spec"]["training"], "epochs": epochs})


def _remove(cluster: ModelCluster, which: int) -> None:
    staying = [k for k, v in sorted(cluster.objects.items()) if "deletionTimestamp" not in v["metadata"]]
    if staying:
        cluster.remove(*staying[which % len(staying)])


HAPPENINGS: dict[str, Callable[[ModelCluster, int], object]] = {
    "look": lambda cluster, _: cluster.look(),
    "crash": lambda cluster, writes: cluster.look(crash_after=writes),
    "work": lambda cluster, _: cluster.work(),
    "tick": lambda cluster, seconds: cluster.tick(seconds),
    "strip": lambda cluster, _: cluster.strip_status(),
    "suspend": lambda cluster, _: cluster.edit(suspend=True),
    "resume": lambda cluster, _: cluster.edit(suspend=None),
    "train": _train,
    "serve": lambda cluster, replicas: cluster.edit(serving={"replicas": {"min": replicas, "max": replicas}}),
    "size": lambda cluster, workers: cluster.edit(resources={"workers": workers}),
    "evict": lambda cluster, _: cluster.kill("Evicted"),
    "collective": lambda cluster, _: cluster.fail("Collective"),
    "silence": lambda cluster, _: cluster.tick(cluster.settings.heartbeat_seconds + 1),
    "kuberay away": lambda cluster, _: setattr(cluster, "kuberay", False),
    "kuberay back": lambda cluster, _: setattr(cluster, "kuberay", True),
    "invalid": lambda cluster, _: cluster.edit(task="nonsense"),
    "valid": lambda cluster, _: cluster.edit(task=SPEC["task"]),
    "remove": _remove,
    # Every second version answers otherwise than it was measured.
    "bad": lambda cluster, odd: cluster.bad_versions.update(range(odd, 100, 2)),
}


def happen(cluster: ModelCluster, what: str, how: int) -> None:
    """Lets one thing happen."""
    HAPPENINGS[what](cluster, how)


def converge(cluster: ModelCluster, rounds: int = 120) -> dict[str, Any]:
    """Ends all faults and lets the job come to its end."""
    cluster.kuberay = True
    cluster.edit(suspend=None, task=SPEC["task"])
    for _ in range(rounds):
        cluster.settle()
        if cluster.status["phase"] in {"Ready", "Succeeded", "Failed"}:
            return cluster.status
        cluster.work()
        cluster.tick(5)
    raise AssertionError(f"no end: {cluster.status}")


@given(STEPS)
@hypothesis_settings(max_examples=60)
@example([("look", 0), ("work", 0), ("strip", 0), ("look", 0)])
@example([("look", 0), ("train", 1), ("look", 0), ("train", 2), ("look", 0), ("work", 0)])
def test_a_job_becomes_ready_whatever_happens_on_its_way(steps):
    cluster = ModelCluster(settings=PATIENT)
    for what, how in steps:
        happen(cluster, what, how)
    status = converge(cluster)
    assert status["phase"] == "Ready", status
    assert cluster.condition("Ready") == ("True", "Serving")
    assert status["observedGeneration"] == cluster.job["metadata"]["generation"]
    assert not cluster.active_parts()
    serving = [v for v in status["versions"] if v["state"] == "Serving"]
    assert [v["traffic"] for v in serving] == [100]
    assert cluster.stored[serving[0]["version"] - 1] == content_of(cluster.job["spec"])
    assert len(cluster.names("RayService")) == len(cluster.names("PodDisruptionBudget")) == 1
    _is_at_rest(cluster)


def _is_at_rest(cluster: ModelCluster) -> None:
    """Nothing is written any more, now and later."""
    for seconds in (0, 1, 60, 86_400):
        cluster.tick(seconds)
        cluster.work()
        cluster.settle()
        writes = cluster.writes
        found = cluster.look()
        assert cluster.writes == writes
        assert found.actions == ()
        assert found.events == ()


@given(STEPS, st.booleans(), st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True))
@hypothesis_settings(max_examples=20)
def test_what_serves_is_never_lost_to_a_version_that_fails(steps, odd, epochs):
    cluster = ModelCluster(settings=PATIENT)
    happen(cluster, "bad", 1 + odd)
    served = False
    for each in epochs:
        for what, how in steps:
            happen(cluster, what, how)
        happen(cluster, "train", each)
        converge(cluster)
        for _ in range(6):
            cluster.work()
            cluster.settle()
        status = cluster.status
        serving = [v["version"] for v in status["versions"] if v["state"] == "Serving"]
        # Where the status is lost and the records as well, nobody knows what served before.
        lossy = {what for what, _ in steps} & {"strip", "remove"}
        assert serving or not served or lossy
        served = bool(serving)
        newest_is_good = status["versions"][-1]["version"] not in cluster.bad_versions
        assert (status["phase"] == "Ready") == newest_is_good, status
        assert status["reason"] == "ParityFailed" if not newest_is_good else served
        if serving:
            assert serving[0] not in cluster.bad_versions
            label = cluster.objects["RayService", "reviews"]["metadata"]["labels"]["anneal.dev/version"]
            assert label == str(serving[0])
            assert status["url"]
    _is_at_rest(cluster)


@given(STEPS, st.sampled_from(["DataInvalid", "ModelNotFound", "GateNotPassed"]))
@hypothesis_settings(max_examples=50)
def test_a_failure_for_good_is_the_end_of_a_generation(steps, reason):
    cluster = ModelCluster(settings=PATIENT)
    for what, how in steps:
        happen(cluster, what, how)
    cluster.kuberay = True
    cluster.edit(suspend=None, task=SPEC["task"], training={"epochs": 9, "batchSize": 32})
    for _ in range(60):
        cluster.settle()
        if cluster.status["phase"] == "Preparing" and cluster.active_parts():
            break
        cluster.work()
        cluster.tick(5)
    cluster.fail(reason)
    cluster.settle()
    assert cluster.status["phase"] == "Failed"
    created = list(cluster.created)
    cluster.go(10)
    assert (cluster.status["phase"], cluster.status["reason"]) == ("Failed", reason)
    assert cluster.condition("Failed") == ("True", reason)
    new = [name for kind, name in cluster.created[len(created) :] if kind in {"Job", "RayJob"}]
    assert [name for name in new if "parity" not in name] == []
    _is_at_rest(cluster)


@given(STEPS, st.integers(0, 30))
@hypothesis_settings(max_examples=50)
def test_a_deleted_job_leaves_nothing_and_is_cleaned_up_after(steps, crash_after):
    cluster = ModelCluster({**SPEC, "retention": {"onDelete": "Delete"}}, settings=PATIENT)
    cluster.look()
    for what, how in steps:
        happen(cluster, what, how)
    # Somebody took every trace of its work away, in the cluster and in the status: it looks as if it had done nothing.
    no_trace = not cluster.objects and not cluster.status
    cluster.delete_job()
    cluster.look(crash_after=crash_after % 4)
    for _ in range(40):
        if cluster.job is None:
            break
        cluster.look()
        cluster.work()
        cluster.tick(5)
    assert cluster.job is None
    assert not cluster.objects
    told = [announcement.reason for plan in cluster.plans for announcement in plan.events]
    # Without any manifest that can be read there is nothing to tell a clean-up where the store is.
    left_behind = told[-1:] == ["ManifestInvalid"] and {"invalid", "remove"} <= {what for what, _ in steps}
    assert ("Job", "reviews-cleanup") in cluster.created or left_behind or no_trace


@pytest.mark.parametrize("lost", [True, False])
def test_the_same_end_as_without_a_crash(lost):
    """The operator is killed before each single write of a job's whole way; objects are made once all the same."""
    reference = ModelCluster()
    reference.go(until="Ready")
    writes = reference.writes
    for k in range(writes):
        cluster = ModelCluster()
        while cluster.status.get("phase") != "Ready":
            left = k - cluster.writes
            if left >= 0 and cluster.look(crash_after=left) is None and lost:
                cluster.strip_status()
            cluster.settle()
            cluster.work()
            cluster.tick(5)
            assert cluster.now < reference.now.replace(hour=13)
        assert cluster.created == reference.created, f"killed at write {k}"
        assert _timeless(cluster.status) == _timeless(reference.status)


def _timeless(status: dict[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(status)
    for condition in result["conditions"]:
        del condition["lastTransitionTime"]
    for version in result["versions"]:
        del version["publishedAt"]
    for part in (result, result["run"]):
        # What a lost status takes along: times, and what was added up over time.
        for name in ("finishedAt", "startedAt", "partStartedAt", "countsFrom", "workerSeconds", "partSeen"):
            part.pop(name, None)
    return result
