"""Attributes and buffers of a network are restored after a pass that changed them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from headstart.inspection.module_attributes import attributes_kept, has_values


class Counting(nn.Module):
    """Changes a buffer, a list, a dictionary and a plain attribute in each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.seen: list[int] = []
        self.cache: dict[int, Tensor] = {}
        self.table: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.seen.append(len(x))
        self.cache[len(x)] = x
        self.table = x
        self.extra = x
        return x


def _run_and_fail(network: nn.Module) -> None:
    network(torch.ones(3))
    raise ZeroDivisionError


def test_everything_is_as_it_was_also_after_an_error():
    network = nn.Sequential(Counting())
    count, seen = network[0].count, network[0].seen
    with pytest.raises(ZeroDivisionError), attributes_kept(network):
        _run_and_fail(network)
    assert network[0].count is count
    assert float(count) == 0
    assert network[0].seen is seen
    assert seen == []
    assert network[0].cache == {}
    assert network[0].table is None
    assert not hasattr(network[0], "extra")


def test_tensors_without_values_are_known():
    assert has_values(torch.zeros(2))
    assert not has_values(torch.zeros(2, device="meta"))
    assert not has_values(nn.LazyLinear(2).weight)
