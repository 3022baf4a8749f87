"""The client against a server that answers what a test wants: retries, pauses, fences, accounts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
from aiohttp import web
from fake_time import FakeClock

from anneal_operator.cluster.client import Client
from anneal_operator.cluster.credentials import Credentials, Token
from anneal_operator.cluster.errors import (
    AlreadyExists,
    ApiError,
    Expired,
    Fenced,
    NotFound,
    TooManyRequests,
    Unavailable,
)
from anneal_operator.cluster.kinds import CONFIG_MAP, RAY_JOB

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(code: int, body: dict[str, Any] | None = None, **headers: str) -> Reply:
    async def reply(_: web.Request) -> web.StreamResponse:
        return web.json_response(body or {}, status=code, headers=headers)

    return reply


async def hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


class World:
    """A server that gives its replies in turn, and a client that speaks to it."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.calls: list[tuple[str, int]] = []
        self.clock = FakeClock()
        self.client: Client

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw) if raw else None
        self.requests.append((request.method, request.path_qs, dict(request.headers), body))
        return await self.replies.pop(0)(request)  # type: ignore[arg-type]

    async def run(self, scenario: Callable[[World], Awaitable[None]], **options: Any) -> None:
        runner = web.ServerRunner(web.Server(self._serve))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.client = Client(
            Credentials(server=f"http://{host}:{port}", token=Token("secret")),
            clock=self.clock,
            random=Random(1),
            observer=lambda verb, code, _: self.calls.append((verb, code)),
            **options,
        )
        try:
            await scenario(self)
        finally:
            await self.client.close()
            await runner.cleanup()


def run(scenario: Callable[[World], Awaitable[None]], *replies: Reply, **options: Any) -> World:
    world = World(*replies)
    asyncio.run(asyncio.wait_for(world.run(scenario, **options), 20))
    return world


async def finished(world: World, call: Awaitable[Any], seconds: float = 60.0) -> Any:
    """Lets time pass until a call is through."""
    task = asyncio.ensure_future(call)
    while not task.done():
        await asyncio.sleep(0.01)
        await world.clock.advance(seconds / 60)
    return await task


BODY = {"metadata": {"name": "a", "namespace": "ns"}}


def test_sends_what_each_verb_needs() -> None:
    async def scenario(world: World) -> None:
        seen = {
            "metadata": {"name": "a", "namespace": "ns", "uid": "u", "resourceVersion": "7", "labels": {}}
        }
        await world.client.apply(CONFIG_MAP, BODY)
        await world.client.apply_status(RAY_JOB, seen, {"phase": "x"})
        await world.client.delete(CONFIG_MAP, "ns", "a", uid="u")
        await world.client.set_finalizers(RAY_JOB, seen, ["f"])

    world = run(scenario, *[answer(200)] * 4)
    apply, status, delete, finalizers = world.requests
    assert apply[:2] == (
        "PATCH",
        "/api/v1/namespaces/ns/configmaps/a?fieldManager=anneal-operator&force=true",
    )
    assert apply[2]["Content-Type"] == "application/apply-patch+yaml"
    assert apply[2]["Authorization"] == "Bearer secret"
    assert status[1].startswith(
        "/apis/ray.io/v1/namespaces/ns/rayjobs/a/status?fieldManager=anneal-operator-status"
    )
    assert status[3]["metadata"] == {"name": "a", "namespace": "ns", "uid": "u", "resourceVersion": "7"}
    assert delete[0] == "DELETE"
    assert delete[3]["preconditions"] == {"uid": "u"}
    assert delete[3]["propagationPolicy"] == "Background"
    assert {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"} in finalizers[3]
    assert world.calls == [("apply", 200), ("apply_status", 200), ("delete", 200), ("patch", 200)]


def test_tries_again_while_the_server_is_ill_and_says_so_in_the_account() -> None:
    async def scenario(world: World) -> None:
        found = await finished(world, world.client.get(CONFIG_MAP, "ns", "a"))
        assert found == {"kind": "ConfigMap"}

    world = run(scenario, answer(503), hang_up, answer(401), answer(200, {"kind": "ConfigMap"}))
    # A request that breaks off counts as answered by nobody. (aiohttp may try a GET twice by itself.)
    assert [code for _, code in world.calls if code] == [503, 401, 200]


def test_gives_up_after_a_bounded_number_of_tries() -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(Unavailable):
            await finished(world, world.client.create(CONFIG_MAP, BODY))

    world = run(scenario, *[answer(500)] * 9)
    assert len(world.requests) == 4


def test_waits_as_long_as_the_server_asks() -> None:
    async def scenario(world: World) -> None:
        began = world.clock.monotonic()
        await finished(world, world.client.apply(CONFIG_MAP, BODY))
        assert world.clock.monotonic() - began >= 9

    run(scenario, answer(429, None, **{"Retry-After": "9"}), answer(200))


def test_leaves_a_long_pause_to_the_caller() -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(TooManyRequests) as caught:
            await world.client.apply(CONFIG_MAP, BODY)
        assert caught.value.retry_after == 600.0

    run(scenario, answer(429, None, **{"Retry-After": "600"}))


def test_does_not_repeat_what_cannot_get_better() -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(NotFound):
            await world.client.get(CONFIG_MAP, "ns", "a")
        with pytest.raises(AlreadyExists):
            await world.client.create(CONFIG_MAP, BODY)

    world = run(scenario, answer(404), answer(409, {"reason": "AlreadyExists"}))
    assert len(world.requests) == 2


def test_a_server_that_does_not_answer_is_out_of_reach() -> None:
    async def slow(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.3)
        return web.json_response({})

    async def scenario(world: World) -> None:
        with pytest.raises(Unavailable):
            await world.client.get(CONFIG_MAP, "ns", "a")

    world = run(scenario, slow, tries=1, timeout=0.05)
    assert world.calls == [("get", 0)]


def test_an_answer_that_is_no_json_is_an_error() -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>login</html>")

    async def scenario(world: World) -> None:
        with pytest.raises(ApiError, match="no JSON"):
            await world.client.get(CONFIG_MAP, "ns", "a")

    run(scenario, page)


def test_reads_a_list_page_by_page_and_fills_in_the_type() -> None:
    async def scenario(world: World) -> None:
        found = [item async for item in world.client.objects(CONFIG_MAP, "ns", labels="a=b")]
        assert [item["metadata"]["name"] for item in found] == ["a", "b", "c"]
        assert {(item["apiVersion"], item["kind"]) for item in found} == {("v1", "ConfigMap")}

    pages = [
        answer(200, {"metadata": {"continue": "t1"}, "items": [{"metadata": {"name": "a"}}]}),
        answer(410, {"reason": "Expired", "metadata": {"continue": "t2"}}),
        answer(200, {"metadata": {"continue": "t3"}, "items": [{"metadata": {"name": "b"}}]}),
        answer(200, {"metadata": {}, "items": [{"metadata": {"name": "c"}}]}),
    ]
    world = run(scenario, *pages)
    assert "limit=500" in world.requests[0][1]
    assert [("continue=" in path) for _, path, _, _ in world.requests] == [False, True, True, True]
    assert "continue=t2" in world.requests[2][1]


def test_a_list_that_cannot_go_on_says_so() -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(Expired):
            _ = [item async for item in world.client.objects(CONFIG_MAP, "ns")]

    run(scenario, answer(200, {"metadata": {"continue": "t1"}, "items": []}), answer(410))


def test_a_fenced_client_reads_but_does_not_write() -> None:
    def fence() -> None:
        raise Fenced("not held")

    async def scenario(world: World) -> None:
        await world.client.get(CONFIG_MAP, "ns", "a")
        for write in (
            world.client.apply(CONFIG_MAP, BODY),
            world.client.create(CONFIG_MAP, BODY),
            world.client.delete(CONFIG_MAP, "ns", "a", uid="u"),
        ):
            with pytest.raises(Fenced):
                await write

    world = run(scenario, answer(200), fence=fence)
    assert [method for method, *_ in world.requests] == ["GET"]


def test_a_fence_that_falls_between_two_tries_stops_the_second() -> None:
    held = [True]

    def fence() -> None:
        if not held[0]:
            raise Fenced("lost")

    async def ill(_: web.Request) -> web.StreamResponse:
        held[0] = False
        return web.json_response({}, status=503)

    async def scenario(world: World) -> None:
        with pytest.raises(Fenced):
            await finished(world, world.client.apply(CONFIG_MAP, BODY))

    world = run(scenario, ill, answer(200), fence=fence)
    assert len(world.requests) == 1


def test_a_group_that_the_server_does_not_have_has_no_kinds() -> None:
    async def scenario(world: World) -> None:
        assert await world.client.served(RAY_JOB) == frozenset()
        assert await world.client.served(RAY_JOB) == {"RayJob"}

    run(scenario, answer(404), answer(200, {"resources": [{"kind": "RayJob"}]}))
