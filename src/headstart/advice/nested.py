"""Nested subsets: an order of the images of which every beginning is a smaller data set of the same kind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


def nested_order(labels: Labels, groups: Labels, *, seed: int) -> Labels:
    """N indices in an order whose beginnings hold the classes in about the same shares, groups side by side.

    Within a class the order of groups is drawn; each group then stands where its share of the class has been dealt.

    Args:
        labels: N. groups: N; a group counts as of the class of its first image.
    """
    numbers, first, inverse, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    classes, rng = labels[first], np.random.default_rng(seed)
    place = np.empty(len(numbers))
    for label in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == label))
        ends = np.cumsum(sizes[members])
        place[members] = (ends - sizes[members] / 2) / ends[-1]  # the middle of its share, in (0, 1)
    rank = np.empty(len(numbers), dtype=np.int64)
    rank[np.lexsort((rng.random(len(numbers)), place))] = np.arange(len(numbers))
    return np.argsort(rank[inverse], kind="stable").astype(np.int64)


def beginning(order: Labels, groups: Labels, count: int) -> Labels:
    """The first images of a nested order, about `count` of them: the group that begins within it is whole."""
    if count >= len(order):
        return order
    last = groups[order[max(count, 1) - 1]]
    end = max(count, 1)
    while end < len(order) and groups[order[end]] == last:
        end += 1
    return order[:end]
