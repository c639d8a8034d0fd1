"""The loader over rows: every image once, no batch of one, the same order for the same chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.finetune.row_loader import RowLoader
from headstart.training.process_group import ProcessGroup


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


def test_the_order_follows_from_the_generator_alone() -> None:
    loader = RowLoader(lambda positions, seed: torch.from_numpy(positions), np.arange(20), 6, shuffle=True)

    def epoch() -> list[list[int]]:
        torch.rand(5)  # as dropout draws
        return [labels.tolist() for _, labels in loader]

    loader.generator.manual_seed(3)
    first, second = epoch(), epoch()
    loader.generator.manual_seed(3)
    assert [epoch(), epoch()] == [first, second]
    assert first != second


def test_processes_share_each_batch_and_labels_are_of_all_of_it() -> None:
    def shares(rank: int) -> list[tuple[list[int], list[int]]]:
        group = ProcessGroup(rank, 3, store=None)
        loader = RowLoader(
            lambda positions, seed: torch.from_numpy(positions), np.arange(8), 6, shuffle=False, group=group
        )
        return [(inputs.tolist(), labels.tolist()) for inputs, labels in loader]

    whole = [[0, 1, 2, 3, 4, 5], [6, 7]]
    assert [labels for _, labels in shares(1)] == whole
    assert [inputs for inputs, _ in shares(0)] == [[0, 3], [6]]
    assert [inputs for inputs, _ in shares(1)] == [[1, 4], [7]]
    assert [inputs for inputs, _ in shares(2)] == [[2, 5], [6]]  # the last one stands in, and counts nothing
