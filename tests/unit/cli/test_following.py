"""A follower misses nothing, never turns in a busy circle, and gives up only when that is all that is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from seen_jobs import job_body

from anneal_api.errors import ObjectNotFound, ResourceUnavailable
from anneal_cli.cluster_access import Cluster
from anneal_cli.cluster_reader import UnknownKind
from anneal_cli.following import GIVE_UP_SECONDS, job_changes
from anneal_operator.cluster.errors import ApiError, Expired, Forbidden, Unauthorized, Unavailable

Step = ApiError | tuple[str, int] | Callable[[], None]


class Scripted:
    """A reader whose watches bring what a test wrote down, and a clock that only waiting moves.

    Args:
        lists: What each list finds: a version, or an error; -1: nothing.
        watches: What each watch brings: events as type and version, or an error at its end.
    """

    def __init__(self, lists: list[int | ApiError], *watches: list[Step]) -> None:
        self.server, self.source = "http://cluster", "context here"
        self.lists, self.watches = lists, list(watches)
        self.watched_from: list[str] = []
        self.time = 0.0
        self.waits: list[float] = []
        self.told: list[str] = []
        self.seconds: list[int] = []

    def listed(self, *_: object, **__: object) -> tuple[list[dict[str, Any]], str]:
        found = self.lists.pop(0)
        if isinstance(found, ApiError):
            raise found
        return ([] if found < 0 else [body(found)]), str(abs(found))

    def changes(
        self, *arguments: Any, connected: Callable[[], None], seconds: int
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        self.watched_from.append(arguments[3])
        self.seconds.append(seconds)
        steps = self.watches.pop(0)
        if steps and isinstance(steps[0], ApiError):
            raise steps[0]
        connected()
        for step in steps:
            if isinstance(step, ApiError):
                raise step
            assert isinstance(step, tuple)
            yield step[0], body(step[1])

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds

    def follow(
        self, most: int = 100, quiet_seconds: Callable[[Any], int | None] = lambda _: None
    ) -> list[int]:
        """Returns the versions that a follower saw, at most so many."""
        found: list[int] = []
        follower = job_changes(
            Cluster(self, "team-a"),  # type: ignore[arg-type]
            "reviews",
            lost=lambda error: self.told.append(error.message if error else "there"),
            quiet_seconds=quiet_seconds,
            sleep=self.sleep,
            monotonic=lambda: self.time,
            random=Random(1),
        )
        for each in follower:
            found.append(int(each["metadata"]["resourceVersion"]))
            if len(found) == most:
                break
        return found


def body(version: int) -> dict[str, Any]:
    made = job_body(phase="Training")
    made["metadata"]["resourceVersion"] = str(version)
    return made


def test_yields_the_job_and_every_change() -> None:
    script = Scripted([5], [("MODIFIED", 6), ("BOOKMARK", 9), ("MODIFIED", 12)])
    assert script.follow(3) == [5, 6, 12]


def test_goes_on_from_where_it_was_when_the_connection_breaks() -> None:
    script = Scripted(
        [5],
        [("MODIFIED", 6), ("BOOKMARK", 9), Unavailable("reset")],
        [Unavailable("refused")],
        [Unavailable("refused")],
        [("MODIFIED", 12)],
    )
    assert script.follow(3) == [5, 6, 12]
    assert script.watched_from == ["5", "9", "9", "9"]
    assert script.told == ["there", "reset", "refused", "refused", "there"]
    assert script.waits == sorted(script.waits)  # longer and longer
    assert script.waits[0] >= 0.5


def test_reads_anew_what_is_too_old_to_be_watched() -> None:
    script = Scripted([5, 40], [Expired("too old")], [("MODIFIED", 41)])
    assert script.follow(3) == [5, 40, 41]
    assert script.watched_from == ["5", "40"]


def test_a_watch_that_ends_at_once_does_not_make_a_busy_loop() -> None:
    script = Scripted([5], [], [], [("MODIFIED", 6)])
    assert script.follow(2) == [5, 6]
    assert script.waits == [1.0, 1.0]


def test_a_job_that_goes_is_told() -> None:
    with pytest.raises(ObjectNotFound, match="was deleted"):
        Scripted([5], [("DELETED", 6)]).follow()
    with pytest.raises(ObjectNotFound, match="was deleted"):
        Scripted([5, -7], [Expired("too old")]).follow()
    with pytest.raises(ObjectNotFound, match="no FineTuneJob 'reviews'"):
        Scripted([-1]).follow()
    with pytest.raises(ObjectNotFound, match="does not know FineTuneJobs"):
        Scripted([UnknownKind("no such kind", code=404)]).follow()


def test_the_first_contact_is_tried_once() -> None:
    script = Scripted([Unavailable("refused")])
    with pytest.raises(ResourceUnavailable, match="does not answer: refused"):
        script.follow()
    assert script.waits == []


@pytest.mark.parametrize("error", [Forbidden("no", code=403), Unauthorized("no", code=401)])
def test_what_does_not_pass_ends_it(error: ApiError) -> None:
    script = Scripted([5], [error])
    with pytest.raises(ResourceUnavailable):
        script.follow()
    assert script.waits == []


def test_gives_up_after_a_long_outage() -> None:
    script = Scripted([5], *[[Unavailable("refused")] for _ in range(200)])
    with pytest.raises(ResourceUnavailable, match="refused"):
        script.follow()
    assert GIVE_UP_SECONDS < script.time < 2 * GIVE_UP_SECONDS


def test_a_job_that_does_not_change_is_shown_again_where_that_is_asked_for() -> None:
    script = Scripted([5], [("BOOKMARK", 7)], [("MODIFIED", 8), ("BOOKMARK", 9)], [("MODIFIED", 10)])
    found = script.follow(5, lambda body: 5 if int(body["metadata"]["resourceVersion"]) < 10 else None)
    assert found == [5, 5, 8, 8, 10]
    assert script.watched_from == ["5", "7", "9"]
    assert script.seconds == [5, 5, 5]


def test_a_watch_is_as_long_as_the_job_calls_for() -> None:
    script = Scripted([5], [("MODIFIED", 6), ("MODIFIED", 7)], [("MODIFIED", 8)], [("MODIFIED", 9)])
    quiet = {5: None, 6: 5, 8: None}
    assert script.follow(4, lambda body: quiet.get(int(body["metadata"]["resourceVersion"]))) == [5, 6, 8, 9]
    assert script.seconds == [290, 5, 290]
