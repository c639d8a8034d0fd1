"""The network of `random`: a quarter of the side after the stem, and blocks that begin at the identity."""

from __future__ import annotations

import torch
from torch import nn

from headstart.backbones.models.small_resnet import Block, SmallResNet


def test_maps_and_features_have_their_shapes() -> None:
    network, x = SmallResNet().eval(), torch.zeros(2, 3, 96, 96)
    maps = network.stem(x)
    assert maps.shape == (2, 32, 24, 24)
    assert network.stage4(network.stage3(network.stage2(network.stage1(maps)))).shape == (2, 256, 3, 3)
    assert network(x).shape == (2, 256)


def test_a_block_whose_convolutions_are_zero_passes_its_input_on() -> None:
    block = Block(4, 4, 1).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.rand(2, 4, 5, 5)
    assert torch.allclose(block(x), x)
