"""The preprocessing check: what the first batch norm remembers is read exactly, planted mistakes are found."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.backbones.backbone import load_backbone
from headstart.backbones.preprocess import Preprocess
from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.errors import DataError
from headstart.inspection.batch_norm.first_norm import FirstNorm, first_norm_of
from headstart.inspection.batch_norm.preprocessing_check import check_preprocessing
from headstart.inspection.batch_norm.preprocessing_variants import PreprocessingVariant, variant_of, variants_of
from headstart.pretraining.bank import draw_bank
from headstart.pretraining.scene import draw_pictures

CARD = Preprocess(40, 40, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = Preprocess(40, 40, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def photographs(count: int, seed: int = 0, light: float = 0.45, contrast: float = 0.29) -> Tensor:
    """Smooth drawn images N×3×40×40 uint8 with the brightness, warmth and contrast of photographs."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 1, 6, 6, generator=draw) + 0.4 * torch.randn(count, 3, 6, 6, generator=draw)
    smooth = nn.functional.interpolate(coarse, size=(40, 40), mode="bicubic")
    smooth = (smooth - smooth.mean()) / smooth.std()
    tint = torch.tensor([0.04, 0.0, -0.04]).view(3, 1, 1)
    return (255 * (light + tint + contrast * smooth)).clamp(0, 255).to(torch.uint8)


def stem(padding: int = 0) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 24, 3, padding=padding), nn.BatchNorm2d(24), nn.ReLU()).eval()


def trained(way: PreprocessingVariant, images: Tensor, padding: int = 0) -> nn.Sequential:
    """A stem whose statistics are those of images brought to it in this way."""
    model = stem(padding)
    recalibrate_batch_norm(model, lambda: [way.apply(images)])
    return model


def named(name: str, card: Preprocess = CARD) -> PreprocessingVariant:
    return next(way for way in variants_of(card) if way.name == name)


@pytest.mark.parametrize("padding", [0, 1])
def test_the_mean_colour_of_the_training_images_is_read_to_the_closed_form(padding):
    images = photographs(200)
    way = named("card")
    first = first_norm_of(trained(way, images, padding), 40)
    assert isinstance(first, FirstNorm)
    expected = (images.double() / 255).mean((0, 2, 3)).numpy()
    np.testing.assert_allclose(way.undo(first.colour), expected, atol=1e-3 if padding == 0 else 0.02)


def test_response_to_colour_is_the_sum_of_the_weights():
    model = trained(named("card"), photographs(20))
    first = first_norm_of(model, 40)
    np.testing.assert_allclose(first.response, model[0].weight.sum((2, 3)).detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(first.rest, model[0].bias.detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("mistake", ["none", "raw", "twice", "bgr", "half"])
def test_every_planted_mistake_stops_and_the_right_way_is_named(mistake, padding):
    model = trained(named("card"), photographs(300), padding)
    own = photographs(64, seed=1)
    found = check_preprocessing(model, own, pixels=named(mistake).apply(own))
    assert found.stops
    assert found.seen.way == mistake
    assert found.better.way == "imagenet"  # the module has no card: ImageNet's numbers stand for it
    assert "--accept-preprocessing" in found.interpretation[-1]


@pytest.mark.parametrize(("light", "contrast"), [(0.45, 0.29), (0.8, 0.15), (0.2, 0.1), (0.6, 0.35)])
def test_the_right_way_is_fine_whatever_the_users_images_are_like(light, contrast):
    model = trained(named("card"), photographs(300))
    own = photographs(64, 2, light, contrast)
    assert check_preprocessing(model, own, pixels=named("card").apply(own)).verdict == "fine"


def test_a_card_that_is_wrong_is_found_from_the_weights():
    own = photographs(64, seed=3)
    card, right = load_backbone("embedded"), load_backbone("embedded").preprocess
    card.network.stem.bn = nn.BatchNorm2d(96).eval()
    half = named("half", right)
    recalibrate_batch_norm(card.network, lambda: [half.apply(photographs(200))])
    found = check_preprocessing(card, own)
    assert found.stops
    assert found.seen.way == "card"
    assert found.better.way == "half"


def test_images_of_another_kind_are_no_surprise_where_the_row_says_so():
    own, backbone = photographs(64, seed=3), load_backbone("embedded")
    backbone.network.stem.bn = nn.BatchNorm2d(96).eval()
    recalibrate_batch_norm(
        backbone.network, lambda: [named("card", backbone.preprocess).apply(photographs(200, 1, 0.15, 0.06))]
    )
    surprised = check_preprocessing(backbone, own)
    assert surprised.verdict != "fine"
    backbone.spec = dataclasses.replace(backbone.spec, image_statistics=(0.15, 0.08, 0.06))
    told = check_preprocessing(backbone, own)
    assert told.verdict == "fine"
    assert told.seen.misfit < 1 < surprised.seen.misfit


def test_what_the_embedded_row_says_of_its_pictures_is_so():
    pictures = draw_pictures(draw_bank(3, parts=30, textures=10), 4, 300, 96) / 255
    red, green, blue = pictures.mean((0, 2, 3))
    contrast = np.sqrt(pictures.var((0, 2, 3)).mean())
    said = load_backbone("embedded").spec.image_statistics
    assert said == pytest.approx(((red + green + blue) / 3, red - blue, contrast), abs=0.03)
    found = check_preprocessing(load_backbone("embedded"), photographs(64))
    assert (found.seen.brightness, found.seen.warmth) == pytest.approx(said[:2], abs=0.03)


def test_a_network_trained_on_images_like_the_users_is_fine_though_they_are_no_photographs():
    dark = photographs(100, light=0.2, contrast=0.08)
    own = photographs(64, 4, light=0.2, contrast=0.08)
    model = trained(named("card"), dark)
    found = check_preprocessing(model, own, pixels=named("card").apply(own))
    assert found.verdict == "fine"
    assert found.seen.misfit < 1


def test_grey_training_images_leave_the_order_of_colours_open():
    grey = photographs(100)[:, :1].expand(-1, 3, -1, -1)
    model = trained(named("card"), grey)
    own = photographs(64, seed=5)
    assert not check_preprocessing(model, own, pixels=named("bgr").apply(own)).stops


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3)), "no batch norm"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)), "not linear"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), "never updated"),
    ],
)
def test_what_cannot_be_checked_is_said_to_be_so(model, why):
    if why == "not linear":
        model[3].running_mean.fill_(0.5)
    own = photographs(8)
    found = check_preprocessing(model, own, pixels=named("card").apply(own))
    assert found.verdict == "not checkable"
    assert why in found.interpretation[0]
    assert not found.stops
    assert found.tables == ()
    json.dumps(found.to_dict())


def test_a_module_of_which_nobody_says_how_it_sees_images_is_not_checkable():
    assert "nothing says" in check_preprocessing(stem(), photographs(8)).why


def test_the_way_of_pixels_is_recognised_or_fitted():
    images = photographs(4)
    known = variants_of(CARD)
    for way in known:
        assert variant_of(images, way.apply(images), known) is way
    own = PreprocessingVariant(
        "", "", np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.5, 3.0]]), np.array([1.0, -2.0, 0.5])
    )
    fitted = variant_of(images, own.apply(images), known)
    np.testing.assert_allclose(fitted.matrix, own.matrix, atol=1e-4)
    np.testing.assert_allclose(
        fitted.undo(np.array([[1.0, 2.0, 3.0]])) @ own.matrix.T + own.shift, [[1, 2, 3]], atol=1e-3
    )


def test_the_way_of_the_card_is_its_own_normalisation():
    images = photographs(3)
    torch.testing.assert_close(named("card").apply(images), CARD.normalise(images), atol=1e-5, rtol=0)


def test_ways_that_are_the_same_are_there_once():
    assert [way.name for way in variants_of(HALF)] == ["card", "none", "raw", "twice", "bgr", "imagenet"]
    assert [way.name for way in variants_of(CARD)] == ["card", "none", "raw", "twice", "bgr", "half"]


def test_pixels_of_other_images_are_refused():
    own = photographs(8)
    with pytest.raises(DataError, match="scaled and shifted"):
        check_preprocessing(stem(), own, pixels=torch.randn(8, 3, 40, 40))
    with pytest.raises(DataError, match="at least two"):
        check_preprocessing(stem(), own.float(), pixels=own.float())


def test_it_leaves_no_trace_and_says_the_same_again():
    model = trained(named("card"), photographs(50)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    own = photographs(80, seed=6)
    pixels = named("bgr").apply(own)
    one, two = (check_preprocessing(model, own, pixels=pixels) for _ in range(2))
    assert one == two
    assert one.images == 64
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_figure_and_the_table_show_every_way():
    model = trained(named("card"), photographs(50))
    own = photographs(30, seed=7)
    found = check_preprocessing(model, own, pixels=named("half").apply(own))
    assert len(found.tables[0].rows) == len(found.fits) + 1
    drawn = [tick.get_text() for tick in found.figure().axes[0].get_yticklabels()]
    assert "half (now)" in drawn
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
    for way in variants_of(backbone.preprocess)[1:]:
        found = check_preprocessing(backbone, prepared, pixels=way.apply(prepared))
        assert (found.verdict, found.better.way) == ("stop", "card")
