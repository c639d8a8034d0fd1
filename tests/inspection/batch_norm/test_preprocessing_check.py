"""The preprocessing check: planted mistakes are found, correct preprocessing passes."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from headstart.backbones.backbone import load_backbone
from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.errors import DataError
from headstart.inspection.batch_norm.preprocessing_check import check_preprocessing
from headstart.inspection.batch_norm.preprocessing_variants import variants_of
from headstart.pretraining.bank import draw_bank
from headstart.pretraining.scene import draw_pictures
from stems import new_stem, photographs, trained_stem, variant


@pytest.mark.slow
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("mistake", ["none", "raw", "twice", "bgr", "half"])
def test_every_planted_mistake_stops_and_the_correct_variant_is_named(mistake, padding):
    model = trained_stem(variant("card"), photographs(300), padding)
    own = photographs(64, seed=1)
    found = check_preprocessing(model, own, pixels=variant(mistake).apply(own))
    assert found.stops
    assert found.current.variant == mistake
    assert found.alternative.variant == "imagenet"  # the module has no card: ImageNet's numbers stand for it
    assert "--accept-preprocessing" in found.interpretation[-1]


@pytest.mark.parametrize(("light", "contrast"), [(0.45, 0.29), (0.8, 0.15), (0.2, 0.1), (0.6, 0.35)])
@pytest.mark.slow
def test_the_correct_variant_is_fine_whatever_the_users_images_are_like(light, contrast):
    model = trained_stem(variant("card"), photographs(300))
    own = photographs(64, 2, light, contrast)
    assert check_preprocessing(model, own, pixels=variant("card").apply(own)).verdict == "fine"


@pytest.mark.slow
def test_a_card_that_is_wrong_is_found_from_the_weights():
    own = photographs(64, seed=3)
    backbone = load_backbone("embedded")
    backbone.network.stem.bn = nn.BatchNorm2d(96).eval()
    half = variant("half", backbone.preprocess)
    recalibrate_batch_norm(backbone.network, lambda: [half.apply(photographs(200))])
    found = check_preprocessing(backbone, own)
    assert found.stops
    assert found.current.variant == "card"
    assert found.alternative.variant == "half"


@pytest.mark.slow
def test_images_of_another_kind_are_fine_where_the_spec_describes_them():
    own, backbone = photographs(64, seed=3), load_backbone("embedded")
    backbone.network.stem.bn = nn.BatchNorm2d(96).eval()
    recalibrate_batch_norm(
        backbone.network, lambda: [variant("card", backbone.preprocess).apply(photographs(200, 1, 0.15, 0.06))]
    )
    surprised = check_preprocessing(backbone, own)
    assert surprised.verdict != "fine"
    backbone.spec = dataclasses.replace(backbone.spec, image_statistics=(0.15, 0.08, 0.06))
    expected = check_preprocessing(backbone, own)
    assert expected.verdict == "fine"
    assert expected.current.misfit < 1 < surprised.current.misfit


@pytest.mark.slow
def test_the_embedded_spec_describes_its_pictures_correctly():
    bank = draw_bank(3, silhouettes=30, textures=10)
    pictures = draw_pictures(bank, seed=4, count=300, size=96) / 255
    red, green, blue = pictures.mean((0, 2, 3))
    contrast = np.sqrt(pictures.var((0, 2, 3)).mean())
    spec = load_backbone("embedded").spec.image_statistics
    assert spec == pytest.approx(((red + green + blue) / 3, red - blue, contrast), abs=0.03)
    found = check_preprocessing(load_backbone("embedded"), photographs(64))
    assert (found.current.brightness, found.current.warmth) == pytest.approx(spec[:2], abs=0.03)


@pytest.mark.slow
def test_a_network_trained_on_images_like_the_users_is_fine_though_they_are_no_photographs():
    dark = photographs(100, light=0.2, contrast=0.08)
    own = photographs(64, 4, light=0.2, contrast=0.08)
    model = trained_stem(variant("card"), dark)
    found = check_preprocessing(model, own, pixels=variant("card").apply(own))
    assert found.verdict == "fine"
    assert found.current.misfit < 1


def test_grey_training_images_leave_the_order_of_colours_open():
    grey = photographs(100)[:, :1].expand(-1, 3, -1, -1)
    model = trained_stem(variant("card"), grey)
    own = photographs(64, seed=5)
    assert not check_preprocessing(model, own, pixels=variant("bgr").apply(own)).stops


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3)), "no batch norm"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)), "not linear"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), "never updated"),
    ],
)
def test_what_cannot_be_checked_says_why(model, why):
    if why == "not linear":
        model[3].running_mean.fill_(0.5)
    own = photographs(8)
    found = check_preprocessing(model, own, pixels=variant("card").apply(own))
    assert found.verdict == "not checkable"
    assert why in found.interpretation[0]
    assert not found.stops
    assert found.tables == ()
    json.dumps(found.to_dict())


def test_a_module_of_unknown_preprocessing_is_not_checkable():
    assert "is unknown" in check_preprocessing(new_stem(), photographs(8)).reason


def test_pixels_of_other_images_are_refused():
    own = photographs(8)
    with pytest.raises(DataError, match="scaled and shifted"):
        check_preprocessing(new_stem(), own, pixels=torch.randn(8, 3, 40, 40))
    with pytest.raises(DataError, match="at least two"):
        check_preprocessing(new_stem(), own.float(), pixels=own.float())


def test_it_leaves_no_trace_and_gives_the_same_result_again():
    model = trained_stem(variant("card"), photographs(50)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    own = photographs(80, seed=6)
    pixels = variant("bgr").apply(own)
    one, two = (check_preprocessing(model, own, pixels=pixels) for _ in range(2))
    assert one == two
    assert one.images == 64
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_figure_and_the_table_show_every_variant():
    model = trained_stem(variant("card"), photographs(50))
    own = photographs(30, seed=7)
    found = check_preprocessing(model, own, pixels=variant("half").apply(own))
    assert len(found.tables[0].rows) == len(found.fits) + 1
    drawn = [tick.get_text() for tick in found.figure().axes[0].get_yticklabels()]
    assert "half (current)" in drawn
    assert "half" in found.description


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hymenoptera", "rps28", "rps_photos", "cifar10_sample"])
def test_on_real_images_true_statistics_find_every_mistake_and_no_other(name, test_data):
    from headstart.data.image_set import scan
    from headstart.data.images import open_image

    weights = test_data / "weights" / "cifar10_resnet20.safetensors"
    backbone = load_backbone("cifar_resnet20", weights=str(weights))
    samples = scan(test_data / name).samples
    paths = [samples[i].path for i in range(0, len(samples), len(samples) // 64)][:64]
    prepared = torch.stack([backbone.preprocess.prepare(open_image(path).rgb) for path in paths])
    assert check_preprocessing(backbone, prepared).verdict == "fine"
    for mistake in variants_of(backbone.preprocess)[1:]:
        found = check_preprocessing(backbone, prepared, pixels=mistake.apply(prepared))
        assert (found.verdict, found.alternative.variant) == ("stop", "card")
