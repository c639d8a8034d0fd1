"""Residual blocks before and after training: those that changed are named."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import Tensor, nn

from headstart.backbones.models.cifar_resnet import cifar_resnet20
from headstart.errors import DataError
from headstart.inspection.residual.blocks import residual_blocks
from headstart.inspection.residual.change import compare_residuals


def images(count: int) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
def test_blocks_that_changed_are_named():
    torch.manual_seed(4)
    before = cifar_resnet20().eval()
    after = copy.deepcopy(before)
    nn.init.constant_(after.layer3[1].bn2.weight, 3.0)
    pixels = images(8)
    change = compare_residuals(*(residual_blocks(one, pixels, ablation=False) for one in (before, after)))
    assert change.moved[0] == "layer3.1"
    assert "The 7 blocks before layer3.1 did not change" in change.interpretation[1]
    json.dumps(change.to_dict())
    assert len(change.figure().axes) == 2
    with pytest.raises(DataError, match="same blocks"):
        compare_residuals(change.before, residual_blocks(before, pixels[:4], ablation=False))


def test_no_change_is_reported():
    found = residual_blocks(cifar_resnet20(), images(4), ablation=False)
    assert compare_residuals(found, found).moved == ()
    assert "No block changed" in compare_residuals(found, found).interpretation[0]
