"""Networks built without drawing: the same but for the weights; what is not loaded is drawn."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.backbones.backbone import build_backbone
from headstart.backbones.catalogue import find_spec
from headstart.backbones.skip_init import SkipInit, reset_parameters


def test_random_fills_become_zeros_and_all_else_stays() -> None:
    before = torch.random.get_rng_state()
    with SkipInit():
        layer, norm = nn.Linear(4, 3), nn.BatchNorm2d(5)
        drawn = torch.randn(2)
    assert torch.equal(layer.weight, torch.zeros(3, 4))
    assert layer.weight.requires_grad
    assert torch.equal(norm.weight, torch.ones(5))
    assert drawn.abs().sum() > 0  # only what fills a tensor in place is skipped

    with torch.random.fork_rng():
        torch.random.set_rng_state(before)
        torch.randn(2)
        expected = torch.random.get_rng_state()
    assert torch.equal(torch.random.get_rng_state(), expected)

    reset_parameters([nn.Sequential(layer)])
    assert layer.weight.abs().min() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "embedded", "squeezenet1_0", "mobilenet_v2"])
def test_a_network_that_is_loaded_is_the_same_as_one_that_was_drawn(name: str) -> None:
    drawn, built = build_backbone(find_spec(name), seed=3), build_backbone(find_spec(name), draws=False)
    state = drawn.network.state_dict()

    head = [value for key, value in built.network.state_dict().items() if key not in built.state()]
    assert all(bool(value.abs().sum() > 0) for value in head if value.ndim > 1)  # a head without weights is drawn
    assert list(state) == list(built.network.state_dict())
    built.load_state(state)

    assert all(torch.equal(value, state[key]) for key, value in built.network.state_dict().items())
    kept = dict(drawn.network.named_buffers())
    assert all(torch.equal(value, kept[key]) for key, value in built.network.named_buffers())
