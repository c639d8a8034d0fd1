"""Teacher, student and loop: aligned maps, a loss that falls, a stop that changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from headstart.backbones.models.fire_resnet import WIDTHS, FireBlock, FireResNet
from headstart.errors import RecipeError, TrainingError
from headstart.pretraining.distil import Distiller, distillation_loss
from headstart.pretraining.pretrain import prepare, pretrain
from headstart.pretraining.recipe import RECIPES, recipe_of
from headstart.pretraining.teacher import Teacher
from pretraining.made_bank import TINY, untaught_teacher


def _teacher(size: int) -> Teacher:
    return Teacher(untaught_teacher(), size)


def _noise(count: int, size: int) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


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


def test_maps_have_deviation_1_on_what_they_were_measured_on() -> None:
    teacher, pixels = _teacher(64), _noise(6, 64)

    teacher.measure(pixels)

    for map_ in teacher(pixels):
        deviation = map_.std((0, 2, 3))
        assert deviation.max() < 1.001  # channels that hardly ever move keep less than 1
        assert deviation.median() == pytest.approx(1, abs=1e-3)


def test_onnxruntime_gives_the_maps_that_torch_gives() -> None:
    pytest.importorskip("onnxruntime")
    teacher, pixels = _teacher(64), _noise(3, 64)
    teacher.measure(pixels)
    expected = teacher(pixels)

    teacher.quicken()

    assert teacher._fast is not None
    found = teacher(pixels)
    assert all(torch.allclose(one, two, atol=1e-3) for one, two in zip(found, expected, strict=True))
    assert all(torch.equal(one, two) for one, two in zip(found, teacher(pixels), strict=True))


def test_a_student_with_the_teachers_weights_gives_its_maps_place_by_place() -> None:
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
    distiller.alone = True

    for size in (64, 96, 101):
        pixels = _noise(2, size)
        guesses = distiller(pixels, ())
        assert all(
            torch.allclose(one, two, atol=1e-4)
            for one, two in zip(guesses, Teacher(teacher, size).body(pixels), strict=True)
        )


def test_a_block_is_given_the_teachers_map_until_it_is_alone() -> None:
    distiller, teacher = Distiller(FireResNet()).eval(), _teacher(64)
    one, two = _noise(4, 64), _noise(8, 64)[4:]
    maps = teacher(one)

    same = [torch.equal(a, b) for a, b in zip(distiller(one, maps), distiller(two, maps), strict=True)]
    distiller.alone = True
    alone = [torch.equal(a, b) for a, b in zip(distiller(one, maps), distiller(two, maps), strict=True)]

    assert same == [False, *[True] * 8]
    assert alone == [False] * 9
    assert [len(guess) for guess in distiller(one, maps)] == [4] * 9
    distiller.alone = False
    assert [len(guess) for guess in distiller(one, maps)] == [1] * 4 + [4] * 5


def test_the_loss_is_the_mean_over_the_maps_however_large_they_are() -> None:
    small, large = torch.zeros(1, 2, 1, 1), torch.zeros(3, 2, 9, 9)

    loss = distillation_loss((small, large[:1]), (small + 0.5, large + 3.0))

    assert float(loss) == pytest.approx((0.5 * 0.5**2 + (3.0 - 0.5)) / 2)  # smooth L1 by hand


@pytest.mark.slow
def test_the_student_learns_what_the_teacher_sees() -> None:
    work = prepare(replace(TINY, epochs=6, alone=2, batches=6, batch=8), untaught_teacher())

    losses = [record.loss for record in work.epochs()]

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


def test_a_log_that_cannot_be_written_leaves_the_older_one_and_one_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrain(TINY, untaught_teacher(), tmp_path, minutes=0)
    log, write = tmp_path / "log.json", Path.write_text
    before = log.read_bytes()

    def full(path: Path, text: str, **options: str) -> None:
        write(path, text[:9], **options)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="No space left"):
            pretrain(TINY, untaught_teacher(), tmp_path, minutes=0)
    assert log.read_bytes() == before

    for damaged in ("", "[]", "{}"):
        log.write_text(damaged, encoding="utf-8")
        with pytest.raises(TrainingError, match=r"the log of a pretraining(.|\n)*log\.json"):
            pretrain(TINY, untaught_teacher(), tmp_path, minutes=0)


def test_a_pretraining_that_begins_with_another_has_its_student_and_names_it(tmp_path: Path) -> None:
    pretrain(TINY, untaught_teacher(), tmp_path / "first")
    still = replace(TINY, name="still", epochs=1, batches=1, rate=1e-9, size=72)

    pretrain(still, untaught_teacher(), tmp_path / "second", start=tmp_path / "first")

    log = json.loads((tmp_path / "second" / "log.json").read_text(encoding="utf-8"))
    assert log["started_from"]["recipe"]["name"] == "tiny"
    one, two = (load_file(tmp_path / folder / "embedded.safetensors") for folder in ("first", "second"))
    convolutions = [name for name, tensor in one.items() if tensor.dim() == 4]
    assert len(convolutions) == 25
    assert all(torch.allclose(one[name], two[name], atol=1e-3) for name in convolutions)


def test_an_unknown_recipe_is_answered_with_the_near_names() -> None:
    with pytest.raises(RecipeError, match="Did you mean small"):
        recipe_of("smal")
    assert recipe_of("small").pictures == 112 * 64 * 32


def test_every_epoch_has_new_pictures() -> None:
    work = prepare(TINY, untaught_teacher())
    work.loop.set_seed(0)

    first, second = ([pixels for pixels, *_ in work.pictures] for _ in range(2))

    assert len(first) == TINY.batches == len(work.pictures)
    assert not any(np.array_equal(a.numpy(), b.numpy()) for a in first for b in second)


def test_recipes_are_named_as_they_are_found_and_each_is_longer_than_the_one_before() -> None:
    assert all(recipe.name == name for name, recipe in RECIPES.items())
    assert list(RECIPES) == ["proof", "short", "small", "large"]
    assert [recipe.pictures for recipe in RECIPES.values()] == sorted(recipe.pictures for recipe in RECIPES.values())
