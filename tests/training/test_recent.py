"""The latest arrays stay, the statistics of all stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.errors import TrainingError
from headstart.training.captures import (
    attach_gradients,
)
from headstart.training.recent import MOST_BYTES, Recent, room_for


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden = nn.Linear(4, 5)
        self.relu = nn.ReLU(inplace=True)
        self.again = self.relu
        self.output = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output(self.relu(self.hidden(x)))
        return out


def test_only_the_latest_arrays_stay_and_the_statistics_of_all() -> None:
    """D20: the book's class keeps every number of every step as a Python float."""
    recent, arrays = Recent(3), np.random.default_rng(0).normal(size=(10, 4, 6)).astype(np.float32)
    for values in arrays:
        recent.add(torch.from_numpy(values))

    assert (len(recent), recent.seen) == (3, 10)
    assert np.array_equal(np.array(recent), arrays[7:])
    assert np.array_equal(recent[-1], arrays[9])
    assert len(recent[1:]) == 2
    flat = arrays.reshape(10, -1).astype(np.float64)
    expected = np.stack([flat.mean(1), flat.std(1), np.sqrt((flat**2).sum(1)), np.abs(flat).max(1)], axis=1)
    assert recent.statistics == pytest.approx(expected, rel=1e-4, abs=1e-7)
    assert repr(recent) == "Recent(3 of 10, each 4×6)"


def test_a_copy_is_kept_and_half_precision_becomes_single() -> None:
    recent, values = Recent(2), torch.ones(2, dtype=torch.bfloat16)
    recent.add(values)
    values.zero_()
    assert recent[0].tolist() == [1, 1]
    assert recent[0].dtype == np.float32


def test_nothing_yet_is_an_empty_array_as_of_an_empty_list() -> None:
    assert np.array(Recent(2)).shape == (0,)
    assert Recent(2).statistics.shape == (0, 4)


def test_as_many_arrays_stay_as_fit_and_the_same_number_of_each() -> None:
    small, large = torch.empty(10, 10), torch.empty(512, 512, 3, 3)  # a convolution of ResNet-18's last stage

    assert room_for([large]) == 28
    assert room_for([large]) * large.numel() * 4 <= MOST_BYTES < (room_for([large]) + 2) * large.numel() * 4
    assert room_for([small]) > 100_000
    assert room_for([torch.empty(10**8, device="meta")]) == 1
    assert room_for([large], keep=5) == 5
    with pytest.raises(TrainingError, match="keep"):
        room_for([large], keep=-1)

    model = _Network()
    kept = attach_gradients(model, "hidden", {}, keep=0)["hidden"]["weight"]
    model(torch.ones(1, 4)).sum().backward()
    assert (len(kept), kept.seen, kept.statistics.shape) == (0, 1, (1, 4))
