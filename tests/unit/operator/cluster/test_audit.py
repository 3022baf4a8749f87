"""The cache audit finds what a watch lost, and calls nothing lost that is only late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from random import Random
from typing import Any

from fake_time import FakeClock

from anneal_operator.cluster.audit import GRACE_SECONDS, CacheAudit
from anneal_operator.cluster.cache import Cache
from anneal_operator.cluster.errors import NotFound, Unavailable
from anneal_operator.cluster.kinds import CONFIG_MAP, Kind

LABELS = {"app.kubernetes.io/managed-by": "anneal-operator"}


def config_map(
    name: str, version: int, *, uid: str = "", labels: dict[str, str] | None = None
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": uid or name,
            "resourceVersion": str(version),
            "labels": LABELS if labels is None else labels,
        },
    }


class Cluster:
    """What is really there. Stands where the client stands."""

    def __init__(self) -> None:
        self.there: dict[str, dict[str, Any]] = {}
        self.down = False

    def have(self, *bodies: dict[str, Any]) -> None:
        self.there = {body["metadata"]["name"]: body for body in bodies}

    async def objects(self, _: Kind, namespace: str, *, labels: str) -> AsyncIterator[Mapping[str, Any]]:
        if self.down:
            raise Unavailable("no connection")
        assert labels == "app.kubernetes.io/managed-by=anneal-operator"
        for body in list(self.there.values()):
            if body["metadata"]["labels"] == LABELS and namespace in {"", "ns"}:
                yield body

    async def get(self, _: Kind, namespace: str, name: str) -> Mapping[str, Any]:
        assert namespace == "ns"
        if name not in self.there:
            raise NotFound(name)
        return self.there[name]


class Room:
    def __init__(self, *namespaces: str) -> None:
        self.cluster = Cluster()
        self.cache = Cache()
        self.clock = FakeClock()
        self.changed: list[str] = []
        self.lost: list[str] = []
        self.audit = CacheAudit(
            self.cluster,  # type: ignore[arg-type]
            self.cache,
            namespaces=namespaces,
            clock=self.clock,
            random=Random(1),
            changed=lambda body: self.changed.append(body["metadata"]["name"]),
            lost=self.lost.append,
        )

    def cached(self) -> dict[str, str]:
        return {entry.name: str(entry.version) for entry in self.cache.entries("ConfigMap")}


def run(scenario: Callable[[Room], Awaitable[None]], *namespaces: str) -> None:
    asyncio.run(asyncio.wait_for(scenario(Room(*namespaces)), 20))  # type: ignore[arg-type]


async def audited(room: Room, meanwhile: Callable[[], object] = lambda: None) -> int:
    auditing = asyncio.create_task(room.audit.audit(CONFIG_MAP))
    await room.clock.settle()
    meanwhile()
    await room.clock.advance(GRACE_SECONDS)
    return await auditing


def test_fills_the_cache() -> None:
    async def scenario(room: Room) -> None:
        room.cluster.have(config_map("a", 1), config_map("b", 2))
        await room.audit.fill([CONFIG_MAP])
        assert room.cached() == {"a": "1", "b": "2"}
        assert room.lost == []

    run(scenario, "ns", "other")


def test_finds_nothing_where_nothing_was_lost_and_waits_for_nothing() -> None:
    async def scenario(room: Room) -> None:
        room.cluster.have(config_map("a", 1))
        await room.audit.fill([CONFIG_MAP])
        assert await room.audit.audit(CONFIG_MAP) == 0  # no grace to wait for

    run(scenario)


def test_repairs_each_kind_of_lost_event() -> None:
    async def scenario(room: Room) -> None:
        room.cluster.have(config_map("deleted", 1), config_map("modified", 2))
        await room.audit.fill([CONFIG_MAP])
        room.cluster.have(config_map("modified", 7), config_map("added", 8))
        assert await audited(room) == 3
        assert room.cached() == {"modified": "7", "added": "8"}
        assert sorted(room.changed) == ["added", "deleted", "modified"]
        assert room.lost == ["ConfigMap"] * 3
        assert await audited(room) == 0

    run(scenario)


def test_an_event_that_is_only_late_is_not_lost() -> None:
    async def scenario(room: Room) -> None:
        room.cluster.have(config_map("deleted", 1), config_map("modified", 2))
        await room.audit.fill([CONFIG_MAP])
        room.cluster.have(config_map("modified", 7), config_map("added", 8))

        def arrive() -> None:
            room.cache.remove(config_map("deleted", 6))
            room.cache.put(config_map("modified", 7))
            room.cache.put(config_map("added", 8))

        assert await audited(room, arrive) == 0
        assert room.lost == []

    run(scenario)


def test_what_came_and_went_during_the_grace_is_not_lost() -> None:
    async def scenario(room: Room) -> None:
        room.cluster.have(config_map("a", 3))
        assert await audited(room, room.cluster.have) == 0
        assert room.cached() == {}

    run(scenario)


def test_a_recreated_object_takes_the_place_of_the_old_one() -> None:
    async def scenario(room: Room) -> None:
        room.cluster.have(config_map("a", 1, uid="old"))
        await room.audit.fill([CONFIG_MAP])
        room.cluster.have(config_map("a", 9, uid="new"))
        assert await audited(room) >= 1
        assert [entry.uid for entry in room.cache.entries("ConfigMap")] == ["new"]

    run(scenario)


def test_an_object_that_lost_our_label_is_no_longer_ours() -> None:
    async def scenario(room: Room) -> None:
        room.cluster.have(config_map("a", 1))
        await room.audit.fill([CONFIG_MAP])
        room.cluster.have(config_map("a", 5, labels={}))
        assert await audited(room) == 1
        assert room.cached() == {}
        room.cluster.have(config_map("a", 6))  # somebody puts it back
        assert await audited(room) == 1
        assert room.cached() == {"a": "6"}

    run(scenario)


def test_looks_early_and_then_every_few_minutes_whatever_fails() -> None:
    async def scenario(room: Room) -> None:
        stop = asyncio.Event()
        auditing = asyncio.create_task(room.audit.run([CONFIG_MAP], stop))
        room.cluster.have(config_map("a", 1))
        await room.clock.advance(60)
        assert room.cached() == {"a": "1"}
        room.cluster.down = True
        await room.clock.advance(600)
        room.cluster.down = False
        room.cluster.have(config_map("a", 4))
        await room.clock.advance(600)
        assert room.cached() == {"a": "4"}
        stop.set()
        await room.clock.settle()
        await auditing

    run(scenario)
