"""One batch norm's drift: dead and saturated channels, and which activation follows each batch norm."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from headstart.inspection.batch_norm.drift import batch_norm_drift
from headstart.inspection.batch_norm.layer_drift import activations_after
from headstart.inspection.graph import record_graph
from smooth_images import settled, smooth_images


def activations(network: nn.Module, side: int = 32) -> dict[str, str]:
    return activations_after(record_graph(network.eval(), torch.zeros(1, 3, side, side), on_meta=False))


def test_dead_and_saturated_channels_are_those_whose_activation_is_zero_or_full():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU6()).eval()
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([-50.0, 0.0, 50.0]))
    layer = batch_norm_drift(model, smooth_images(5)).layers[0]
    assert layer.activation == "relu6"
    assert layer.dead.tolist() == [True, False, False]
    assert layer.saturated.tolist() == [False, False, True]


def test_a_channel_is_not_dead_where_no_activation_follows():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1)).eval()
    with torch.no_grad():
        model[0].bias.fill_(-50.0)
    assert not batch_norm_drift(model, smooth_images(5)).layers[0].dead.any()


def test_a_channel_that_hardly_varies_any_more_is_silent():
    pixels = smooth_images(50)
    model = settled(pixels)
    quiet = pixels.mean((0, 2, 3), keepdim=True) + 0.05 * pixels
    layer = batch_norm_drift(model, quiet).layers[0]
    assert layer.silent.all()
    assert layer.to_dict()["silent"] == list(range(12))
    assert not batch_norm_drift(model, pixels).layers[0].silent.any()


@pytest.mark.slow
def test_activations_are_found_in_functions_modules_and_in_place():
    resnet = activations(torchvision.models.resnet18(weights=None))
    assert resnet["bn1"] == resnet["layer1.0.bn1"] == "relu"
    assert "layer1.0.bn2" not in resnet  # its output is added first
    assert "layer2.0.downsample.1" not in resnet
    mobilenet = activations(torchvision.models.mobilenet_v3_small(weights=None))
    assert set(mobilenet.values()) == {"relu", "hardswish"}
    assert mobilenet["features.0.1"] == "hardswish"
    assert activations(torchvision.models.mobilenet_v2(weights=None))["features.0.1"] == "relu6"


@pytest.mark.slow
def test_layers_that_normalise_and_activate_in_one_are_included():
    network = pytest.importorskip("timm").create_model("efficientnet_b0")
    assert activations(network)["bn1"] == "silu"
