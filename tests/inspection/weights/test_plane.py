"""Weight plane: losses by hand, the same plane for a network in another scale, the weights are restored."""

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
from headstart.inspection.weights.plane import MOST_PARAMETERS, negative_curvature, random_direction, weight_plane

FIVE = (-1.0, -0.5, 0.0, 0.5, 1.0)


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
    plane = weight_plane(model, data, at=(-0.5, -0.25, 0.0, 0.25, 0.5), seed=4)
    first, second = random_direction(model, 4), random_direction(model, 5)
    other = copy.deepcopy(model)
    for row, b in enumerate(plane.at):
        for column, a in enumerate(plane.at):
            with torch.no_grad():
                for weight, origin, d, e in zip(other.parameters(), model.parameters(), first, second, strict=True):
                    weight.copy_(origin + a * d + b * e)
                expected = F.cross_entropy(other(data.pixels).double(), data.labels)
            assert plane.losses[row, column] == pytest.approx(float(expected), abs=1e-6)
    assert plane.at == (-0.5, -0.25, 0.0, 0.25, 0.5)


def test_filters_of_a_direction_have_the_length_of_the_networks_and_biases_stay():
    model = network()
    drawn = dict(zip([name for name, _ in model.named_parameters()], random_direction(model, 0), strict=True))
    for name in ("0.weight", "4.weight"):
        own = model.get_parameter(name).detach().flatten(1).norm(dim=1)
        torch.testing.assert_close(drawn[name].flatten(1).norm(dim=1), own)
    assert not any(drawn[name].any() for name in ("0.bias", "1.weight", "1.bias", "4.bias"))


@pytest.mark.slow
@pytest.mark.parametrize("reestimated", [False, True])
def test_a_network_whose_filters_are_ten_times_as_long_has_the_same_plane_if_normalised_only(reestimated):
    model, data = network(), images()
    larger = copy.deepcopy(model)
    with torch.no_grad():
        larger[0].weight[1:4].mul_(10)
        larger[0].bias[1:4].mul_(10)
        larger[1].running_mean[1:4].mul_(10)
        larger[1].running_var[1:4].mul_(100)
    options = {"at": FIVE, "reestimate_statistics": reestimated}
    planes = [weight_plane(one, data, **options).losses for one in (model, larger)]
    np.testing.assert_allclose(planes[0], planes[1], rtol=1e-4)
    plain = [
        weight_plane(one, data, at=FIVE, reestimate_statistics=reestimated, normalised=False) for one in (model, larger)
    ]
    assert np.abs(plain[0].losses - plain[1].losses).max() > 0.05


def test_bowls_have_no_negative_curvature_and_domes_nothing_else():
    y, x = np.mgrid[-3:4, -3:4].astype(float)
    assert negative_curvature(x**2 + 2 * y**2) == 0.0
    assert negative_curvature(-(x**2) - y**2) == 1.0
    assert negative_curvature(x**2 - y**2) == 0.5


def test_a_model_that_is_not_the_lowest_point_is_reported():
    model, data = network(), images()
    wrong = InspectedImages(data.pixels, data.names, labels=1 - model(data.pixels).argmax(1), classes=("a", "b"))
    plane = weight_plane(model, wrong, at=FIVE)
    assert plane.losses.min() < plane.centre
    assert plane.interpretation[0].startswith("The model is not the lowest point")


def test_the_weights_are_restored_and_the_figure_marks_the_model():
    model = network().train()
    before = copy.deepcopy(model.state_dict())
    plane = weight_plane(model, images(), at=FIVE, reestimate_statistics=True)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    json.dumps(plane.to_dict(), allow_nan=False)
    axes = plane.figure().axes[0]
    assert axes.get_title(loc="left") == "Loss around the model (+)"
    assert [line.get_xydata().tolist() for line in axes.lines] == [[[0.0, 0.0]]]
    assert "5 by 5 points" in plane.description


def test_a_flat_plane_is_one_colour_at_its_loss():
    figure = weight_plane_figure(np.linspace(-1, 1, 5), np.ones((5, 5)))
    figure.canvas.draw()  # warnings are errors
    (filled,) = [
        one for one in figure.axes[0].collections if one.get_array() is not None and one.norm.vmin is not None
    ][:1]
    labels = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert filled.get_clim() == pytest.approx((0.0, 1e-6), abs=1e-6)
    assert labels == ["1"] * len(labels) != []


def test_large_networks_and_other_grids_are_refused():
    for at in (np.linspace(-1, 1, 6), (-1, 0, 1), (-2, -1, 0.5, 1, 2), (2, 1, 0, -1, -2)):
        with pytest.raises(RecipeError, match="odd number of increasing positions"):
            weight_plane(network(), images(), at=tuple(at))
    large = nn.Sequential(nn.Flatten(), nn.Linear(75, 30_000))
    with pytest.raises(RecipeError, match="weight_line"):
        weight_plane(large, images())


def test_the_embedded_backbone_is_small_enough():
    assert sum(weight.numel() for weight in load_backbone("embedded").network.parameters()) < MOST_PARAMETERS
