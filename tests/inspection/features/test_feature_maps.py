"""Feature maps: the maps are those of the stages, and classes separate where they were made to."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from headstart.backbones.backbone import load_backbone
from headstart.errors import BackboneError, DataError
from headstart.inspection.features.feature_maps import feature_maps
from headstart.inspection.inspected_images import InspectedImages


class Planted(nn.Module):
    """Two stages of maps: noise of the image, then red and green apart; then a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 6, 1)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))
        with torch.no_grad():
            self.first.weight.zero_()
            self.first.weight[3, 0, 1, 1] = 1.0
            self.second.weight.zero_()
            self.first.bias.zero_()
            self.second.bias.zero_()
            self.second.bias[0] = 0.1  # something that does not grow with red: rows are scaled to unit length
            self.second.weight[2, 3] = 1.0
            self.second.weight[5, 3] = -0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(self.first(x)))


def red_and_not(count: int = 40) -> InspectedImages:
    pixels = 0.1 * torch.rand(count, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(count) % 2
    pixels[labels == 1, 0, 2:7, 2:7] += 1.0
    return InspectedImages(pixels, tuple(f"{i}.png" for i in range(count)), labels=labels, classes=("dull", "red"))


def test_maps_channels_and_class_means_are_those_of_the_network():
    network, images = Planted(), red_and_not()
    result = feature_maps(network, images, image=33)  # in the second batch
    with torch.inference_mode():
        maps = network.second(network.first(images.pixels))
    second = result.stages[1]

    assert (second.stage, second.shape, result.shown) == ("second", (6, 9, 9), "33.png")
    assert [channel for channel, _ in second.maps[:2]] == [2, 5]
    np.testing.assert_allclose(second.maps[0][1], maps[33, 2], atol=1e-6)
    np.testing.assert_allclose(second.mean, maps[33].abs().mean(0), atol=1e-6)
    assert second.silent == (0, 1, 3, 4)
    assert second.zeros == pytest.approx(float((maps <= 0).float().mean()), abs=1e-6)
    assert (second.nearest_mean.value, second.nearest_mean.n) == (1.0, 40)
    assert result.discriminative in (("second", 2), ("second", 5))
    for name, label in (("dull", 0), ("red", 1)):
        expected = maps[images.labels == label, result.discriminative[1]].mean(0)
        np.testing.assert_allclose(result.class_maps[name], expected, atol=1e-5)
    assert "second (4 of 6)" in " ".join(result.interpretation)


def test_without_labels_classes_are_not_mentioned():
    result = feature_maps(load_backbone("embedded"), torch.rand(3, 3, 64, 64))
    assert all(stage.nearest_mean is None for stage in result.stages)
    assert not result.class_maps
    assert "class" not in " ".join(result.interpretation)
    assert [stage.stage for stage in result.stages] == list(load_backbone("embedded").stages)


@pytest.mark.slow
def test_it_leaves_no_hook_and_its_values_are_json():
    network = Planted().train()
    result = feature_maps(network, red_and_not())
    assert network.training
    assert not any(part._forward_hooks for part in network.modules())
    json.dumps(result.to_dict(), allow_nan=False)
    # the image, then two stages with their mean and four channels, then two class means
    assert len(result.figure().axes) == 1 + 2 * 5 + 2
    assert "first, second" in result.description
    assert "nearest-mean accuracy" in str(result.tables[0])


def test_one_value_of_a_channel_does_not_make_it_constant():
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    one, two = (feature_maps(network, torch.rand(count, 3, 8, 8)) for count in (1, 2))
    assert [stage.silent for stage in one.stages[1:]] == [()] * 3
    assert "constant" in one.interpretation[0]
    with torch.no_grad():
        network[3].weight[2] = 0.0
    assert feature_maps(network, torch.rand(2, 3, 8, 8)).stages[3].silent == (2,)
    assert two.stages[3].silent == ()


@pytest.mark.parametrize("image", [-1, 3])
def test_an_image_that_is_not_there_cannot_be_drawn(image):
    with pytest.raises(DataError, match="from 0 to 2"):
        feature_maps(Planted(), torch.rand(3, 3, 9, 9), image=image)


def test_a_network_of_vectors_has_no_maps():
    with pytest.raises(BackboneError, match="maps"):
        feature_maps(nn.Sequential(nn.Flatten(), nn.Linear(27, 4)), torch.rand(2, 3, 3, 3))


def test_a_failing_forward_pass_leaves_no_hook():
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Linear(999, 2)).train()
    with pytest.raises(RuntimeError):
        feature_maps(network, torch.rand(1, 3, 8, 8))
    assert network.training
    assert not any(part._forward_hooks for part in network.modules())
