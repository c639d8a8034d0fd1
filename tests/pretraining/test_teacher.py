"""The teacher: its maps are those before the ReLU, on one scale, on onnxruntime too."""

from __future__ import annotations

import pytest
import torch

from headstart.backbones.models.fire_resnet import WIDTHS
from headstart.pretraining.teacher import Teacher
from pretraining.made_bank import untaught_teacher


def _teacher(size: int) -> Teacher:
    return Teacher(untaught_teacher(), size)


def _noise(count: int, size: int) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
def test_the_teachers_maps_are_those_of_its_layers_before_their_relu() -> None:
    features = untaught_teacher().network.get_submodule("features").eval()
    layers = list(features.children())
    fires = [index for index, layer in enumerate(layers) if type(layer).__name__ == "Fire"]
    pixels = _noise(2, 64)

    maps = _teacher(64).body(pixels)

    assert [map_.shape[1] for map_ in maps] == list(WIDTHS)
    for map_, index in zip(maps[1:], fires, strict=True):
        assert torch.allclose(map_.relu(), features[: index + 1](pixels), atol=1e-5)
    assert torch.allclose(maps[0], layers[0](pixels), atol=1e-5)
    assert all((map_ < 0).any() for map_ in maps)


def test_moving_the_teacher_leaves_the_backbone_it_was_made_of_where_it_is() -> None:
    backbone = untaught_teacher()

    Teacher(backbone, 64).double()

    assert {weight.dtype for weight in backbone.network.parameters()} == {torch.float32}


@pytest.mark.slow
def test_maps_have_deviation_1_on_what_they_were_measured_on() -> None:
    teacher, pixels = _teacher(64), _noise(6, 64)

    teacher.measure(pixels)

    for map_ in teacher(pixels):
        deviation = map_.std((0, 2, 3))
        assert deviation.max() < 1.001  # channels that hardly ever move keep less than 1
        assert deviation.median() == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_onnxruntime_gives_the_maps_that_torch_gives() -> None:
    pytest.importorskip("onnxruntime")
    teacher, pixels = _teacher(64), _noise(3, 64)
    teacher.measure(pixels)
    expected = teacher(pixels)

    assert teacher.use_onnxruntime()

    found = teacher(pixels)
    assert all(torch.allclose(one, two, atol=1e-3) for one, two in zip(found, expected, strict=True))
    assert all(torch.equal(one, two) for one, two in zip(found, teacher(pixels), strict=True))
