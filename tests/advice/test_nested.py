"""Nested subsets hold the classes in their shares and whole groups."""

from __future__ import annotations

import numpy as np

from headstart.advice.nested import beginning, nested_order


def test_every_beginning_has_the_shares_of_the_whole() -> None:
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    order = nested_order(labels, np.arange(100), seed=3)
    assert sorted(order) == list(range(100))
    for count in (10, 20, 50):
        shares = np.bincount(labels[order[:count]], minlength=3) / count
        assert np.abs(shares - [0.6, 0.3, 0.1]).max() <= 1 / count
    assert list(order) != list(nested_order(labels, np.arange(100), seed=4))
    assert list(order) == list(nested_order(labels, np.arange(100), seed=3))


def test_groups_stay_side_by_side_and_a_beginning_ends_with_a_whole_one() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(12, size=90)
    order = nested_order(rng.integers(2, size=90), groups, seed=0)
    runs = groups[order]
    assert (np.diff(runs) != 0).sum() == 11  # twelve runs
    taken = beginning(order, groups, 40)
    assert len(taken) >= 40
    assert not set(groups[taken]) & set(groups[np.setdiff1d(order, taken)])
    assert len(beginning(order, groups, 200)) == 90
