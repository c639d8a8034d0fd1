"""Views: the centre is the preprocessing's own, and every view follows from (seed, image) alone; mixed labels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from headstart.backbones.catalogue import SPECS
from headstart.backbones.preprocess import Preprocess
from headstart.errors import TrainingError
from headstart.finetune.augmentation import NONE, Augmentation, centre, mixing, stored_side, views
from headstart.training.meters import accuracy


def squares(side: int, count: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("row", sorted(SPECS))
def test_the_centre_of_the_stored_square_is_what_the_network_is_measured_on(row: str) -> None:
    preprocess = Preprocess.of(SPECS[row])
    side = stored_side(preprocess.resize, preprocess.crop)
    assert preprocess.crop <= side <= max(preprocess.resize, preprocess.crop)
    rng = np.random.default_rng(1)
    for height, width in ((97, 130), (200, 199), (333, 61)):
        rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        stored = dataclasses.replace(preprocess, crop=side).prepare(rgb)
        assert torch.equal(centre(stored[None], preprocess.crop)[0], preprocess.prepare(rgb))


def test_views_follow_from_seed_and_image_whatever_the_batch() -> None:
    stored, numbers = squares(36), np.arange(40)
    whole = views(stored, 32, Augmentation(), seed=7, images=numbers)
    order = np.random.default_rng(3).permutation(40)
    shuffled = views(stored[order], 32, Augmentation(), seed=7, images=numbers[order])
    single = torch.cat(
        [views(stored[i : i + 1], 32, Augmentation(), seed=7, images=numbers[i : i + 1]) for i in range(40)]
    )
    assert torch.equal(whole[order], shuffled)
    assert torch.equal(whole, single)
    assert not torch.equal(whole, views(stored, 32, Augmentation(), seed=8, images=numbers))


def test_a_view_is_a_window_of_the_image_perhaps_mirrored_and_every_place_occurs() -> None:
    image = squares(36, 1)
    windows = {
        (top, left, flip): (image[0, :, top : top + 32, left : left + 32]).flip(2 if flip else [])
        for top in range(5)
        for left in range(5)
        for flip in (False, True)
    }
    seen = set()
    for seed in range(600):
        view = views(image, 32, Augmentation(), seed=seed, images=np.array([0]))[0]
        places = [place for place, window in windows.items() if torch.equal(window, view)]
        assert len(places) == 1
        seen.add(places[0])
    assert seen == set(windows)


def test_each_part_can_be_off() -> None:
    stored, numbers = squares(36), np.arange(40)
    still = centre(stored, 32)
    assert torch.equal(views(stored, 32, NONE, seed=1, images=numbers), still)
    flipped = views(stored, 32, Augmentation(shift=False, flip=True), seed=1, images=numbers)
    kinds = [(torch.equal(a, b), torch.equal(a, b.flip(2))) for a, b in zip(flipped, still, strict=True)]
    assert all(plain or mirrored for plain, mirrored in kinds)
    assert {plain for plain, _ in kinds} == {True, False}
    moved = views(stored, 32, Augmentation(shift=True, flip=False), seed=1, images=numbers)
    assert not torch.equal(moved, still)


def test_images_without_a_margin_are_mirrored_outwards() -> None:
    stored = squares(32, 30)
    shown = views(stored, 32, Augmentation(flip=False), seed=5, images=np.arange(30))
    edge = np.pad(stored.numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)), mode="reflect")
    for image, view in zip(edge, shown.numpy(), strict=True):
        windows = [image[:, t : t + 32, s : s + 32] for t in range(9) for s in range(9)]
        assert any(np.array_equal(window, view) for window in windows)


def flat_images(count: int) -> torch.Tensor:
    """Image i is i everywhere."""
    return torch.arange(float(count)).reshape(count, 1, 1, 1).expand(count, 3, 8, 8).contiguous()


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_the_shares_of_the_labels_are_those_of_the_pixels(kind: str) -> None:
    mix = mixing(kind, 6)
    assert mix is not None
    pixels, labels = mix(flat_images(6), torch.arange(6), 5)
    assert labels.shape == (6, 6)
    assert torch.allclose(labels.sum(1), torch.ones(6))
    # with image i equal to i everywhere, the mean pixel is the mean label
    expected = (labels * torch.arange(6.0)).sum(1)
    assert torch.allclose(pixels.mean((1, 2, 3)), expected, atol=1e-5)
    assert not torch.equal(pixels, flat_images(6))


def test_a_seed_gives_the_same_mixture_and_draws_nothing_from_the_global_numbers() -> None:
    mix = mixing("mixup", 6)
    assert mix is not None
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    first, second, other = (mix(flat_images(6), torch.arange(6), seed)[0] for seed in (7, 7, 8))
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_no_mixing_is_none_and_an_unknown_kind_an_error() -> None:
    assert mixing("none", 3) is None
    with pytest.raises(TrainingError, match="mixup"):
        mixing("mixdown", 3)


def test_a_mixed_label_counts_as_its_larger_share() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    target = torch.tensor([[0.7, 0.3, 0.0], [0.6, 0.0, 0.4]])
    assert accuracy(logits, target).tolist() == [1.0, 0.0]
