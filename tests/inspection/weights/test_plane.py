"""Weight plane: losses by hand, the same plane for a network in another scale, the weights come back."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from headstart.backbones.backbone import load_backbone
from headstart.errors import RecipeError
from headstart.figures.weight_plane import weight_plane_figure
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.weights.plane import bent_down, directions, weight_plane


def network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, eps=1e-12), nn.ReLU(), nn.Flatten(), nn.Linear(45, 2))
    model.train()
    with torch.no_grad():
        model[1].momentum = None
        model(images().pixels)
    return model.eval()


def images() -> InspectedImages:
    pixels = torch.randn(12, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    return InspectedImages(pixels, tuple(map(str, range(12))), labels=torch.arange(12) % 2, classes=("a", "b"))


def test_every_point_is_the_loss_of_the_weights_there():
    model, data = network(), images()
    plane = weight_plane(model, data, steps=5, reach=0.5, seed=4)
    first, second = directions(model, 4), directions(model, 5)
    other = copy.deepcopy(model)
    for row, b in enumerate(plane.at):
        for column, a in enumerate(plane.at):
            with torch.no_grad():
                for weight, origin, d, e in zip(other.parameters(), model.parameters(), first, second, strict=True):
                    weight.copy_(origin + a * d + b * e)
                expected = F.cross_entropy(other(data.pixels).double(), data.labels)
            assert plane.losses[row, column] == pytest.approx(float(expected), abs=1e-6)
    assert plane.at == (-0.5, -0.25, 0.0, 0.25, 0.5)


def test_filters_of_a_direction_are_as_long_as_the_networks_and_biases_stay():
    model = network()
    drawn = dict(zip([name for name, _ in model.named_parameters()], directions(model, 0), strict=True))
    for name in ("0.weight", "4.weight"):
        own = model.get_parameter(name).detach().flatten(1).norm(dim=1)
        torch.testing.assert_close(drawn[name].flatten(1).norm(dim=1), own)
    assert not any(drawn[name].any() for name in ("0.bias", "1.weight", "1.bias", "4.bias"))


@pytest.mark.parametrize("statistics", ["as they are", "re-estimated"])
def test_a_network_whose_filters_are_ten_times_as_long_has_the_same_plane_if_normalised_only(statistics):
    model, data = network(), images()
    larger = copy.deepcopy(model)
    with torch.no_grad():
        larger[0].weight[1:4].mul_(10)
        larger[0].bias[1:4].mul_(10)
        larger[1].running_mean[1:4].mul_(10)
        larger[1].running_var[1:4].mul_(100)
    planes = [weight_plane(one, data, steps=5, statistics=statistics).losses for one in (model, larger)]
    np.testing.assert_allclose(planes[0], planes[1], rtol=1e-4)
    plain = [weight_plane(one, data, steps=5, statistics=statistics, normalised=False) for one in (model, larger)]
    assert np.abs(plain[0].losses - plain[1].losses).max() > 0.05


def test_bowls_are_not_bent_down_and_domes_are():
    y, x = np.mgrid[-3:4, -3:4].astype(float)
    assert bent_down(x**2 + 2 * y**2) == 0.0
    assert bent_down(-(x**2) - y**2) == 1.0
    assert bent_down(x**2 - y**2) == 0.5


def test_a_model_that_is_not_the_lowest_point_is_told_so():
    model, data = network(), images()
    wrong = InspectedImages(data.pixels, data.names, labels=1 - model(data.pixels).argmax(1), classes=("a", "b"))
    plane = weight_plane(model, wrong, steps=5)
    assert plane.losses.min() < plane.centre
    assert plane.interpretation[0].startswith("The model is not the lowest point")


def test_it_is_an_insight_and_the_weights_come_back():
    model = network().train()
    before = copy.deepcopy(model.state_dict())
    plane = weight_plane(model, images(), steps=5, statistics="re-estimated")
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    json.dumps(plane.to_dict(), allow_nan=False)
    axes = plane.figure().axes[0]
    assert axes.get_title(loc="left") == "Loss around the model (+)"
    assert [line.get_xydata().tolist() for line in axes.lines] == [[[0.0, 0.0]]]
    assert "5 by 5 points" in plane.description


def test_a_flat_plane_can_be_drawn():
    weight_plane_figure(np.linspace(-1, 1, 5), np.ones((5, 5))).canvas.draw()


def test_large_networks_and_even_steps_are_refused():
    with pytest.raises(RecipeError, match="odd"):
        weight_plane(network(), images(), steps=6)
    large = nn.Sequential(nn.Flatten(), nn.Linear(75, 30_000))
    with pytest.raises(RecipeError, match="weight_line"):
        weight_plane(large, images())
    assert sum(weight.numel() for weight in load_backbone("embedded").network.parameters()) < 2_000_000
