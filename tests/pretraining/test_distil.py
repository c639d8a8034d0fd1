"""Teacher, student and loop: aligned maps, a loss that falls, a stop that changes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from headstart.backbones.backbone import build_backbone
from headstart.backbones.catalogue import row_of
from headstart.errors import RecipeError, TrainingError
from headstart.pretraining.distil import Distiller, distillation_loss, student_grids
from headstart.pretraining.pretrain import prepare, pretrain
from headstart.pretraining.recipe import RECIPES, recipe_of
from headstart.pretraining.teacher import _FIRST, _STRIDE, Grid, Teacher, reading
from pretraining.made_bank import TINY, untaught_teacher


def test_a_map_read_off_elsewhere_keeps_a_slope() -> None:
    source, target = Grid(5, 4, 22), Grid(0, 8, 12)
    slope = 3.0 * source.centres() + 1

    read = reading(source, target) @ slope

    inside = (target.centres() >= 13) & (target.centres() <= 81)  # a whole triangle has room
    assert inside.sum() >= 8
    assert torch.allclose(read[inside], 3.0 * target.centres()[inside] + 1, atol=1e-4)
    assert torch.allclose(reading(source, target).sum(1), torch.ones(12))


def _centre_and_step(layers: Sequence[nn.Module]) -> tuple[float, float]:
    """Pixel that the first place of the last layer is centred on, and the step between places, by their geometry."""
    centre, step = 0.0, 1.0
    for layer in layers:
        kernel, stride, padding = (
            value[0] if isinstance(value, tuple) else value
            for value in (layer.kernel_size, layer.stride, layer.padding)
        )
        centre += step * ((kernel - 1) / 2 - padding)
        step *= stride
    return centre, step


def test_the_grids_are_where_the_layers_really_look() -> None:
    body = untaught_teacher().network.get_submodule("features")
    sizing = [layer for layer in body.children() if isinstance(layer, (nn.Conv2d, nn.MaxPool2d))]  # fires keep places
    teacher = [_centre_and_step(sizing[:count]) for count in (2, 3, 4)]  # one pool before fire 4, two before 8, three
    network = build_backbone(row_of("embedded")).network
    student = [
        _centre_and_step([network.stem[0], network.stem[3], network.stage2.conv1]),
        _centre_and_step([network.stem[0], network.stem[3], network.stage2.conv1, network.stage3.conv1]),
    ]

    assert teacher == [(5, 4), (9, 8), (17, 16)] == list(zip(_FIRST, _STRIDE, strict=True))
    assert student == [(0, 8), (0, 16)]
    assert [(grid.first, grid.step, grid.count) for grid in student_grids(96)] == [(0, 8, 12), (0, 16, 6), (0, 16, 6)]


def test_targets_have_mean_0_and_deviation_1_on_what_they_were_measured_on() -> None:
    teacher = Teacher(untaught_teacher(), student_grids(64), 64)
    pixels = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    teacher.measure(pixels)

    for target, width in zip(teacher(pixels), (256, 512, 512), strict=True):
        deviation = target.std((0, 2, 3))
        assert target.shape[1] == width
        assert target.mean((0, 2, 3)).abs().max() < 1e-3
        assert deviation.max() < 1.001  # channels that hardly ever speak keep less than 1
        assert deviation.quantile(0.75) == pytest.approx(1, abs=1e-3)


def test_onnxruntime_gives_the_targets_that_torch_gives() -> None:
    pytest.importorskip("onnxruntime")
    teacher = Teacher(untaught_teacher(), student_grids(64), 64)
    pixels = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    teacher.measure(pixels)
    expected = teacher(pixels)

    teacher.quicken()

    assert teacher._fast is not None
    found = teacher(pixels)
    assert all(torch.allclose(one, two, atol=5e-3) for one, two in zip(found, expected, strict=True))  # roots near 0
    assert all(torch.equal(one, two) for one, two in zip(found, teacher(pixels), strict=True))


def test_guesses_have_the_shape_of_the_targets_at_every_size() -> None:
    student = build_backbone(row_of("embedded")).network
    for size in (64, 96, 100):
        teacher = Teacher(untaught_teacher(), student_grids(size), size)
        pixels = torch.zeros(2, 3, size, size)
        guesses = Distiller(student)(pixels)  # type: ignore[arg-type]
        assert [guess.shape for guess in guesses] == [target.shape for target in teacher(pixels)]


def test_the_loss_is_the_mean_over_the_maps_however_large_they_are() -> None:
    small, large = torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, 9, 9)

    loss = distillation_loss((small, large), (small + 0.5, large + 3.0))

    assert float(loss) == pytest.approx((0.5 * 0.5**2 + (3.0 - 0.5)) / 2)  # smooth L1 by hand


def test_the_student_learns_what_the_teacher_sees() -> None:
    work = prepare(replace(TINY, epochs=6, batches=6, batch=8), untaught_teacher())

    losses = [record.loss for record in work.loop.epochs(6, seed=0)]

    assert losses[-1] < 0.85 * losses[0]


def test_a_pretraining_that_was_stopped_and_resumed_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = pretrain(TINY, untaught_teacher(), tmp_path / "whole")

    stopped = [pretrain(TINY, untaught_teacher(), tmp_path / "parts", minutes=0) for _ in range(3)]

    assert stopped[:2] == [None, None]
    assert whole is not None
    assert stopped[2] is not None
    one, two = load_file(whole), load_file(stopped[2])
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert all(tensor.dtype == torch.float16 for tensor in one.values())


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    pretrain(TINY, untaught_teacher(), tmp_path, minutes=0)

    with pytest.raises(TrainingError, match="a folder of the recipe tiny"):
        pretrain(replace(TINY, batch=5), untaught_teacher(), tmp_path)


def test_a_pretraining_that_begins_with_another_has_its_student_and_names_it(tmp_path: Path) -> None:
    pretrain(TINY, untaught_teacher(), tmp_path / "first")
    still = replace(TINY, name="still", epochs=1, batches=1, rate=1e-9, size=72)

    pretrain(still, untaught_teacher(), tmp_path / "second", start=tmp_path / "first")

    log = json.loads((tmp_path / "second" / "log.json").read_text(encoding="utf-8"))
    assert log["started_from"]["recipe"]["name"] == "tiny"
    one, two = (load_file(tmp_path / folder / "embedded.safetensors") for folder in ("first", "second"))
    convolutions = [name for name, tensor in one.items() if tensor.dim() == 4]
    assert len(convolutions) == 12
    assert all(torch.allclose(one[name], two[name], atol=1e-3) for name in convolutions)


def test_an_unknown_recipe_is_answered_with_the_near_names() -> None:
    with pytest.raises(RecipeError, match="Did you mean small"):
        recipe_of("smal")
    assert recipe_of("small").pictures == 330 * 64 * 32


def test_every_epoch_has_new_pictures() -> None:
    work = prepare(TINY, untaught_teacher())
    work.loop.set_seed(0)

    first, second = ([pixels for pixels, _ in work.pictures] for _ in range(2))

    assert len(first) == TINY.batches == len(work.pictures)
    assert not any(np.array_equal(a.numpy(), b.numpy()) for a in first for b in second)


def test_recipes_are_named_as_they_are_found_and_each_is_longer_than_the_one_before() -> None:
    assert all(recipe.name == name for name, recipe in RECIPES.items())
    assert list(RECIPES) == ["proof", "short", "small", "large"]
    assert [recipe.pictures for recipe in RECIPES.values()] == sorted(recipe.pictures for recipe in RECIPES.values())
