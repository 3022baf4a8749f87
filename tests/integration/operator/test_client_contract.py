"""The client against a real API server: what each verb promises, and what each refusal becomes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cluster.apiserver import ApiServer, api_server
from operator_world import Jobs, credentials_of, install_crd, run_in_loop

from anneal_operator.cluster import client as client_module
from anneal_operator.cluster.client import Client
from anneal_operator.cluster.credentials import Credentials, Token
from anneal_operator.cluster.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Invalid,
    NamespaceTerminating,
    NotFound,
    QuotaExceeded,
    Unauthorized,
    Unavailable,
)
from anneal_operator.cluster.kinds import CONFIG_MAP, EVENT, FINE_TUNE_JOB, JOB, Kind

pytestmark = pytest.mark.integration

UNKNOWN = Kind("Unknown", "unknown.anneal.dev", "v1", "unknowns")
Scenario = Callable[[Client], Awaitable[None]]


@pytest.fixture
def jobs(apiserver: ApiServer, namespace: str) -> Jobs:
    install_crd(apiserver)
    return Jobs(apiserver, namespace)


def run(
    server: ApiServer, scenario: Scenario, *, credentials: Credentials | None = None, **options: Any
) -> None:
    async def main() -> None:
        client = Client(credentials or credentials_of(server), **options)
        try:
            await scenario(client)
        finally:
            await client.close()

    run_in_loop(main())


def config_map(namespace: str, name: str = "a", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {"ours": "yes"}},
        "data": data,
    }


def test_apply_makes_it_so_whoever_held_the_field_and_leaves_others_fields_alone(
    apiserver: ApiServer, jobs: Jobs
) -> None:
    async def scenario(client: Client) -> None:
        await client.apply(CONFIG_MAP, config_map(jobs.namespace, mine="1", old="1"))
        theirs = {"data": {"mine": "stolen", "theirs": "kept"}, "metadata": {"labels": {"theirs": "kept"}}}
        await asyncio.to_thread(
            jobs.at, "configmaps/a", "PATCH", theirs, media_type="application/merge-patch+json"
        )
        now = await client.apply(CONFIG_MAP, config_map(jobs.namespace, mine="2"))
        assert now["data"] == {"mine": "2", "theirs": "kept"}  # what left the intent left the object
        assert now["metadata"]["labels"] == {"ours": "yes", "theirs": "kept"}
        again = await client.apply(CONFIG_MAP, config_map(jobs.namespace, mine="2"))
        assert again["metadata"]["resourceVersion"] == now["metadata"]["resourceVersion"]

    run(apiserver, scenario)


def test_delete_takes_only_the_object_that_was_seen(apiserver: ApiServer, jobs: Jobs) -> None:
    async def scenario(client: Client) -> None:
        first = await client.create(CONFIG_MAP, config_map(jobs.namespace))
        with pytest.raises(Conflict):
            await client.delete(CONFIG_MAP, jobs.namespace, "a", uid="00000000-0000-0000-0000-000000000000")
        assert (await client.get(CONFIG_MAP, jobs.namespace, "a"))["metadata"]["uid"] == first["metadata"][
            "uid"
        ]
        await client.delete(CONFIG_MAP, jobs.namespace, "a", uid=first["metadata"]["uid"])
        with pytest.raises(NotFound):
            await client.delete(CONFIG_MAP, jobs.namespace, "a", uid=first["metadata"]["uid"])

    run(apiserver, scenario)


def test_the_status_is_written_onto_the_version_that_it_was_thought_out_for(
    apiserver: ApiServer, jobs: Jobs
) -> None:
    async def scenario(client: Client) -> None:
        seen = await asyncio.to_thread(jobs.create)
        now = await client.apply_status(FINE_TUNE_JOB, seen, {"phase": "Preparing"})
        assert now["status"]["phase"] == "Preparing"
        assert now["spec"] == seen["spec"]
        assert now["metadata"]["generation"] == 1
        with pytest.raises(Conflict):
            await client.apply_status(FINE_TUNE_JOB, seen, {"phase": "Training"})
        again = await client.apply_status(FINE_TUNE_JOB, now, {"phase": "Preparing"})
        assert again["metadata"]["resourceVersion"] == now["metadata"]["resourceVersion"]
        with pytest.raises(Invalid, match="finishedAt"):
            await client.apply_status(FINE_TUNE_JOB, now, {"finishedAt": "yesterday"})
        gone = await client.apply_status(FINE_TUNE_JOB, now, {"message": "fields that are left out go"})
        assert "phase" not in gone["status"] or gone["status"]["phase"] == "Pending"

    run(apiserver, scenario)


def test_the_status_of_a_recreated_or_deleted_object_is_not_written(apiserver: ApiServer, jobs: Jobs) -> None:
    async def scenario(client: Client) -> None:
        seen = await asyncio.to_thread(jobs.create)
        await asyncio.to_thread(jobs.delete)
        with pytest.raises((NotFound, Conflict)):
            await client.apply_status(FINE_TUNE_JOB, seen, {"phase": "Preparing"})
        await asyncio.to_thread(jobs.create)
        with pytest.raises(Conflict):
            await client.apply_status(FINE_TUNE_JOB, seen, {"phase": "Preparing"})
        assert await asyncio.to_thread(jobs.status) == {}

    run(apiserver, scenario)


def test_finalizers_are_set_onto_the_version_that_was_seen(apiserver: ApiServer, jobs: Jobs) -> None:
    async def scenario(client: Client) -> None:
        seen = await asyncio.to_thread(jobs.create, finalizers=["others.dev/one"])
        now = await client.set_finalizers(FINE_TUNE_JOB, seen, ["others.dev/one", "anneal.dev/store-cleanup"])
        assert now["metadata"]["finalizers"] == ["others.dev/one", "anneal.dev/store-cleanup"]
        with pytest.raises(Conflict):
            await client.set_finalizers(FINE_TUNE_JOB, seen, [])
        assert (await client.set_finalizers(FINE_TUNE_JOB, now, []))["metadata"].get("finalizers") is None
        await asyncio.to_thread(jobs.delete)
        with pytest.raises(NotFound):
            await client.set_finalizers(FINE_TUNE_JOB, now, ["anneal.dev/store-cleanup"])

    run(apiserver, scenario)


def test_lists_all_pages_with_their_type(
    apiserver: ApiServer, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PAGE", 3)
    calls: list[str] = []

    async def scenario(client: Client) -> None:
        for number in range(8):
            await client.create(CONFIG_MAP, config_map(jobs.namespace, f"page-{number}"))
        found = [item async for item in client.objects(CONFIG_MAP, jobs.namespace, labels="ours=yes")]
        assert [item["metadata"]["name"] for item in found] == [f"page-{number}" for number in range(8)]
        assert {(item["apiVersion"], item["kind"]) for item in found} == {("v1", "ConfigMap")}
        everywhere = [item async for item in client.objects(CONFIG_MAP, labels="ours=yes")]
        assert len(everywhere) >= 8
        one = [
            item async for item in client.objects(CONFIG_MAP, jobs.namespace, fields="metadata.name=page-3")
        ]
        assert len(one) == 1

    run(apiserver, scenario, observer=lambda verb, *_: calls.append(verb))
    assert calls.count("list") >= 3 + 3 + 1


def test_what_the_server_says_becomes_one_error_of_the_tree(apiserver: ApiServer, jobs: Jobs) -> None:
    async def scenario(client: Client) -> None:
        ours = config_map(jobs.namespace)
        await client.create(CONFIG_MAP, ours)
        with pytest.raises(AlreadyExists):
            await client.create(CONFIG_MAP, ours)
        with pytest.raises(NotFound):
            await client.get(CONFIG_MAP, jobs.namespace, "none")
        with pytest.raises(NotFound):  # a kind that nobody installed
            await client.get(UNKNOWN, jobs.namespace, "none")
        with pytest.raises(Invalid, match="template"):
            await client.create(JOB, {**ours, "apiVersion": "batch/v1", "kind": "Job", "spec": {}})
        with pytest.raises(Invalid):
            await client.apply(
                CONFIG_MAP, {**ours, "metadata": {**ours["metadata"], "labels": {"no no": "x"}}}
            )
        huge = config_map(jobs.namespace, "huge", a="x" * 1_100_000)
        with pytest.raises(Invalid):
            await client.create(CONFIG_MAP, huge)

    run(apiserver, scenario)


def test_a_quota_is_told_from_a_missing_right(apiserver: ApiServer, jobs: Jobs) -> None:
    hard = {"count/jobs.batch": "0"}
    quota = {"metadata": {"name": "none"}, "spec": {"hard": hard}}
    assert jobs.at("resourcequotas", "POST", quota)[0] == 201
    used = {"status": {"hard": hard, "used": hard}}
    assert (
        jobs.at("resourcequotas/none/status", "PATCH", used, media_type="application/merge-patch+json")[0]
        == 200
    )
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "a", "namespace": jobs.namespace},
        "spec": {"template": {"spec": pod}},
    }

    async def refused_by_quota(client: Client) -> None:
        with pytest.raises(QuotaExceeded, match=r"count/jobs\.batch"):
            await client.create(JOB, body)

    async def refused_by_rbac(client: Client) -> None:
        with pytest.raises(Forbidden) as caught:
            await client.create(JOB, body)
        assert type(caught.value) is Forbidden
        with pytest.raises(Forbidden):
            _ = [item async for item in client.objects(JOB)]

    async def unknown(client: Client) -> None:
        with pytest.raises(Unauthorized):
            await client.get(JOB, jobs.namespace, "a")

    run(apiserver, refused_by_quota)
    admin = credentials_of(apiserver)
    account = {"metadata": {"name": "nobody"}}
    assert jobs.at("serviceaccounts", "POST", account)[0] == 201
    status, answer = jobs.at("serviceaccounts/nobody/token", "POST", {"spec": {}})
    assert status == 201, answer
    nobody = Credentials(server=admin.server, tls=admin.tls, token=Token(answer["status"]["token"]))
    run(apiserver, refused_by_rbac, credentials=nobody)
    stranger = Credentials(server=admin.server, tls=admin.tls, token=Token("wrong"))
    run(apiserver, unknown, credentials=stranger, tries=2)


def test_a_namespace_that_is_going_takes_nothing_new(apiserver: ApiServer) -> None:
    name = "going"
    apiserver.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    held = config_map(name, "held")
    held["metadata"]["finalizers"] = ["test.anneal.dev/hold"]
    apiserver.request("POST", f"/api/v1/namespaces/{name}/configmaps", held)
    apiserver.request("DELETE", f"/api/v1/namespaces/{name}")

    async def scenario(client: Client) -> None:
        with pytest.raises(NamespaceTerminating):
            await client.create(CONFIG_MAP, config_map(name, "b"))

    run(apiserver, scenario)
    release = {"metadata": {"finalizers": None}}
    path = f"/api/v1/namespaces/{name}/configmaps/held"
    apiserver.request("PATCH", path, release, media_type="application/merge-patch+json")


def test_knows_which_kinds_there_are(apiserver: ApiServer, jobs: Jobs) -> None:
    del jobs

    async def scenario(client: Client) -> None:
        assert "FineTuneJob" in await client.served(FINE_TUNE_JOB)
        assert {"Job", "CronJob"} <= await client.served(JOB)
        assert "Event" in await client.served(EVENT)
        assert await client.served(UNKNOWN) == frozenset()

    run(apiserver, scenario)


def test_outlives_a_restart_of_the_server(tmp_path_factory: pytest.TempPathFactory) -> None:
    with api_server(tmp_path_factory.mktemp("outage")) as server:

        async def scenario(client: Client) -> None:
            await client.create(CONFIG_MAP, config_map("default"))
            outage = server.outage()
            await asyncio.to_thread(outage.__enter__)
            with pytest.raises(Unavailable):
                await client.get(CONFIG_MAP, "default", "a")
            back = asyncio.create_task(asyncio.to_thread(outage.__exit__, None, None, None))
            while True:
                try:
                    found = await client.get(CONFIG_MAP, "default", "a")
                except Unavailable:
                    continue
                except Forbidden:  # its rules of access are not loaded yet
                    await asyncio.sleep(0.1)
                    continue
                break
            assert found["metadata"]["name"] == "a"
            await back

        run(server, scenario)
