"""Waits double, stay within bounds and are spread."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from anneal_operator.cluster.retries import Backoff


@given(
    failures=st.integers(1, 10_000),
    seed=st.integers(),
    first=st.floats(0.01, 10),
    longest=st.floats(10, 1000),
)
def test_stays_within_half_and_all_of_the_doubled_wait(
    failures: int, seed: int, first: float, longest: float
) -> None:
    delay = Backoff(first=first, longest=longest).delay(failures, Random(seed))
    whole = min(longest, first * 2.0 ** min(failures - 1, 1000))
    assert whole / 2 <= delay <= whole


def test_never_comes_back_before_the_server_allows() -> None:
    assert Backoff(first=0.1, longest=1.0).delay(1, Random(0), at_least=20.0) == 20.0
