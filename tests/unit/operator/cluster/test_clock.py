"""The time that the operator goes by: the API server's, whatever the clocks of nodes say."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import format_datetime

import pytest
from fake_time import FakeClock

from anneal_operator.cluster.clock import ServerClock


class World:
    """A server whose clock is `ahead` of the operator's machine, and answers after a tenth of a second."""

    def __init__(self, ahead: float) -> None:
        self.machine = FakeClock()
        self.clock = ServerClock(self.machine)
        self.ahead = ahead

    @property
    def server_time(self) -> datetime:
        return self.machine.now() + timedelta(seconds=self.ahead)

    def ask(self) -> None:
        asked = self.machine.time
        self.machine.time += 0.05
        date = format_datetime(self.server_time.replace(microsecond=0), usegmt=True)
        self.machine.time += 0.05
        self.clock.heard(date, asked, self.machine.time)


@pytest.mark.parametrize("ahead", [0.0, 600.0, -600.0, 0.4])
def test_it_is_the_servers_within_a_second_and_never_jumps_back(ahead):
    world = World(ahead)
    assert world.clock.now() == world.machine.now()  # nobody has told it otherwise
    last = None
    for _ in range(50):
        world.ask()
        now = world.clock.now()
        late = (world.server_time - now).total_seconds()
        assert -0.001 <= late <= 1.2
        assert last is None or now >= last
        last = now
        world.machine.time += 0.33
    assert late <= 0.5, "many dates of whole seconds tell the time better than one"


def test_a_server_whose_clock_is_set_is_followed():
    world = World(0.0)
    world.ask()
    world.ahead = 300.0
    for _ in range(130):
        world.machine.time += 0.5
        world.ask()
    assert abs((world.server_time - world.clock.now()).total_seconds()) <= 1.2


def test_one_of_several_servers_that_is_wrong_is_not_believed():
    world = World(0.0)
    for number in range(600):
        world.ahead = 10_800.0 if number % 3 == 2 else 0.0
        world.ask()
        world.machine.time += 1.0
        assert abs((world.machine.now() - world.clock.now()).total_seconds()) <= 1.3


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 99 Jan 2026 00:00:00 GMT"])
def test_an_answer_without_a_date_changes_nothing(date):
    world = World(0.0)
    world.clock.heard(date, 1.0, 2.0)
    assert world.clock.now() == world.machine.now()
