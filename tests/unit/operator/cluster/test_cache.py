"""The cache: news counts only if it is newer, and what is gone stays gone."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from anneal_operator.cluster.cache import Cache, JobKey
from anneal_operator.cluster.packed import Packer

JOB_UID = "job-1"


def job(version: int = 1, *, name: str = "reviews", uid: str = JOB_UID, **meta: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": str(version), **meta}
    return {"apiVersion": "anneal.dev/v1alpha1", "kind": "FineTuneJob", "metadata": metadata}


def child(
    version: int = 1, *, kind: str = "ConfigMap", name: str = "cm", uid: str = "c1", owner: str = JOB_UID
) -> dict[str, Any]:
    owners = [{"kind": "FineTuneJob", "name": "reviews", "uid": owner, "controller": True}] if owner else []
    metadata = {
        "name": name,
        "namespace": "ns",
        "uid": uid,
        "resourceVersion": str(version),
        "ownerReferences": owners,
    }
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


def pod(version: int = 1, *, job_uid: str = JOB_UID) -> dict[str, Any]:
    body = child(version, kind="Pod", name="pod", uid="p1", owner="")
    body["metadata"]["labels"] = {"anneal.dev/job-uid": job_uid}
    return body


def test_keeps_the_newest_whatever_the_order() -> None:
    cache = Cache()
    assert cache.put(job(5))
    assert not cache.put(job(5))
    assert not cache.put(job(4))
    assert cache.put(job(12))
    found = cache.job(JobKey("ns", "reviews"))
    assert found is not None
    assert found["metadata"]["resourceVersion"] == "12"


def test_a_late_answer_brings_nothing_back() -> None:
    cache = Cache()
    cache.put(child(3))
    assert cache.remove(child(7))
    assert not cache.put(child(6))
    assert cache.children("ns", JOB_UID) == ()


def test_an_object_that_comes_back_into_the_selection_is_seen_again() -> None:
    cache = Cache()
    cache.put(child(3))
    cache.remove(child(7))  # somebody took our label away
    assert cache.put(child(9))
    assert len(cache.children("ns", JOB_UID)) == 1


def test_an_old_deletion_removes_nothing_newer() -> None:
    cache = Cache()
    cache.put(child(9))
    assert not cache.remove(child(7))
    assert len(cache.children("ns", JOB_UID)) == 1


def test_a_deletion_that_nobody_knew_of_is_no_news_and_still_counts() -> None:
    cache = Cache()
    assert not cache.remove(child(7))
    assert not cache.put(child(6))


def test_a_recreated_object_is_another_one() -> None:
    cache = Cache()
    cache.put(job(1))
    cache.put(child(2))
    cache.put(job(5, uid="job-2"))
    found = cache.job(JobKey("ns", "reviews"))
    assert found is not None
    assert found["metadata"]["uid"] == "job-2"
    assert cache.job_of(child(1)) is None
    assert cache.children("ns", "job-2") == ()
    assert not cache.put(job(3))  # a late message about the old one
    assert len(list(cache.entries("FineTuneJob"))) == 1


def test_knows_the_children_by_their_controller_alone() -> None:
    cache = Cache()
    cache.put(child(1, name="b", uid="c1"))
    cache.put(child(1, name="a", uid="c2"))
    cache.put(child(1, name="foreign", uid="c3", owner="other"))
    cache.put(child(1, name="orphan", uid="c4", owner=""))
    cache.put(pod())
    assert [c["metadata"]["name"] for c in cache.children("ns", JOB_UID)] == ["a", "b"]
    assert [p["metadata"]["name"] for p in cache.pods("ns", JOB_UID)] == ["pod"]


def test_nobody_slips_a_child_or_a_pod_in_from_another_namespace() -> None:
    cache = Cache()
    cache.put(job(1))
    for body in (child(2), pod(3)):
        body["metadata"]["namespace"] = "theirs"
        cache.put(body)
        assert cache.job_of(body) is None
    assert cache.children("ns", JOB_UID) == ()
    assert cache.pods("ns", JOB_UID) == ()
    assert cache.job_of(child(2)) == JobKey("ns", "reviews")


def test_a_child_without_an_owner_is_known_by_its_label() -> None:
    cache = Cache()
    body = child(1, owner="")
    body["metadata"]["labels"] = {"anneal.dev/job-uid": JOB_UID}
    cache.put(body)
    assert len(cache.children("ns", JOB_UID)) == 1
    body = child(2, owner="other")
    body["metadata"]["labels"] = {"anneal.dev/job-uid": JOB_UID}
    cache.put(body)  # the controller counts more
    assert cache.children("ns", JOB_UID) == ()


def test_a_child_that_changes_hands_follows_its_owner() -> None:
    cache = Cache()
    cache.put(child(1))
    cache.put(child(2, owner="other"))
    assert cache.children("ns", JOB_UID) == ()
    assert len(cache.children("ns", "other")) == 1
    cache.put(child(3, owner=""))
    assert cache.children("ns", "other") == ()
    assert cache.named("ConfigMap", "ns", "cm") is not None


def test_drops_what_nobody_reads() -> None:
    cache = Cache()
    body = job(1, managedFields=[{"manager": "kubectl"}])
    body["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "mine": "kept",
    }
    cache.put(body)
    found = cache.job(JobKey("ns", "reviews"))
    assert found is not None
    assert "managedFields" not in found["metadata"]
    assert found["metadata"]["annotations"] == {"mine": "kept"}
    assert "managedFields" in body["metadata"]  # the caller's object is untouched


def test_forgetting_everything_leaves_nothing_behind() -> None:
    cache = Cache()
    cache.put(job(1))
    cache.put(child(2))
    cache.put(pod(3))
    for body in (job(4), child(5), pod(6)):
        cache.remove(body)
    assert not any(list(cache.entries(kind)) for kind in ("FineTuneJob", "ConfigMap", "Pod"))
    assert cache._of_job == {}
    assert cache._by_name == {}


@given(order=st.permutations(range(6)), cut=st.integers(0, 6))
def test_any_order_of_messages_ends_the_same(order: list[int], cut: int) -> None:
    messages: list[tuple[str, dict[str, Any]]] = [
        ("put", child(1)),
        ("put", child(2)),
        ("put", child(3)),
        ("remove", child(4)),
        ("put", child(5, uid="c2")),
        ("put", child(6, uid="c2")),
    ]
    cache = Cache()
    for index in [*order, *order[:cut]]:  # some arrive twice
        what, body = messages[index]
        (cache.put if what == "put" else cache.remove)(body)
    assert [
        (c["metadata"]["uid"], c["metadata"]["resourceVersion"]) for c in cache.children("ns", JOB_UID)
    ] == [("c2", "6")]


def test_keeps_objects_as_they_are_and_gives_each_reader_its_own() -> None:
    cache = Cache()
    spec = {"template": {"containers": [{"name": "ma\u00efn", "cpu": 0.5, "ready": True, "args": None}]}}
    first, second = ({**job(1, name=name, uid=name), "spec": spec} for name in ("one", "two"))
    cache.put(first)
    cache.put(second)
    assert cache.job(JobKey("ns", "one")) == first
    found = cache.job(JobKey("ns", "two"))
    assert found == second
    assert found is not None
    found["spec"]["template"]["containers"].clear()  # type: ignore[index]  # the reader's own
    assert cache.job(JobKey("ns", "two")) == second


def test_a_job_is_counted_by_phase_and_task_without_a_look_into_it() -> None:
    cache = Cache()
    cache.put({**job(1), "spec": {"task": "text-classification"}})
    cache.put({**job(2, name="other", uid="other"), "spec": {}, "status": {"phase": "Training"}})
    counted = {(entry.name, entry.phase, entry.task) for entry in cache.entries("FineTuneJob")}
    assert counted == {("reviews", "", "text-classification"), ("other", "Training", "")}


def test_objects_that_differ_in_little_take_little() -> None:
    packer = Packer()
    spec = {"words": [hashlib.sha256(bytes([number])).hexdigest() for number in range(40)]}
    packer.pack({**job(1), "spec": spec})
    packed = packer.pack({**job(2, name="other", uid="other"), "spec": spec})
    assert len(packed.text) < len(json.dumps(spec)) / 10
    assert packer.unpack(packed)["spec"] == spec
