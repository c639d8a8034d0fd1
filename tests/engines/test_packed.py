"""Packed convolutions: every convolution of a folded graph, with what follows it."""

from __future__ import annotations

import pytest
import torch

from engines.engine_checks import furthest, made, noise
from headstart.engines.benchmark import TOLERANCE
from headstart.engines.fold import fold
from headstart.engines.packed import can_pack, measure_shapes, pack

pytestmark = pytest.mark.skipif(not can_pack(), reason="torch was built without oneDNN here")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar_resnet20", "mobilenet_v2_035", "resnet18"])
def test_every_convolution_activation_and_sum_with_a_shortcut_is_packed(name: str) -> None:
    backbone = made(name)
    body = fold(backbone.inference)
    largest = measure_shapes(body, backbone.preprocess.crop)

    pack(body, 2)

    left = [type(module).__name__ for module in body.modules()]
    assert largest > 0
    assert not {"Conv2d", "ReLU", "ReLU6"} & set(left)
    assert "PackedConv" in left
    assert not [node for node in body.graph.nodes if "add" in node.name and node.op == "call_function"]
    pixels = noise(backbone, 3)
    with torch.inference_mode():
        assert furthest(backbone, body(pixels), pixels) <= TOLERANCE
