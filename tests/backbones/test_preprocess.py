"""Preprocess against the textbook: torchvision's transforms on a Pillow image."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision import transforms
from torchvision.transforms.v2 import functional

from headstart.backbones.preprocess import Preprocess
from headstart.errors import BackboneError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MODES = {
    "bilinear": transforms.InterpolationMode.BILINEAR,
    "bicubic": transforms.InterpolationMode.BICUBIC,
    "nearest": transforms.InterpolationMode.NEAREST,
}
# Pillow and torch round the overshoot of bicubic enlargements differently
CLOSE = {"bilinear": 1, "bicubic": 2, "nearest": 0}
SIZES = ((375, 500), (500, 375), (256, 256), (224, 224), (301, 219), (28, 28), (1, 1), (1, 40), (40, 1), (1200, 801))


def _image(height: int, width: int) -> NDArray[np.uint8]:
    """Noise on a slope: the hardest picture for a resize."""
    noise = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3))
    slope = np.linspace(0, 255, width)[None, :, None]
    return ((noise + slope) / 2).astype(np.uint8)


def _textbook(rgb: NDArray[np.uint8], resize: int, crop: int, interpolation: str) -> NDArray[np.int64]:
    steps = transforms.Compose([transforms.Resize(resize, MODES[interpolation]), transforms.CenterCrop(crop)])
    return np.asarray(steps(Image.fromarray(rgb))).astype(np.int64).transpose(2, 0, 1)


@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_prepared_pixels_are_those_of_the_textbook(size: tuple[int, int], interpolation: str) -> None:
    rgb = _image(*size)

    prepared = Preprocess(256, 224, interpolation, MEAN, STD).prepare(rgb)

    assert prepared.shape == (3, 224, 224)
    assert prepared.dtype == torch.uint8
    assert (
        np.abs(prepared.numpy().astype(np.int64) - _textbook(rgb, 256, 224, interpolation)).max()
        <= CLOSE[interpolation]
    )


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (257, 225), (20, 33), (21, 40)])
def test_every_bit_is_that_of_torchvision_on_a_tensor(
    size: tuple[int, int], interpolation: str, resize: int, crop: int
) -> None:
    rgb = _image(*size)
    wanted = functional.resize(torch.from_numpy(rgb).permute(2, 0, 1), [resize], MODES[interpolation], antialias=True)
    prepared = Preprocess(resize, crop, interpolation, MEAN, STD).prepare(rgb)
    assert torch.equal(prepared, functional.center_crop(wanted, [crop, crop]))


@pytest.mark.parametrize(("resize", "crop"), [(32, 32), (257, 225), (342, 299), (20, 33)])
def test_other_sizes_and_a_crop_beyond_the_image(resize: int, crop: int) -> None:
    rgb = _image(101, 77)

    prepared = Preprocess(resize, crop, "bilinear", MEAN, STD).prepare(rgb)

    assert np.abs(prepared.numpy().astype(np.int64) - _textbook(rgb, resize, crop, "bilinear")).max() <= 1


@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize("size", [(1, 300), (300, 1), (2, 901), (3, 1000)], ids=str)
@pytest.mark.slow
def test_strips_need_little_memory_and_give_the_same_pixels(size: tuple[int, int], interpolation: str) -> None:
    rgb = _image(*size)

    prepared = Preprocess(256, 224, interpolation, MEAN, STD).prepare(rgb)

    assert (
        np.abs(prepared.numpy().astype(np.int64) - _textbook(rgb, 256, 224, interpolation)).max()
        <= CLOSE[interpolation]
    )


@pytest.mark.slow
def test_a_tall_strip_is_resized_across_first_as_pillow_does() -> None:
    rgb = _image(700, 3)

    prepared = Preprocess(292, 260, "bicubic", MEAN, STD).prepare(rgb)

    off = np.abs(prepared.numpy().astype(np.int64) - _textbook(rgb, 292, 260, "bicubic"))
    assert off.max() <= CLOSE["bicubic"]
    assert off.mean() < 0.1  # the other order, which rounds and clips elsewhere, is 0.4 off on average


@pytest.mark.parametrize("size", [(1, 100_000), (400_000, 1)], ids=str)
def test_a_strip_longer_than_memory_could_hold_is_prepared(size: tuple[int, int]) -> None:
    prepared = Preprocess(256, 224, "bilinear", MEAN, STD).prepare(np.full((*size, 3), 77, np.uint8))

    assert prepared.shape == (3, 224, 224)
    assert (prepared == 77).all()


def test_stretching_ignores_the_aspect_ratio() -> None:
    rgb = _image(90, 200)
    steps = transforms.Compose([transforms.Resize((40, 40)), transforms.CenterCrop(36)])

    prepared = Preprocess(40, 36, "bilinear", MEAN, STD, fit="stretch").prepare(rgb)

    expected = np.asarray(steps(Image.fromarray(rgb))).astype(np.int64).transpose(2, 0, 1)
    assert np.abs(prepared.numpy().astype(np.int64) - expected).max() <= 1


def test_the_image_is_not_written_to_and_may_be_read_only() -> None:
    rgb = _image(50, 60)
    before = rgb.copy()
    rgb.flags.writeable = False

    Preprocess(32, 32, "bilinear", MEAN, STD).prepare(rgb)

    assert (rgb == before).all()


def test_pixels_are_normalised_as_totensor_and_normalize_do() -> None:
    prepared = torch.randint(0, 256, (4, 3, 9, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))

    pixels = Preprocess(9, 9, "bilinear", MEAN, STD).normalise(prepared)

    expected = transforms.Normalize(MEAN, STD)(prepared.double() / 255)
    assert pixels.dtype == torch.float32
    assert (pixels.double() - expected).abs().max() < 1e-6


def test_a_card_goes_through_json_and_back() -> None:
    card = Preprocess(257, 225, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), fit="stretch")

    assert Preprocess.from_dict(json.loads(json.dumps(card.to_dict()))) == card


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"resize": 0}, "resize from 1"),
        ({"crop": 224.0}, "crop from 1"),
        ({"crop": True}, "crop from 1"),
        ({"resize": 10**9}, "resize from 1"),
        ({"interpolation": "cubic"}, "interpolation"),
        ({"mean": [0.5, 0.5]}, "three numbers as mean"),
        ({"mean": [0.5, 0.5, float("nan")]}, "three numbers as mean"),
        ({"std": [0.5, 0.0, 0.5]}, "above 0"),
        ({"std": "abc"}, "above 0"),
        ({"mean": [123.675, 116.28, 103.53]}, "values from 0 to 1.*by 255"),
        ({"mean": [0.5, 0.5, 1e300]}, "values from 0 to 1"),
        ({"std": [58.395, 57.12, 57.375]}, "values from 0 to 1.*by 255"),
        ({"std": [1e-300, 0.5, 0.5]}, "values from 0 to 1"),
        ({"fit": "pad"}, "fit keep or stretch"),
        ({"meen": [0, 0, 0]}, "a known key"),
    ],
)
def test_a_damaged_card_is_refused(change: dict[str, object], said: str) -> None:
    card = Preprocess(256, 224, "bilinear", MEAN, STD).to_dict() | change

    with pytest.raises(BackboneError, match=said):
        Preprocess.from_dict(card)


def test_a_card_without_a_key_is_refused() -> None:
    card = Preprocess(256, 224, "bilinear", MEAN, STD).to_dict()
    del card["std"]

    with pytest.raises(BackboneError, match="the key std"):
        Preprocess.from_dict(card)
