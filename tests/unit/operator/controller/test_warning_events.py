"""Warning Events are read once for all jobs of a namespace, and found by what they are about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fake_time import FakeClock

from anneal_operator.cluster.errors import Forbidden
from anneal_operator.controller.warning_events import WarningEvents, subjects_of


def event(name: str, kind: str, about: str, at: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": "Event",
        "metadata": {"name": name, "creationTimestamp": at},
        "involvedObject": {"kind": kind, "name": about},
        "lastTimestamp": at,
        **more,
    }


class Server:
    def __init__(self, *events: dict[str, Any]) -> None:
        self.events = events
        self.lists: list[str] = []
        self.forbidden = False

    async def objects(self, _: object, namespace: str, *, fields: str) -> AsyncIterator[Mapping[str, Any]]:
        assert fields == "type=Warning"
        self.lists.append(namespace)
        if self.forbidden:
            raise Forbidden("no right")
        for found in self.events:
            yield found


def test_finds_what_is_about_an_object_the_newest_last() -> None:
    server = Server(
        event("c", "Job", "a", "2026-01-01T00:00:03Z"),
        event("a", "Job", "a", "2026-01-01T00:00:01Z"),
        event(
            "b", "Pod", "a-x", "2026-01-01T00:00:01Z", series={"lastObservedTime": "2026-01-01T00:00:02.5Z"}
        ),
        event("d", "Job", "other", "2026-01-01T00:00:01Z"),
    )

    async def main() -> None:
        events = WarningEvents(server, FakeClock())  # type: ignore[arg-type]
        found = await events.about("ns", {("Job", "a"): "u1", ("Pod", "a-x"): ""})
        assert [e["metadata"]["name"] for e in found] == ["a", "b", "c"]

    asyncio.run(main())


def test_an_event_about_an_earlier_object_of_the_name_is_left_out() -> None:
    old, new = (
        event("old", "Job", "a", "2026-01-01T00:00:01Z"),
        event("new", "Job", "a", "2026-01-01T00:00:02Z"),
    )
    old["involvedObject"]["uid"], new["involvedObject"]["uid"] = "u1", "u2"

    async def main() -> None:
        events = WarningEvents(Server(old, new), FakeClock())  # type: ignore[arg-type]
        for uid, expected in (("u1", ["old"]), ("u2", ["new"]), ("", ["old", "new"])):
            found = await events.about("ns", {("Job", "a"): uid})
            assert [e["metadata"]["name"] for e in found] == expected

    asyncio.run(main())


def test_many_who_ask_at_once_read_once() -> None:
    async def main() -> None:
        server = Server()
        events = WarningEvents(server, FakeClock())  # type: ignore[arg-type]
        await asyncio.gather(*(events.about("ns", {}) for _ in range(20)))
        assert server.lists == ["ns"]

    asyncio.run(main())


def test_one_list_serves_all_jobs_for_a_while() -> None:
    async def main() -> None:
        server, clock = Server(), FakeClock()
        events = WarningEvents(server, clock)  # type: ignore[arg-type]
        for _ in range(50):
            await events.about("ns", {})
        await events.about("other", {})
        assert server.lists == ["ns", "other"]
        await clock.advance(11)
        await events.about("ns", {})
        assert server.lists == ["ns", "other", "ns"]
        assert list(events._pages) == ["ns"]

    asyncio.run(main())


def test_without_the_right_to_read_them_there_are_none() -> None:
    async def main() -> None:
        server = Server(event("a", "Job", "a", "x"))
        server.forbidden = True
        events = WarningEvents(server, FakeClock())  # type: ignore[arg-type]
        assert await events.about("ns", {("Job", "a"): ""}) == ()

    asyncio.run(main())


def test_asks_for_the_clusters_and_the_submitter_that_kuberay_makes() -> None:
    ray_job = {"kind": "RayJob", "metadata": {"name": "a", "uid": "u1"}, "status": {"rayClusterName": "a-x1"}}
    service = {
        "kind": "RayService",
        "metadata": {"name": "s", "uid": "u2"},
        "status": {
            "activeServiceStatus": {"rayClusterName": "s-1"},
            "pendingServiceStatus": {"rayClusterName": "s-2"},
        },
    }
    assert subjects_of([ray_job, service]) == {
        ("RayJob", "a"): "u1",
        ("Job", "a"): "",
        ("RayService", "s"): "u2",
        ("RayCluster", "a-x1"): "",
        ("RayCluster", "s-1"): "",
        ("RayCluster", "s-2"): "",
    }
