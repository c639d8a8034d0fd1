"""The loader over rows: every image once, no batch of one, the same order for the same chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.finetune.row_loader import RowLoader


def batches(count: int, size: int, *, shuffle: bool = True) -> list[list[int]]:
    loader = RowLoader(lambda positions, seed: torch.from_numpy(positions), np.arange(count), size, shuffle=shuffle)
    found = [labels.tolist() for _, labels in loader]
    assert len(loader) == len(found)
    return found


@pytest.mark.parametrize(
    ("count", "size", "sizes"),
    [(9, 4, [4, 5]), (10, 4, [4, 4, 2]), (8, 4, [4, 4]), (1, 4, [1]), (3, 1, [1, 1, 1]), (5, 4, [5])],
)
def test_a_single_image_left_over_joins_the_batch_before_it(count: int, size: int, sizes: list[int]) -> None:
    found = batches(count, size)
    assert [len(batch) for batch in found] == sizes
    assert sorted(place for batch in found for place in batch) == list(range(count))


def test_measuring_keeps_the_order_and_the_size() -> None:
    assert batches(9, 4, shuffle=False) == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


def test_the_order_follows_from_the_global_numbers() -> None:
    torch.manual_seed(3)
    first = batches(20, 6)
    second = batches(20, 6)
    torch.manual_seed(3)
    assert batches(20, 6) == first != second
