"""CIFAR's residual networks: the numbers of the paper, and shortcuts without parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.backbones.models.cifar_resnet import Block, cifar_resnet20, cifar_resnet56


@pytest.mark.parametrize(("make", "layers", "millions"), [(cifar_resnet20, 20, 0.27), (cifar_resnet56, 56, 0.85)])
def test_layers_and_parameters_are_those_of_the_paper(make, layers: int, millions: float) -> None:  # type: ignore[no-untyped-def]
    network = make()

    weighted = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    assert len(weighted) == layers
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)  # table 6
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_a_shortcut_takes_every_second_pixel_and_adds_zero_channels_on_both_sides() -> None:
    block = Block(2, 6, stride=2).eval()
    for conv in (block.conv1, block.conv2):
        nn.init.zeros_(conv.weight)
    x = torch.rand(1, 2, 4, 4)

    out = block(x)

    assert torch.equal(out[:, 2:4], x[:, :, ::2, ::2])
    assert not out[:, [0, 1, 4, 5]].any()
