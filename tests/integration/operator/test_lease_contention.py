"""Two operators and one Lease, on a real API server."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from cluster.apiserver import ApiServer
from operator_world import credentials_of, run_in_loop, until

from anneal_operator.cluster.client import Client
from anneal_operator.cluster.clock import SystemClock
from anneal_operator.cluster.errors import Fenced
from anneal_operator.cluster.kinds import CONFIG_MAP, LEASE
from anneal_operator.cluster.lease import Lease, LeaseLost, LeaseTimes

pytestmark = pytest.mark.integration

QUICK = LeaseTimes(lasts=2.0, renew_deadline=1.4, renew_every=0.3, look_every=0.2)


def contender(client: Client, namespace: str, identity: str) -> Lease:
    return Lease(
        client,
        namespace=namespace,
        name="anneal-operator",
        identity=identity,
        clock=SystemClock(),
        random=Random(),
        times=QUICK,
    )


async def spec(client: Client, namespace: str) -> dict[str, Any]:
    found = await client.get(LEASE, namespace, "anneal-operator")
    return dict(found["spec"])


def test_one_holds_it_and_the_other_follows_when_the_first_falls_silent(
    apiserver: ApiServer, namespace: str
) -> None:
    async def main() -> None:
        client, stop = Client(credentials_of(apiserver)), asyncio.Event()
        first, second = contender(client, namespace, "first"), contender(client, namespace, "second")
        fenced = Client(credentials_of(apiserver), fence=first.fence)
        try:
            await first.acquire()
            keeping = asyncio.create_task(first.keep(stop))
            waiting = asyncio.create_task(second.acquire())
            await asyncio.sleep(3 * QUICK.lasts)
            assert not waiting.done()
            assert (await spec(client, namespace))["holderIdentity"] == "first"
            keeping.cancel()
            both = 0
            while not waiting.done():
                both += first.held and second.held
                await asyncio.sleep(0.02)
            assert both == 0
            found = await spec(client, namespace)
            assert (found["holderIdentity"], found["leaseTransitions"]) == ("second", 1)
            body = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "a", "namespace": namespace},
            }
            with pytest.raises(Fenced):
                await fenced.create(CONFIG_MAP, body)
            with pytest.raises(LeaseLost):
                await first.keep(stop)
        finally:
            await client.close()
            await fenced.close()

    run_in_loop(main())


def test_of_many_that_start_at_once_one_holds_it(apiserver: ApiServer, namespace: str) -> None:
    async def main() -> None:
        client = Client(credentials_of(apiserver))
        leases = [contender(client, namespace, str(number)) for number in range(6)]
        tasks = [asyncio.create_task(lease.acquire()) for lease in leases]
        try:
            await until(lambda: any(lease.held for lease in leases))
            await asyncio.sleep(0.5)
            assert [lease.held for lease in leases].count(True) == 1
        finally:
            for task in tasks:
                task.cancel()
            await client.close()

    run_in_loop(main())


def test_a_released_one_is_taken_at_once(apiserver: ApiServer, namespace: str) -> None:
    async def main() -> None:
        client = Client(credentials_of(apiserver))
        first, second = contender(client, namespace, "first"), contender(client, namespace, "second")
        try:
            await first.acquire()
            await first.release()
            await asyncio.wait_for(second.acquire(), 1.0)
            assert (await spec(client, namespace))["holderIdentity"] == "second"
        finally:
            await client.close()

    run_in_loop(main())
