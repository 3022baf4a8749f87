"""The reconcile loop with a tiny plan on real objects: what it writes, what it leaves alone, what it survives."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cluster.apiserver import ApiServer
from operator_world import Jobs, Parts, install_crd, operator_parts, run_in_loop, until, wait_until, writes
from tiny_plan import HOLD, job_of, tiny_plan

from anneal_api.status import FineTuneJobStatus, Phase, StatusReason
from anneal_operator.cluster.cache import JobKey
from anneal_operator.cluster.kinds import CONFIG_MAP, FINE_TUNE_JOB, JOB
from anneal_operator.controller.reconcile import Result
from anneal_operator.plan.actions import Create, Event, Plan
from anneal_operator.plan.observed import Observed
from anneal_operator.resources.names import FINALIZER

pytestmark = pytest.mark.integration

MERGE = "application/merge-patch+json"
CHILDREN = {"ConfigMap/reviews-g1", "Job/reviews-g1-a1-prepare"}


@pytest.fixture
def jobs(apiserver: ApiServer, namespace: str) -> Jobs:
    install_crd(apiserver)
    return Jobs(apiserver, namespace)


def run(jobs: Jobs, scenario: Callable[[Parts], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with operator_parts(jobs.server, jobs.namespace, **options) as parts:
            await scenario(parts)

    run_in_loop(main())


async def bring_to_rest(parts: Parts) -> None:
    await parts.rest()


def test_records_first_then_creates_and_comes_to_rest(jobs: Jobs) -> None:
    jobs.create()
    run(jobs, bring_to_rest)
    assert set(jobs.children()) == CHILDREN
    status = jobs.status()
    assert (status["phase"], status["run"]["attempt"], status["observedGeneration"]) == ("Preparing", 1, 1)
    done = [(verb, resource) for verb, resource, _ in writes(jobs.server, jobs.namespace)]
    assert done == [
        ("patch", "finetunejobs/status"),
        ("patch", "configmaps"),
        ("create", "jobs"),
        ("create", "events"),
    ]


def test_looking_again_or_starting_again_writes_nothing(jobs: Jobs) -> None:
    jobs.create()
    run(jobs, bring_to_rest)
    before = len(writes(jobs.server, jobs.namespace))

    async def look_often(parts: Parts) -> None:
        assert [await parts.look() for _ in range(5)] == [Result.STEADY] * 5

    run(jobs, look_often)
    assert len(writes(jobs.server, jobs.namespace)) == before


def test_an_edit_is_taken_up_and_what_was_before_goes(jobs: Jobs) -> None:
    jobs.create()

    async def scenario(parts: Parts) -> None:
        await parts.rest()
        parts.hear(jobs.edit({"spec": {"training": {"epochs": 2}}}))
        await parts.rest()

    run(jobs, scenario)
    wait_until(lambda: set(jobs.children()) == {"ConfigMap/reviews-g2", "Job/reviews-g2-a1-prepare"})
    assert jobs.status()["observedGeneration"] == 2


def test_what_the_plan_wants_confirmed_is_looked_at_live(jobs: Jobs) -> None:
    """An event got lost: what the cache shows is old, or is not there any more."""
    jobs.create()
    board, workload = ("ConfigMap", "reviews-g1"), ("Job", "reviews-g1-a1-prepare")
    seen: list[tuple[str, bool]] = []

    def suspicious(observed: Observed) -> Plan:
        if observed.children and not observed.confirmed:
            return Plan(None, confirm=(board, workload))
        found = observed.child(*board)
        seen.append(((found or {}).get("data", {}).get("told", ""), observed.child(*workload) is not None))
        return tiny_plan(observed)

    async def scenario(parts: Parts) -> None:
        await parts.rest()
        code, answer = jobs.at(
            f"configmaps/{board[1]}", "PATCH", {"data": {"told": "news"}}, media_type=MERGE
        )
        assert code == 200, answer
        code, answer = jobs.at(f"batch/v1/jobs/{workload[1]}?propagationPolicy=Background", "DELETE")
        assert code == 200, answer
        await parts.look()

    run(jobs, scenario, plan=suspicious)
    assert seen[-1] == ("news", False)
    assert set(jobs.children()) == CHILDREN, "what is gone was made anew"


class Killed(BaseException):
    """Ends everything at once, as SIGKILL does: nobody catches it."""


def kill_at(parts: Parts, write: int, *, committed: bool) -> None:
    """Kills the operator at a write: before it reaches the server, or after it is done and before the answer."""
    count = 0
    carried_out = parts.client._try

    async def call(verb: str, path: str, **rest: Any) -> dict[str, Any]:
        nonlocal count
        if rest["body"] is None:
            return await carried_out(verb, path, **rest)
        count += 1
        if count == write and not committed:
            raise Killed
        answer = await carried_out(verb, path, **rest)
        if count == write:
            raise Killed
        return answer

    parts.client._try = call  # type: ignore[method-assign]


@pytest.mark.parametrize("committed", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", range(1, 9))
def test_killed_at_any_write_the_next_one_finishes_the_work_and_does_nothing_twice(
    jobs: Jobs, write: int, committed: bool
) -> None:
    jobs.create(annotations={HOLD: "yes"})
    killed = False

    async def until_killed(parts: Parts) -> None:
        kill_at(parts, write, committed=committed)
        await parts.rest()
        parts.hear(jobs.edit({"spec": {"training": {"epochs": 2}}}))
        await parts.rest()

    async def afterwards(parts: Parts) -> None:
        await parts.rest()
        if jobs.get()["metadata"]["generation"] == 1:  # type: ignore[index]
            parts.hear(jobs.edit({"spec": {"training": {"epochs": 2}}}))
            await parts.rest()

    try:
        run(jobs, until_killed)
    except Killed:
        killed = True
    assert killed or write > 7
    run(jobs, afterwards)
    wait_until(lambda: set(jobs.children()) == {"ConfigMap/reviews-g2", "Job/reviews-g2-a1-prepare"})
    status = jobs.status()
    assert (status["observedGeneration"], status["run"]["generation"]) == (2, 2)
    succeeded = [
        event["objectRef"]["name"]
        for event in jobs.server.audited_writes()
        if event["verb"] == "create"
        and event["objectRef"].get("namespace") == jobs.namespace
        and event["objectRef"]["resource"] == "jobs"
        and event["responseStatus"]["code"] == 201
    ]
    assert sorted(succeeded) == ["reviews-g1-a1-prepare", "reviews-g2-a1-prepare"]


def test_adopts_what_an_earlier_operator_made_and_nobody_told_of(jobs: Jobs) -> None:
    jobs.create()
    run(jobs, bring_to_rest)
    made = jobs.children()

    async def blind(parts: Parts) -> None:
        # The watch has shown the job as it was at first, and nothing else.
        job = dict(jobs.get() or {})
        parts.hear(job)
        assert await parts.look() is Result.STEADY

    run(jobs, blind, fill=False)
    assert jobs.children() == made


def test_touches_nothing_of_others_says_so_and_goes_on_when_the_name_is_free(jobs: Jobs) -> None:
    jobs.create()
    theirs = {"metadata": {"name": "reviews-g1"}, "data": {"theirs": "kept"}}
    foreign = jobs.at("configmaps", "POST", theirs)[1]
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}
    body = {"metadata": {"name": "reviews-g1-a1-prepare"}, "spec": {"template": {"spec": pod}}}
    foreign_job = jobs.at("batch/v1/jobs", "POST", body)[1]

    async def scenario(parts: Parts) -> None:
        await parts.rest()
        assert jobs.status()["reason"] == StatusReason.NAME_CONFLICT
        assert jobs.status()["message"] == "taken: ConfigMap/reviews-g1, Job/reviews-g1-a1-prepare"
        assert jobs.at("configmaps/reviews-g1")[1] == foreign
        found = jobs.at("batch/v1/jobs/reviews-g1-a1-prepare")[1]
        assert found["metadata"]["resourceVersion"] == foreign_job["metadata"]["resourceVersion"]
        assert parts.queue.delayed == 1  # nobody tells when the name gets free
        jobs.at("configmaps/reviews-g1", "DELETE")
        jobs.at("batch/v1/jobs/reviews-g1-a1-prepare", "DELETE", {"propagationPolicy": "Background"})
        await parts.rest()
        assert jobs.status()["reason"] == StatusReason.RUNNING

    run(jobs, scenario)
    assert set(jobs.children()) == CHILDREN


def test_waits_for_what_an_earlier_job_of_the_name_left(jobs: Jobs) -> None:
    first = jobs.create()
    run(jobs, bring_to_rest)
    hold = {"metadata": {"finalizers": ["test.anneal.dev/hold"]}}
    jobs.at("configmaps/reviews-g1", "PATCH", hold, media_type=MERGE)
    jobs.delete()
    wait_until(lambda: jobs.get() is None)
    second = jobs.create()
    assert second["metadata"]["uid"] != first["metadata"]["uid"]

    async def scenario(parts: Parts) -> None:
        assert await parts.look() is Result.LEFTOVER
        assert jobs.status() == {}
        jobs.at("configmaps/reviews-g1", "PATCH", {"metadata": {"finalizers": None}}, media_type=MERGE)

        async def steady() -> bool:
            return await parts.look() is Result.STEADY

        await until(steady)

    run(jobs, scenario)
    owners = {c["metadata"]["ownerReferences"][0]["uid"] for c in jobs.children().values()}
    assert set(jobs.children()) == CHILDREN
    assert owners == {second["metadata"]["uid"]}


@pytest.mark.parametrize("held", ["configmaps/reviews-g1", "batch/v1/jobs/reviews-g1-a1-prepare"])
def test_tells_of_a_leftover_that_stays_and_goes_on_when_it_is_gone(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    from anneal_operator.controller import job_view

    jobs.create()
    run(jobs, bring_to_rest)
    hold = {"metadata": {"finalizers": ["test.anneal.dev/hold"]}}
    assert jobs.at(held, "PATCH", hold, media_type=MERGE)[0] == 200
    jobs.delete()
    wait_until(lambda: len(jobs.children()) == 1)  # all else is collected
    jobs.create()
    monkeypatch.setattr(job_view, "_LEFTOVER_PATIENCE_SECONDS", 0.5)

    def plan(observed: Observed) -> Plan:
        # Without the attempt on record only making the Job shows that one is there.
        made = tiny_plan(observed)
        assert made.status is not None
        return Plan(made.status.model_copy(update={"run": None}), made.actions)

    async def scenario(parts: Parts) -> None:
        assert await parts.look() is Result.LEFTOVER
        assert jobs.status().get("reason") != StatusReason.NAME_CONFLICT

        async def told() -> bool:
            await parts.look()
            return jobs.status().get("reason") == StatusReason.NAME_CONFLICT

        await until(told, seconds=10)
        parts.hear(jobs.edit({"metadata": {"labels": {"touched": "yes"}}}))
        monkeypatch.setattr(job_view, "_LEFTOVER_PATIENCE_SECONDS", 60.0)
        for _ in range(3):
            assert await parts.look() is Result.STEADY  # it is not waited for again
        jobs.at(held, "PATCH", {"metadata": {"finalizers": None}}, media_type=MERGE)

        async def runs() -> bool:
            await parts.look()
            return jobs.status().get("reason") == StatusReason.RUNNING

        await until(runs)
        await parts.rest()

    run(jobs, scenario, plan=plan)
    assert set(jobs.children()) == CHILDREN


def test_a_plan_of_an_old_version_is_not_written(jobs: Jobs) -> None:
    jobs.create()

    async def scenario(parts: Parts) -> None:
        await parts.rest()
        jobs.edit({"metadata": {"labels": {"touched": "yes"}}})  # its event is still on the way
        old = parts.reconciler._plan
        parts.reconciler._plan = lambda observed: _with_message(old(observed), "thought out for the old one")
        assert await parts.look() is Result.CONFLICT
        assert jobs.status()["message"] == "runs"
        assert await parts.look() is Result.CHANGED  # it has read the new version by itself
        assert jobs.status()["message"] == "thought out for the old one"

    run(jobs, scenario)


def _with_message(plan: Plan, message: str) -> Plan:
    assert plan.status is not None
    return Plan(plan.status.model_copy(update={"message": message}), plan.actions)


def test_gives_children_their_labels_and_owner_back(jobs: Jobs) -> None:
    job = jobs.create()

    async def scenario(parts: Parts) -> None:
        await parts.rest()
        strip = {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}, "ownerReferences": None}}
        status, stripped = jobs.at("batch/v1/jobs/reviews-g1-a1-prepare", "PATCH", strip, media_type=MERGE)
        assert status == 200
        parts.cache.remove(stripped)  # it left the watch's selection
        await parts.rest()

    run(jobs, scenario)
    meta = jobs.children()["Job/reviews-g1-a1-prepare"]["metadata"]
    assert meta["labels"]["app.kubernetes.io/managed-by"] == "anneal-operator"
    assert [owner["uid"] for owner in meta["ownerReferences"]] == [job["metadata"]["uid"]]


def test_a_refusal_shows_in_the_status_until_it_is_over(jobs: Jobs) -> None:
    hard = {"count/jobs.batch": "0"}
    assert jobs.at("resourcequotas", "POST", {"metadata": {"name": "q"}, "spec": {"hard": hard}})[0] == 201
    used = {"status": {"hard": hard, "used": hard}}
    jobs.at("resourcequotas/q/status", "PATCH", used, media_type=MERGE)
    jobs.create()

    async def scenario(parts: Parts) -> None:
        assert await parts.look() is Result.REFUSED
        assert parts.queue.depth == 1  # at once: the status does not tell of it yet
        assert await parts.look() is Result.REFUSED
        status = jobs.status()
        assert status["reason"] == "QuotaExceeded"
        assert "count/jobs.batch" in status["message"]
        assert "ResourceQuota" in status["hint"]
        assert status["conditions"][0]["reason"] == "QuotaExceeded"
        before = len(writes(jobs.server, jobs.namespace))
        assert await parts.look() is Result.REFUSED
        tries = writes(jobs.server, jobs.namespace)[before:]
        assert [(verb, resource) for verb, resource, _ in tries] == [
            ("create", "jobs")
        ]  # and no status flaps
        jobs.at("resourcequotas/q", "DELETE")
        for _ in range(50):
            if await parts.look() is Result.STEADY:
                break
            await asyncio.sleep(0.1)
        assert jobs.status()["reason"] == "Running"
        assert jobs.status()["hint"] == ""

    run(jobs, scenario)
    assert set(jobs.children()) == CHILDREN


def test_an_object_that_the_server_will_never_take_is_rejected_and_harms_no_other_job(jobs: Jobs) -> None:
    jobs.create("poison")
    jobs.create("good")

    def plan(observed: Observed) -> Plan:
        made = tiny_plan(observed)
        if observed.name != "poison":
            return made
        broken = [Create({**a.body, "spec": {}}) if isinstance(a, Create) else a for a in made.actions]
        return Plan(made.status, tuple(broken), made.events)

    async def scenario(parts: Parts) -> None:
        for _ in range(3):
            assert await parts.look("poison") is Result.REFUSED
        assert jobs.status("poison")["reason"] == "Rejected"
        assert "template" in jobs.status("poison")["message"]
        await parts.rest("good")

    run(jobs, scenario, plan=plan)
    assert jobs.status("good")["reason"] == "Running"


def test_a_refusal_whose_words_vary_is_tried_again_later(jobs: Jobs) -> None:
    jobs.create()
    looks = itertools.count(1)

    def plan(observed: Observed) -> Plan:
        made, count = tiny_plan(observed), next(looks)
        broken = [
            Create({**a.body, "spec": {**a.body["spec"], "backoffLimit": -count}})
            if isinstance(a, Create)
            else a
            for a in made.actions
        ]
        return Plan(made.status, tuple(broken), made.events)

    async def scenario(parts: Parts) -> None:
        assert await parts.look() is Result.REFUSED
        assert parts.queue.depth == 1  # at once: the status does not tell of it yet
        said = set()
        for failures in (1, 2, 3):
            assert await parts.look() is Result.REFUSED
            assert (parts.queue.depth, parts.queue.delayed) == (0, 1)
            assert parts.queue.failures(JobKey(jobs.namespace, "reviews")) == failures
            said.add(jobs.status()["message"])
        assert len(said) == 3

    run(jobs, scenario, plan=plan)


def test_a_webhook_that_stays_down_shows_in_the_status_until_it_answers(jobs: Jobs) -> None:
    name = f"down-{jobs.namespace}"
    hooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    webhook = {
        "name": "down.test.anneal.dev",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [
            {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
        ],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": jobs.namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    body = {"metadata": {"name": name}, "webhooks": [webhook]}
    assert jobs.server.request("POST", hooks, body)[0] == 201
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}
    probe = {"metadata": {"name": "probe"}, "spec": {"template": {"spec": pod}}}
    wait_until(lambda: jobs.at("batch/v1/jobs?dryRun=All", "POST", probe)[0] == 500)
    jobs.create()

    async def scenario(parts: Parts) -> None:
        parts.client._tries = 1
        for _ in range(3):
            assert await parts.look() is Result.ERROR
        assert await parts.look() is Result.REFUSED
        assert await parts.look() is Result.REFUSED
        assert jobs.status()["reason"] == "Rejected"
        assert "down.test.anneal.dev" in jobs.status()["message"]
        assert "webhook" in jobs.status()["hint"]
        jobs.server.request("DELETE", f"{hooks}/{name}")
        wait_until(lambda: jobs.at("batch/v1/jobs?dryRun=All", "POST", probe)[0] == 201)
        await parts.rest()
        assert jobs.status()["reason"] == "Running"

    try:
        run(jobs, scenario)
    finally:
        jobs.server.request("DELETE", f"{hooks}/{name}")
    assert set(jobs.children()) == CHILDREN


def test_a_bug_in_the_plan_of_one_job_is_logged_and_stays_there(
    jobs: Jobs, caplog: pytest.LogCaptureFixture
) -> None:
    jobs.create("poison")
    jobs.create("good")

    def plan(observed: Observed) -> Plan:
        if observed.name == "poison":
            raise ValueError("no such thing")
        return tiny_plan(observed)

    async def scenario(parts: Parts) -> None:
        assert await parts.look("poison") is Result.BUG
        assert parts.queue.failures is not None
        await parts.rest("good")
        assert parts.retried == ["bug"]

    run(jobs, scenario, plan=plan)
    assert "no such thing" in caplog.text


def test_a_status_that_breaks_the_schema_is_a_bug_and_nothing_is_done_unrecorded(jobs: Jobs) -> None:
    jobs.create()

    def plan(observed: Observed) -> Plan:
        made = tiny_plan(observed)
        assert made.status is not None
        broken = made.status.model_copy(update={"phase": "Nonsense"})
        return Plan(broken, made.actions)

    async def scenario(parts: Parts) -> None:
        assert await parts.look() is Result.BUG

    run(jobs, scenario, plan=plan)
    assert jobs.children() == {}


def test_holds_a_deletion_with_its_finalizer_and_lets_go(jobs: Jobs) -> None:
    jobs.create(annotations={HOLD: "yes"}, finalizers=["test.anneal.dev/other"])

    async def scenario(parts: Parts) -> None:
        await parts.rest()
        found = jobs.get()
        assert found is not None
        assert found["metadata"]["finalizers"] == ["test.anneal.dev/other", "anneal.dev/store-cleanup"]
        jobs.delete()
        going = jobs.get()
        assert going is not None
        parts.hear(going)
        await parts.rest()
        found = jobs.get()
        assert found is not None
        assert found["metadata"]["finalizers"] == ["test.anneal.dev/other"]
        jobs.edit({"metadata": {"finalizers": None}})
        wait_until(lambda: jobs.get() is None)

    run(jobs, scenario)
    wait_until(lambda: jobs.children() == {})


def test_a_job_that_is_gone_is_forgotten(jobs: Jobs) -> None:
    jobs.create()

    async def scenario(parts: Parts) -> None:
        seen = parts.cache.named(FINE_TUNE_JOB.kind, jobs.namespace, "reviews")
        assert seen is not None
        jobs.delete()
        assert await parts.look() is Result.CONFLICT  # its deletion is not yet known
        assert await parts.look() is Result.GONE
        assert parts.reconciler._states == {}

    run(jobs, scenario)
    assert jobs.children() == {}


def test_events_are_posted_once_and_repetitions_counted(jobs: Jobs) -> None:
    jobs.create()

    def plan(_: Observed) -> Plan:
        again = Event(True, StatusReason.IMAGE_PULL, "the image cannot be pulled " + "x" * 2000)
        status = FineTuneJobStatus(phase=Phase.PENDING)
        return Plan(status, events=(again,))

    async def scenario(parts: Parts) -> None:
        for _ in range(3):
            await parts.look()

    run(jobs, scenario, plan=plan)
    (event,) = jobs.events()
    assert (event["type"], event["reason"]) == ("Warning", "ImagePull")
    assert event["regarding"]["name"] == "reviews"
    assert event["series"]["count"] == 3
    assert len(event["note"]) == 1024
    described = jobs.server.kubectl("-n", jobs.namespace, "describe", "finetunejob", "reviews")
    assert "ImagePull" in described


def test_a_namespace_that_is_going_is_no_error(
    apiserver: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    install_crd(apiserver)
    name = "going-with-a-job"
    apiserver.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    jobs = Jobs(apiserver, name)
    jobs.create(finalizers=["test.anneal.dev/hold"])

    async def scenario(parts: Parts) -> None:
        # The operator still knows the job as it was before its namespace was deleted.
        apiserver.request("DELETE", f"/api/v1/namespaces/{name}")
        wait_until(lambda: "deletionTimestamp" in (jobs.get() or {})["metadata"])
        now = jobs.get()
        assert now is not None
        parts.hear(
            {**now, "metadata": {k: v for k, v in now["metadata"].items() if k != "deletionTimestamp"}}
        )
        assert await parts.look() is Result.TERMINATING
        assert parts.queue.delayed == 1

    run(jobs, scenario)
    jobs.edit({"metadata": {"finalizers": None}})
    assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []


def test_a_clean_up_that_cannot_start_does_not_hold_the_namespace(
    apiserver: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    install_crd(apiserver)
    name = "going-with-a-clean-up"
    apiserver.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    jobs = Jobs(apiserver, name)
    jobs.create(annotations={HOLD: "yes"})

    def plan(observed: Observed) -> Plan:
        if not observed.deleting or FINALIZER not in observed.job["metadata"].get("finalizers", ()):
            return tiny_plan(observed)
        return Plan(None, (Create(job_of(observed, 1, "reviews-cleanup")),), requeue_after=5.0)

    async def scenario(parts: Parts) -> None:
        await parts.rest()
        apiserver.request("DELETE", f"/api/v1/namespaces/{name}")
        wait_until(lambda: "deletionTimestamp" in (jobs.get() or {})["metadata"])
        parts.hear(jobs.get() or {})
        assert await parts.look() is not Result.TERMINATING
        wait_until(lambda: apiserver.request("GET", f"/api/v1/namespaces/{name}")[0] == 404)

    run(jobs, scenario, plan=plan)
    assert "stays there" in caplog.text


def test_events_of_waiting_children_reach_the_plan(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    from anneal_operator.controller import job_view

    monkeypatch.setattr(job_view, "_PATIENCE_SECONDS", 0.0)
    jobs.create()
    warning = {
        "metadata": {"name": "w", "namespace": jobs.namespace},
        "involvedObject": {"kind": "Job", "name": "reviews-g1-a1-prepare", "namespace": jobs.namespace},
        "type": "Warning",
        "reason": "FailedCreate",
        "message": "exceeded quota: cpu",
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    assert jobs.at("events", "POST", warning)[0] == 201

    async def scenario(parts: Parts) -> None:
        await parts.rest()
        assert jobs.status()["message"] == "exceeded quota: cpu"
        assert parts.queue.delayed == 1  # Events are not watched, so it looks again by itself
        jobs.complete("reviews-g1-a1-prepare")
        parts.hear(jobs.children()["Job/reviews-g1-a1-prepare"])
        await parts.rest()
        assert jobs.status()["phase"] == "Succeeded"

    run(jobs, scenario)


def test_an_absence_is_looked_at_live_before_it_counts(jobs: Jobs) -> None:
    jobs.create()
    run(jobs, bring_to_rest)
    seen: list[bool] = []

    def plan(observed: Observed) -> Plan:
        seen.append(observed.child("Job", "reviews-g1-a1-prepare") is not None)
        return tiny_plan(observed)

    async def scenario(parts: Parts) -> None:
        lost = parts.cache.named(JOB.kind, jobs.namespace, "reviews-g1-a1-prepare")
        assert lost is not None
        parts.cache._forget(JOB.kind, lost["metadata"]["uid"])  # its event never came
        await parts.look()
        assert seen == [True]
        also = parts.cache.named(CONFIG_MAP.kind, jobs.namespace, "reviews-g1")
        assert also is not None
        parts.cache._forget(CONFIG_MAP.kind, also["metadata"]["uid"])
        before = len(writes(jobs.server, jobs.namespace))
        await parts.look()
        assert len(writes(jobs.server, jobs.namespace)) == before

    run(jobs, scenario, plan=plan)
