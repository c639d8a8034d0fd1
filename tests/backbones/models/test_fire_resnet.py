"""The network of `embedded`: fire modules whose two branches lie side by side, with a scaled shortcut."""

from __future__ import annotations

import torch
from torch import nn

from headstart.backbones.models.fire_resnet import WIDTHS, FireBlock, FireResNet


def test_layers_run_in_the_order_of_the_forward_pass() -> None:
    network, x = FireResNet().eval(), torch.rand(2, 3, 104, 104)
    y = x
    for layer in network.layers():
        y = layer(y)
    assert torch.equal(network(x), y.mean((2, 3)))
    assert y.shape[:2] == (2, WIDTHS[-1])


def test_a_block_is_its_two_branches_side_by_side_plus_the_shortcut() -> None:
    block, x = FireBlock(8, 2, 8).eval(), torch.rand(1, 8, 6, 6)
    few = block.bn(block.squeeze(x)).relu()
    branches = torch.cat([block.bn1(block.expand1(few)), block.bn3(block.expand3(few))], 1)
    assert torch.allclose(block(x), (branches + block.shortcut(x)).relu())


def test_a_block_that_changes_the_width_has_no_shortcut() -> None:
    assert FireBlock(8, 2, 16).shortcut is None
    assert isinstance(FireBlock(8, 2, 8).shortcut, nn.BatchNorm2d)
