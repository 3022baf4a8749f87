"""Every step has exactly its rows, whatever the workers and the memory budget."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anneal_trainer.engine.batching import epoch_steps, micro_batches, steps_per_epoch, worker_share

_LENGTHS = st.lists(st.integers(min_value=2, max_value=512), min_size=1, max_size=300).map(np.array)


@given(_LENGTHS, st.integers(1, 64), st.integers(0, 5))
def test_a_step_has_exactly_its_rows_and_an_epoch_every_row(lengths, batch_size, epoch):
    steps = epoch_steps(lengths, batch_size, seed=1, epoch=epoch)
    assert steps.shape == (steps_per_epoch(len(lengths), batch_size), batch_size)
    assert set(steps.ravel()) == set(range(len(lengths)))
    counts = np.bincount(steps.ravel(), minlength=len(lengths))
    assert counts.max() - counts.min() <= 1


@given(_LENGTHS, st.integers(1, 64))
def test_the_order_follows_from_seed_and_epoch_alone(lengths, batch_size):
    first = epoch_steps(lengths, batch_size, seed=3, epoch=2)
    assert np.array_equal(first, epoch_steps(lengths, batch_size, seed=3, epoch=2))


def test_another_epoch_has_another_order():
    lengths = np.arange(2, 502)
    orders = [epoch_steps(lengths, 16, seed=3, epoch=epoch) for epoch in (0, 1)]
    assert not np.array_equal(*orders)


@given(_LENGTHS, st.integers(4, 64), st.integers(1, 4))
def test_workers_share_a_step_without_gap_or_overlap(lengths, batch_size, world_size):
    for rows in epoch_steps(lengths, batch_size, seed=1, epoch=0):
        shares = [worker_share(rows, rank=rank, world_size=world_size) for rank in range(world_size)]
        assert sorted(np.concatenate(shares)) == sorted(rows)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(_LENGTHS, st.integers(8, 4096))
def test_micro_batches_keep_every_row_and_the_budget(lengths, max_tokens):
    rows = np.argsort(-lengths, kind="stable")
    pieces = list(micro_batches(rows, lengths, max_tokens=max_tokens))
    assert np.array_equal(np.concatenate(pieces), rows)
    for piece in pieces:
        assert len(piece) == 1 or lengths[piece].max() * len(piece) <= max_tokens


@given(_LENGTHS, st.integers(8, 4096))
def test_without_padding_a_micro_batch_has_rows_of_one_length(lengths, max_tokens):
    rows = np.argsort(-lengths, kind="stable")
    pieces = list(micro_batches(rows, lengths, max_tokens=max_tokens, pads=False))
    assert np.array_equal(np.concatenate(pieces), rows)
    for piece in pieces:
        assert len(set(lengths[piece])) == 1
        assert len(piece) == 1 or lengths[piece].max() * len(piece) <= max_tokens


def test_little_padding_is_left():
    lengths = np.random.default_rng(0).lognormal(3, 0.6, 10_000).astype(int).clip(2, 128)
    steps = epoch_steps(lengths, 32, seed=0, epoch=0)
    computed = sum(lengths[rows].max() * len(rows) for rows in steps)
    random_order = (
        np.random.default_rng(1).permutation(len(lengths))[: len(lengths) // 32 * 32].reshape(-1, 32)
    )
    random = sum(lengths[rows].max() * len(rows) for rows in random_order)
    assert computed < 1.08 * lengths[steps.ravel()].sum()
    assert random > 2 * computed
