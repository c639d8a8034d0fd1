"""Engines from outside that misbehave: the error names them, and neither pixels nor weights are touched."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from engines.engine_checks import made, noise
from headstart.backbones.backbone import Backbone
from headstart.engines.foreign import foreign_forward
from headstart.errors import BackboneError
from headstart.registry import ENGINES, register_engine


@pytest.fixture
def register() -> Iterator[Callable[[Any], Any]]:
    yield register_engine("mine")
    ENGINES.remove("mine")


def raising(backbone: Backbone) -> Any:
    raise ValueError("no such chip")


def leaving(backbone: Backbone) -> Any:
    sys.exit(3)


@pytest.mark.parametrize(
    ("build", "found"),
    [
        (raising, "ValueError: no such chip"),
        (leaving, r"it called sys\.exit"),
        (lambda backbone: None, "NoneType in the place of a function"),
        (lambda: None, "TypeError"),
    ],
)
def test_one_that_cannot_be_built_is_named(register: Callable[[Any], Any], build: Any, found: str) -> None:
    register(build)

    with pytest.raises(BackboneError, match=f"engine 'mine' of the script that registers it, found .*{found}"):
        foreign_forward("mine", made("cifar_resnet20"))


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda features: None, "NoneType in the place of a tensor"),
        (lambda features: features.numpy(), "ndarray"),
        (lambda features: features[:1], r"features of shape \(1, "),
        (lambda features: features[:, :3], r"features of shape \(2, 3\)"),
        (lambda features: features.to("meta"), "on meta"),
        (lambda features: features + 0j, "complex64"),
        (lambda features: features.to_sparse(), "sparse"),
        (lambda features: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_each_call_is_checked(register: Callable[[Any], Any], spoil: Any, found: str) -> None:
    backbone = made("cifar_resnet20")
    register(lambda given: lambda pixels: spoil(given.plain_features(pixels).clone()))

    with pytest.raises(BackboneError, match=f"engine 'mine'.*{found}"):
        foreign_forward("mine", backbone)(noise(backbone, 2))


def test_pixels_and_weights_stay_and_doubles_become_float32(register: Callable[[Any], Any]) -> None:
    backbone = made("cifar_resnet20")
    before = {name: tensor.clone() for name, tensor in backbone.network.state_dict().items()}

    @register
    def careless(given: Backbone) -> Any:
        for parameter in given.network.parameters():
            parameter.data.zero_()

        def forward(pixels: torch.Tensor) -> torch.Tensor:
            features = given.plain_features(pixels).double()
            pixels.zero_()
            return features

        return forward

    pixels = noise(backbone, 2)
    found = foreign_forward("mine", backbone)(pixels)

    assert found.dtype == torch.float32
    assert torch.equal(found, backbone.plain_features(pixels))
    assert pixels.abs().sum() > 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.network.state_dict().items())
