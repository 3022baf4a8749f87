"""The operator with its own plan on a real API server with KubeRay's own CRDs; only pods and KubeRay are simulated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cluster.apiserver import ApiServer
from kuberay_simulator import KubeRaySimulator, install_kuberay_crds
from operator_world import Jobs, Life, install_crd, live, run_in_loop, until, writes

from anneal_operator.cluster.kinds import WATCHED
from anneal_operator.plan.plan import plan

pytestmark = pytest.mark.integration


@pytest.fixture
def jobs(apiserver: ApiServer, namespace: str) -> Jobs:
    install_crd(apiserver)
    install_kuberay_crds(apiserver)
    return Jobs(apiserver, namespace)


Scenario = Callable[[Life, KubeRaySimulator], Awaitable[None]]


def run(jobs: Jobs, scenario: Scenario, **simulated: Any) -> None:
    async def main() -> None:
        simulator = KubeRaySimulator(jobs.server, jobs.namespace, **simulated)
        async with simulator.running():
            life = live(jobs.server, (jobs.namespace,), plan=plan)
            await life.ready()
            await scenario(life, simulator)
            assert not life.task.done()
            await life.end()

    run_in_loop(main())


def everything(jobs: Jobs) -> list[str]:
    """Returns kind and name of every object of a watched kind in the namespace, Kubernetes' own left out."""
    own = {"kube-root-ca.crt", "default"}
    found = []
    for kind in WATCHED:
        status, answer = jobs.server.request("GET", kind.path(jobs.namespace))
        assert status == 200, answer
        found += [f"{kind.kind}/{item['metadata']['name']}" for item in answer["items"]]
    return sorted(name for name in found if name.partition("/")[2] not in own)


async def phase(jobs: Jobs, wanted: str, generation: int = 1) -> dict[str, Any]:
    def reached() -> bool:
        status = jobs.status()
        return (status.get("phase"), status.get("observedGeneration")) == (wanted, generation)

    try:
        await until(reached, seconds=60)
    except AssertionError:
        raise AssertionError(f"never {wanted}: {jobs.status()}\n{everything(jobs)}") from None
    return jobs.status()


def test_from_a_manifest_to_a_served_model_and_away_without_leftovers(jobs: Jobs) -> None:
    async def scenario(life: Life, _: KubeRaySimulator) -> None:
        await asyncio.to_thread(jobs.create)
        wait = ("-n", jobs.namespace, "wait", "--for=condition=Ready", "--timeout=60s", "finetunejob/reviews")
        said = await asyncio.to_thread(jobs.server.kubectl, *wait)
        assert "condition met" in said
        status = jobs.status()
        assert (status["servedVersion"], status["phase"], status["attempt"]) == ("v1", "Ready", 1)
        assert status["url"]
        shown = await asyncio.to_thread(jobs.server.kubectl, "-n", jobs.namespace, "get", "ftj", "reviews")
        assert "Ready" in shown
        assert "v1" in shown
        metrics = life.metrics.text().decode()
        assert 'phase="Ready",task="text-classification"} 1.0' in metrics
        assert 'result="bug"' not in metrics

        await asyncio.to_thread(jobs.delete)
        await until(lambda: jobs.get() is None)
        await until(lambda: everything(jobs) == [])
        await until(lambda: not any(list(life.manager._cache.entries(kind.kind)) for kind in WATCHED))

    run(jobs, scenario)


def test_once_ready_nothing_is_written_until_something_changes(jobs: Jobs) -> None:
    async def scenario(life: Life, _: KubeRaySimulator) -> None:
        await asyncio.to_thread(jobs.create)
        await phase(jobs, "Ready")
        await asyncio.sleep(2)
        before = await asyncio.to_thread(writes, jobs.server, jobs.namespace)
        await asyncio.to_thread(jobs.edit, {"metadata": {"labels": {"team": "nlp"}}})
        await asyncio.sleep(2)
        assert await asyncio.to_thread(writes, jobs.server, jobs.namespace) == before
        await life.end()
        again = live(jobs.server, (jobs.namespace,), plan=plan)
        await again.ready()
        await asyncio.sleep(2)
        assert await asyncio.to_thread(writes, jobs.server, jobs.namespace) == before
        await again.end()

    async def main() -> None:
        simulator = KubeRaySimulator(jobs.server, jobs.namespace)
        async with simulator.running():
            life = live(jobs.server, (jobs.namespace,), plan=plan)
            await life.ready()
            await scenario(life, simulator)

    run_in_loop(main())


def test_an_edit_makes_a_second_version(jobs: Jobs) -> None:
    async def scenario(_: Life, simulator: KubeRaySimulator) -> None:
        await asyncio.to_thread(jobs.create)
        await phase(jobs, "Ready")
        await asyncio.to_thread(jobs.edit, {"spec": {"training": {"epochs": 5}}})
        status = await phase(jobs, "Ready", generation=2)
        assert status["servedVersion"] == "v2"
        assert [each for each in simulator.played if each.endswith("-parity")] == [
            "reviews-v1-parity",
            "reviews-v2-parity",
        ]

    run(jobs, scenario)


def test_a_lost_worker_costs_an_attempt_and_no_more(jobs: Jobs) -> None:
    def first_training_fails(labels: Any) -> str | None:
        first = labels["anneal.dev/attempt"] == "1"
        return "Collective" if first and labels["anneal.dev/part"] == "train" else None

    async def scenario(life: Life, simulator: KubeRaySimulator) -> None:
        del life
        await asyncio.to_thread(jobs.create)
        status = await phase(jobs, "Ready")
        assert status["attempt"] == 2
        assert [failed["reason"] for failed in status["failures"]] == ["Collective"]
        assert "reviews-g1-a2" in simulator.played
        assert "reviews-g1-a2-prepare" not in simulator.played
        events = [event["reason"] for event in jobs.events()]
        assert "Collective" in events or "Retrying" in events

    run(jobs, scenario, fails=first_training_fails)


def test_a_quota_is_told_and_once_it_is_lifted_the_job_goes_on(jobs: Jobs) -> None:
    hard = {"count/jobs.batch": "0"}
    merge = "application/merge-patch+json"
    assert jobs.at("resourcequotas", "POST", {"metadata": {"name": "q"}, "spec": {"hard": hard}})[0] == 201
    # Kubernetes' quota controller does not run here; the admission that enforces quotas does.
    jobs.at("resourcequotas/q/status", "PATCH", {"status": {"hard": hard, "used": hard}}, media_type=merge)

    async def scenario(_: Life, __: KubeRaySimulator) -> None:
        await asyncio.to_thread(jobs.create)
        await until(lambda: jobs.status().get("reason") == "QuotaExceeded")
        status = jobs.status()
        assert "reviews-g1-a1-prepare" in status["message"]
        assert "ResourceQuota" in status["hint"]
        progressing = next(c for c in status["conditions"] if c["type"] == "Progressing")
        assert (progressing["status"], progressing["reason"]) == ("True", "QuotaExceeded")
        await asyncio.to_thread(jobs.at, "resourcequotas/q", "DELETE")
        status = await phase(jobs, "Ready")
        assert status["attempt"] == 1
        assert "reason" not in status

    run(jobs, scenario)


def test_no_pod_runs_under_an_account_that_is_somebody_elses(jobs: Jobs) -> None:
    assert jobs.at("serviceaccounts", "POST", {"metadata": {"name": "reviews-reporter"}})[0] == 201

    async def scenario(_: Life, __: KubeRaySimulator) -> None:
        await asyncio.to_thread(jobs.create)
        await until(lambda: jobs.status().get("reason") == "NameConflict")
        assert "ServiceAccount named reviews-reporter" in jobs.status()["message"]
        assert not [each for each in everything(jobs) if each.startswith(("Role", "Job", "Pod"))]
        await asyncio.to_thread(jobs.at, "serviceaccounts/reviews-reporter", "DELETE")
        await phase(jobs, "Ready")

    run(jobs, scenario)


def test_a_service_that_is_somebody_elses_is_not_overwritten(jobs: Jobs) -> None:
    theirs = {
        "metadata": {"name": "reviews"},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "theirs"}},
    }
    status, service = jobs.at("services", "POST", theirs)
    assert status == 201, service

    async def scenario(_: Life, __: KubeRaySimulator) -> None:
        await asyncio.to_thread(jobs.create)
        await until(lambda: jobs.status().get("reason") == "NameConflict")
        assert "Service named reviews" in jobs.status()["message"]
        assert jobs.status()["phase"] == "Deploying"
        assert "RayService/reviews" not in everything(jobs)
        assert (await asyncio.to_thread(jobs.at, "services/reviews"))[1] == service
        await asyncio.to_thread(jobs.at, "services/reviews", "DELETE")
        await phase(jobs, "Ready")
        assert "RayService/reviews" in everything(jobs)

    run(jobs, scenario)


def test_a_service_that_kuberay_made_for_the_model_is_no_conflict(jobs: Jobs) -> None:
    owner = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "name": "reviews",
        "uid": "00000000-0000-0000-0000-000000000000",
        "controller": True,
    }
    # Kubernetes collects it soon: its owner is gone.
    body = {"metadata": {"name": "reviews", "ownerReferences": [owner]}, "spec": {"ports": [{"port": 80}]}}
    body["metadata"]["finalizers"] = ["test.anneal.dev/hold"]  # type: ignore[index]
    assert jobs.at("services", "POST", body)[0] == 201

    async def scenario(_: Life, __: KubeRaySimulator) -> None:
        await asyncio.to_thread(jobs.create)
        await phase(jobs, "Ready")

    try:
        run(jobs, scenario)
    finally:
        free = {"metadata": {"finalizers": None}}
        jobs.at("services/reviews", "PATCH", free, media_type="application/merge-patch+json")


@pytest.mark.parametrize("part", ["prepare", "train", "finish"])
def test_deleted_in_the_middle_of_a_part_nothing_stays(jobs: Jobs, part: str) -> None:
    runs = {
        "prepare": "Job/reviews-g1-a1-prepare",
        "train": "RayJob/reviews-g1-a1",
        "finish": "Job/reviews-g1-a1-finish",
    }

    async def scenario(_: Life, simulator: KubeRaySimulator) -> None:
        simulator.held[part] = asyncio.Event()
        await asyncio.to_thread(jobs.create)
        await until(lambda: runs[part] in everything(jobs))
        await asyncio.to_thread(jobs.delete)
        await until(lambda: jobs.get() is None)
        simulator.held[part].set()
        await until(lambda: everything(jobs) == [])

    run(jobs, scenario)
