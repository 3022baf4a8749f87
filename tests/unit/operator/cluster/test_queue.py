"""The work queue: each key once, by one worker at a time, later after failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from fake_time import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from anneal_operator.cluster.queue import WorkQueue
from anneal_operator.cluster.retries import Backoff

Scenario = Callable[[WorkQueue[str], FakeClock], Awaitable[None]]


def run(scenario: Scenario) -> None:
    async def main() -> None:
        clock = FakeClock()
        queue = WorkQueue[str](clock=clock, random=Random(1), backoff=Backoff(first=1.0, longest=60.0))
        await asyncio.wait_for(scenario(queue, clock), 20)

    asyncio.run(main())


async def taken(queue: WorkQueue[str], clock: FakeClock) -> str | None:
    """Returns the key that is ready now, or None."""
    taking = asyncio.create_task(queue.take())
    await clock.settle()
    if not taking.done():
        taking.cancel()
        return None
    work = taking.result()
    return None if work is None else work.key


def test_hands_out_a_key_once_however_often_it_was_added() -> None:
    async def scenario(queue: WorkQueue[str], clock: FakeClock) -> None:
        for key in ("a", "b", "a", "a"):
            queue.add(key)
        assert queue.depth == 2
        assert [await taken(queue, clock) for _ in range(3)] == ["a", "b", None]

    run(scenario)


def test_a_key_that_is_to_be_first_comes_back_before_the_others() -> None:
    async def scenario(queue: WorkQueue[str], clock: FakeClock) -> None:
        for key in ("a", "b", "c"):
            queue.add(key)
        assert await taken(queue, clock) == "a"
        queue.add("a", first=True)
        queue.add("a")
        queue.done("a")
        assert [await taken(queue, clock) for _ in range(4)] == ["a", "b", "c", None]

    run(scenario)


def test_the_oldest_key_is_the_one_that_waits_longest_wherever_it_stands() -> None:
    async def scenario(queue: WorkQueue[str], clock: FakeClock) -> None:
        assert queue.oldest_seconds == 0.0
        queue.add("a")
        await clock.advance(5.0)
        queue.add("b", first=True)
        assert queue.oldest_seconds == 5.0

    run(scenario)


def test_a_key_in_hand_is_given_to_no_second_worker_but_comes_back_afterwards() -> None:
    async def scenario(queue: WorkQueue[str], clock: FakeClock) -> None:
        queue.add("a")
        assert await taken(queue, clock) == "a"
        queue.add("a")
        queue.add("a")
        assert await taken(queue, clock) is None
        queue.done("a")
        assert await taken(queue, clock) == "a"
        queue.done("a")
        assert await taken(queue, clock) is None

    run(scenario)


def test_a_waiting_worker_wakes_up() -> None:
    async def scenario(queue: WorkQueue[str], clock: FakeClock) -> None:
        workers = [asyncio.create_task(queue.take()) for _ in range(3)]
        await clock.settle()
        queue.add("a")
        await clock.settle()
        assert sum(worker.done() for worker in workers) == 1
        queue.add("b")
        queue.add("c")
        await clock.settle()
        works = [worker.result() for worker in workers]
        assert {work.key for work in works if work} == {"a", "b", "c"}

    run(scenario)


def test_a_delayed_key_gets_ready_in_time_and_the_earliest_time_counts() -> None:
    async def scenario(queue: WorkQueue[str], clock: FakeClock) -> None:
        queue.add_after("a", 30)
        queue.add_after("a", 10)
        queue.add_after("a", 20)
        assert queue.delayed == 1
        taking = asyncio.create_task(queue.take())
        await clock.advance(9.9)
        assert not taking.done()
        await clock.advance(0.2)
        assert taking.done()
        queue.done("a")
        await clock.advance(60)
        assert await taken(queue, clock) is None

    run(scenario)


def test_taking_a_key_drops_what_was_to_happen_to_it_later() -> None:
    async def scenario(queue: WorkQueue[str], clock: FakeClock) -> None:
        queue.add_after("a", 10)
        queue.add("a")
        assert await taken(queue, clock) == "a"
        queue.done("a")
        await clock.advance(60)
        assert await taken(queue, clock) is None

    run(scenario)


def test_a_worker_may_ask_for_its_own_key_again_later() -> None:
    async def scenario(queue: WorkQueue[str], clock: FakeClock) -> None:
        queue.add("a")
        assert await taken(queue, clock) == "a"
        queue.add_after("a", 5)
        queue.done("a")
        assert await taken(queue, clock) is None
        await clock.advance(5)
        assert await taken(queue, clock) == "a"

    run(scenario)


def test_failures_wait_longer_and_longer_up_to_a_bound_and_success_forgets_them() -> None:
    async def scenario(queue: WorkQueue[str], clock: FakeClock) -> None:
        waits = []
        for _ in range(9):
            queue.add("a")
            assert await taken(queue, clock) == "a"
            waits.append(queue.retry("a"))
            queue.done("a")
        for number, wait in enumerate(waits):
            whole = min(60.0, 2.0**number)
            assert whole / 2 <= wait <= whole
        assert len(set(waits)) == 9
        queue.forget_failures("a")
        assert queue.failures("a") == 0
        assert queue.retry("b", at_least=33.0) == 33.0
        for _ in range(9):
            assert queue.retry("b", at_most=2.5) <= 2.5
        assert queue.retry("b", at_least=7.0, at_most=2.5) == 7.0  # the server's word counts more

    run(scenario)


def test_a_failing_key_holds_up_no_other() -> None:
    async def scenario(queue: WorkQueue[str], clock: FakeClock) -> None:
        queue.add("poison")
        queue.add("good")
        assert await taken(queue, clock) == "poison"
        queue.retry("poison")
        queue.done("poison")
        assert await taken(queue, clock) == "good"

    run(scenario)


def test_tells_how_long_things_lie_and_how_long_work_takes() -> None:
    async def scenario(queue: WorkQueue[str], clock: FakeClock) -> None:
        assert queue.oldest_seconds == 0.0
        queue.add("a")
        await clock.advance(3)
        queue.add("b")
        await clock.advance(4)
        assert queue.oldest_seconds == 7.0
        work = await queue.take()
        assert work is not None
        assert work.waited == 7.0
        assert queue.oldest_seconds == 4.0
        await clock.advance(2)
        assert queue.longest_work_seconds == 2.0
        queue.done("a")
        assert queue.longest_work_seconds == 0.0

    run(scenario)


def test_closing_sends_the_workers_home() -> None:
    async def scenario(queue: WorkQueue[str], clock: FakeClock) -> None:
        workers = [asyncio.create_task(queue.take()) for _ in range(2)]
        await clock.settle()
        queue.close()
        await clock.settle()
        assert [worker.result() for worker in workers] == [None, None]
        queue.add("a")
        assert await queue.take() is None

    run(scenario)


@given(
    moves=st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from("abc")),
            st.tuples(st.just("later"), st.sampled_from("abc")),
            st.tuples(st.just("take"), st.just("")),
            st.tuples(st.just("done"), st.sampled_from("abc")),
            st.tuples(st.just("wait"), st.just("")),
        ),
        max_size=40,
    )
)
def test_whatever_happens_no_key_is_lost_or_in_two_hands(moves: list[tuple[str, str]]) -> None:
    async def scenario(queue: WorkQueue[str], clock: FakeClock) -> None:
        in_hand: set[str] = set()
        owed: set[str] = set()  # added since it was taken last
        for move, key in moves:
            if move == "add":
                queue.add(key)
                owed.add(key)
            elif move == "later":
                queue.add_after(key, 5)
                owed.add(key)
            elif move == "wait":
                await clock.advance(6)
            elif move == "done" and key in in_hand:
                in_hand.discard(key)
                queue.done(key)
            elif move == "take":
                got = await taken(queue, clock)
                if got is not None:
                    assert got not in in_hand
                    in_hand.add(got)
                    owed.discard(got)
        for key in in_hand:
            queue.done(key)
        await clock.advance(6)
        left = set()
        while (got := await taken(queue, clock)) is not None:
            left.add(got)
        assert owed == left

    run(scenario)


def test_far_due_times_that_no_longer_count_do_not_pile_up() -> None:
    async def scenario(queue: WorkQueue[str], clock: FakeClock) -> None:
        weeks = 1e6
        queue.add_after("later", weeks)
        for count in range(5000):
            queue.add("a")
            assert await queue.take() is not None
            queue.add_after("a", weeks + count)
            queue.done("a")
        assert queue.delayed == 2
        assert len(queue._timers) <= 2 * queue.delayed + 1001
        await clock.advance(weeks)
        assert [await taken(queue, clock) for _ in range(2)] == ["later", None]
        await clock.advance(5000)
        assert [await taken(queue, clock) for _ in range(2)] == ["a", None]

    run(scenario)


def test_groups_take_turns_so_that_one_tenant_s_many_keys_hold_up_nobody() -> None:
    async def scenario() -> None:
        queue = WorkQueue[str](
            clock=FakeClock(), random=Random(1), backoff=Backoff(1.0, 60.0), group=lambda key: key[0]
        )
        for key in ("a1", "a2", "a3", "a4", "b1", "c1", "b2"):
            queue.add(key)
        assert queue.depth == 7
        taken = []
        while queue.depth:
            work = await queue.take()
            assert work is not None
            taken.append(work.key)
            queue.done(work.key)
        assert taken == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]

    asyncio.run(scenario())


def test_a_key_that_comes_first_is_ready_once() -> None:
    async def scenario() -> None:
        queue = WorkQueue[str](
            clock=FakeClock(), random=Random(1), backoff=Backoff(1.0, 60.0), group=lambda key: key[0]
        )
        queue.add("a1")
        queue.add("b1")
        queue.add("b1", first=True)
        queue.add("b1")
        assert queue.depth == 2
        keys = []
        for _ in range(2):
            work = await queue.take()
            assert work is not None
            keys.append(work.key)
        assert keys == ["b1", "a1"]
        assert queue.depth == 0

    asyncio.run(scenario())
