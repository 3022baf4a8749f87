"""How kopf is told to behave."""

from __future__ import annotations

import asyncio
from collections.abc import Sized
from random import Random

from fake_time import FakeClock

from anneal_operator.cluster.credentials import Credentials, Token
from anneal_operator.cluster.kinds import POD, RAY_JOB, WATCHED
from anneal_operator.controller.kopf_storages import NoMemories
from anneal_operator.controller.watches import OutageBackoff, Watches


def watches(clock: FakeClock | None = None) -> Watches:
    return Watches(
        Credentials(server="http://127.0.0.1:1", namespace="own", token=Token("secret")),
        WATCHED,
        namespaces=("a", "b"),
        heard=lambda *_: None,
        clock=clock or FakeClock(),
        random=Random(1),
    )


def test_the_waits_between_tries_grow_and_end_after_a_quarter_of_an_hour() -> None:
    backoff = OutageBackoff(Random(1))
    assert not isinstance(backoff, Sized)  # kopf would count the tries otherwise
    waits = list(backoff)
    assert waits[0] <= 1.0
    assert all(15.0 <= wait <= 30.0 for wait in waits[5:])
    assert 900.0 <= sum(waits) <= 930.0
    assert next(iter(backoff)) <= 1.0  # every request starts anew


def test_watches_only_what_is_ours_and_keeps_nothing_on_objects() -> None:
    settings = watches()._settings()
    labels = settings.watching.label_selectors
    for kind in (POD, RAY_JOB):
        selected = labels[kind.group, kind.version, kind.plural]
        assert selected == "app.kubernetes.io/managed-by=anneal-operator"
    assert len(labels) == len(WATCHED) - 1  # every FineTuneJob is watched
    assert settings.scanning.disabled
    assert settings.peering.standalone
    assert not settings.posting.enabled
    essence = settings.persistence.diffbase_storage.build(body={"spec": {"a": 1}})  # type: ignore[typeddict-item]
    assert essence == {}


def test_kopf_remembers_no_object() -> None:
    memories = NoMemories()
    body = {"metadata": {"uid": "1"}}
    first = asyncio.run(memories.recall(body, noticed_by_listing=True))  # type: ignore[arg-type]
    assert first.noticed_by_listing
    assert not list(memories.iter_all_memories())


def test_a_token_that_stays_wrong_is_tried_more_and_more_rarely() -> None:
    async def main() -> None:
        clock = FakeClock()
        found = watches(clock)

        async def log_in() -> float:
            began = clock.monotonic()
            task = asyncio.create_task(found._log_in())
            await clock.settle()
            while not task.done():
                await clock.advance(0.5)
            await task.result().aiohttp_session.close()
            return clock.monotonic() - began

        waits = [await log_in() for _ in range(9)]
        assert waits[0] == 0
        assert waits[1] <= 1
        assert 15 <= waits[-1] <= 31
        await clock.advance(600)  # all was well for a while
        assert await log_in() == 0

    asyncio.run(main())
