"""Layers by name, and the filters of convolutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.errors import TrainingError
from headstart.training.layers import filters_of, layers_named


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


def test_a_name_is_matched_whole() -> None:
    model = _Network()
    assert list(layers_named(model, "hidden")) == ["hidden"]  # in the book's class a string also hooks its parts
    assert list(layers_named(model, ("output", "hidden"))) == ["hidden", "output"]


def test_filters_are_weights_by_filter_and_channel() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Sequential(nn.Conv1d(2, 4, 7)), nn.ConvTranspose2d(6, 2, 3))

    assert np.array_equal(filters_of(model, "0"), model[0].weight.detach().numpy())
    assert np.array_equal(filters_of(model, "1.0")[:, :, 0], model[1][0].weight.detach().numpy())
    turned = filters_of(model, "2")
    assert turned.shape == (2, 6, 3, 3)
    assert np.array_equal(turned[1, 4], model[2].weight[4, 1].detach().numpy())

    filters_of(model, "0")[:] = 0
    assert model[0].weight.abs().sum() > 0  # a copy


@pytest.mark.parametrize("layer", [nn.Linear(2, 3), nn.ReLU(), nn.Conv3d(1, 1, 3), nn.LazyConv2d(4, 3)])
def test_a_layer_without_filters_is_refused_and_convolutions_are_named(layer: nn.Module) -> None:
    """D21: the book's class gives None."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), layer)
    with pytest.raises(TrainingError, match=f"'1', a {type(layer).__name__}.*Convolutions here: 0"):
        filters_of(model, "1")
    with pytest.raises(TrainingError, match="a layer of Sequential"):
        filters_of(model, "conv1")
    with pytest.raises(TrainingError, match="no convolution"):
        filters_of(nn.Sequential(nn.Linear(1, 1)), "0")
