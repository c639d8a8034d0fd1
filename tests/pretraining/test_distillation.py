"""Blockwise distillation: aligned maps, teacher forcing and free running, the loss, new pictures in every epoch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from headstart.backbones.models.fire_resnet import FireBlock, FireResNet
from headstart.pretraining.distillation import Distiller, distillation_loss
from headstart.pretraining.pretrain import prepare
from headstart.pretraining.teacher import Teacher
from pretraining.made_bank import TINY, untaught_teacher


def _teacher(size: int) -> Teacher:
    return Teacher(untaught_teacher(), size)


def _noise(count: int, size: int) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
def test_a_student_with_the_teachers_weights_gives_its_maps_at_every_position() -> None:
    teacher, student = untaught_teacher(), FireResNet().eval()
    features = teacher.network.get_submodule("features")
    convolutions = [module for module in features.modules() if isinstance(module, nn.Conv2d)]
    norms = [(student.stem.conv, student.stem.bn)]
    for block in (layer for layer in student.layers() if isinstance(layer, FireBlock)):
        norms += [(block.squeeze, block.bn), (block.expand1, block.bn1), (block.expand3, block.bn3)]
        if block.shortcut is not None:
            nn.init.zeros_(block.shortcut.weight)
    with torch.no_grad():
        for theirs, (own, norm) in zip(convolutions, norms, strict=True):
            own.weight.copy_(theirs.weight)
            assert theirs.bias is not None
            norm.bias.copy_(theirs.bias)
            norm.running_var.fill_(1 - norm.eps)  # type: ignore[union-attr]
    distiller = Distiller(student)
    distiller.free_running = True

    for size in (64, 96, 101):
        pixels = _noise(2, size)
        predicted = distiller(pixels, ())
        assert all(
            torch.allclose(one, two, atol=1e-4)
            for one, two in zip(predicted, Teacher(teacher, size).body(pixels), strict=True)
        )


@pytest.mark.slow
def test_a_block_gets_the_teachers_map_until_it_runs_freely() -> None:
    distiller, teacher = Distiller(FireResNet()).eval(), _teacher(64)
    one, two = _noise(4, 64), _noise(8, 64)[4:]
    maps = teacher(one)

    same = [torch.equal(a, b) for a, b in zip(distiller(one, maps), distiller(two, maps), strict=True)]
    distiller.free_running = True
    free = [torch.equal(a, b) for a, b in zip(distiller(one, maps), distiller(two, maps), strict=True)]

    assert same == [False, *[True] * 8]
    assert free == [False] * 9
    assert [len(map_) for map_ in distiller(one, maps)] == [4] * 9
    distiller.free_running = False
    assert [len(map_) for map_ in distiller(one, maps)] == [1] * 4 + [4] * 5


def test_the_loss_is_the_mean_over_the_maps_however_large_they_are() -> None:
    small, large = torch.zeros(1, 2, 1, 1), torch.zeros(3, 2, 9, 9)

    loss = distillation_loss((small, large[:1]), (small + 0.5, large + 3.0))

    assert float(loss) == pytest.approx((0.5 * 0.5**2 + (3.0 - 0.5)) / 2)  # smooth L1 by hand


@pytest.mark.slow
def test_every_epoch_has_new_pictures() -> None:
    work = prepare(TINY, untaught_teacher())
    work.loop.set_seed(0)

    first, second = ([pixels for pixels, *_ in work.pictures] for _ in range(2))

    assert len(first) == TINY.batches == len(work.pictures)
    assert not any(np.array_equal(a.numpy(), b.numpy()) for a in first for b in second)
