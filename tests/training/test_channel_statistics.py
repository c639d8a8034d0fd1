"""Channel statistics against numpy over all pixels, and the book's means of images' own deviations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from headstart.errors import TrainingError
from headstart.training.channel_statistics import loader_apply, make_normalizer, statistics_per_channel


def _images(number: int = 23, spread: float = 0.3) -> Tensor:
    """Images that differ more in brightness than within themselves."""
    chance = torch.Generator().manual_seed(2)
    brightness = spread * torch.randn(number, 3, 1, 1, generator=chance) + torch.tensor([0.1, 0.5, 0.9])[:, None, None]
    return brightness + 0.03 * torch.randn(number, 3, 5, 7, generator=chance)


def _loader(images: Tensor, batch: int = 4, shuffle: bool = False) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(images, torch.arange(len(images)) % 2), batch, shuffle=shuffle)


def test_statistics_are_sums_over_images_of_their_own_means_and_deviations() -> None:
    images = _images()
    found = statistics_per_channel(images, None)

    pixels = images.double().numpy()
    for channel in range(3):
        means = [image[channel].mean() for image in pixels]
        stds = [image[channel].std(ddof=1) for image in pixels]
        assert found[:, channel].tolist() == pytest.approx([23, sum(means), sum(stds)], rel=1e-5)
    assert found.shape == (3, 3)


def test_bytes_are_counted_as_numbers() -> None:
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    assert torch.equal(statistics_per_channel(images, None), statistics_per_channel(images.float(), None))


def test_a_function_over_a_loader_is_summed_averaged_or_stacked() -> None:
    loader = _loader(_images(10))  # batches of 4, 4, 2

    def count(x: Tensor, y: Tensor) -> Tensor:
        return torch.stack([(y == 0).sum(), (y == 1).sum()])

    assert loader_apply(loader, count).tolist() == [5, 5]
    assert loader_apply(loader, count, "mean").tolist() == pytest.approx([5 / 3, 5 / 3])  # of batches, unweighted
    assert loader_apply(loader, count, None).tolist() == [[2, 2], [2, 2], [1, 1]]


def test_a_function_over_a_shuffled_loader_leaves_the_random_numbers_alone() -> None:
    own = torch.Generator().manual_seed(4)
    loader = DataLoader(_loader(_images()).dataset, 4, shuffle=True, generator=own)
    before, own_before = torch.get_rng_state(), own.get_state()

    loader_apply(loader, lambda x, y: torch.rand(2))
    make_normalizer(loader)
    make_normalizer(loader, "per_image")

    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(own_before, own.get_state())


@pytest.mark.parametrize("batch", [1, 4, 23])
def test_the_pooled_deviation_is_that_of_all_pixels_and_the_books_is_smaller(batch: int) -> None:
    """D25: images that differ in brightness have a deviation that no single image shows."""
    images = _images()
    pooled, book = make_normalizer(_loader(images, batch)), make_normalizer(_loader(images, batch), "per_image")

    pixels = images.double().numpy()
    assert pooled.mean.tolist() == pytest.approx(pixels.mean(axis=(0, 2, 3)), rel=1e-5)
    assert pooled.std.tolist() == pytest.approx(pixels.std(axis=(0, 2, 3)), rel=1e-5)
    own = pixels.reshape(23, 3, -1)
    assert book.mean.tolist() == pytest.approx(own.mean(axis=2).mean(axis=0), rel=1e-5)
    assert book.std.tolist() == pytest.approx(own.std(axis=2, ddof=1).mean(axis=0), rel=1e-5)
    assert (pooled.std > 5 * book.std).all()


def test_pixels_that_are_normalised_by_the_pooled_method_have_mean_0_and_deviation_1() -> None:
    images = _images()
    done = make_normalizer(_loader(images))(images).double().numpy()

    assert done.mean(axis=(0, 2, 3)) == pytest.approx(0, abs=1e-5)
    assert done.std(axis=(0, 2, 3)) == pytest.approx(1, abs=1e-5)


def test_images_of_several_sizes_count_by_their_pixels() -> None:
    small, large = torch.rand(2, 3, 4, 4), 3 * torch.rand(1, 3, 20, 20)
    found = make_normalizer([(small, None), (large, None)])

    pixels = np.concatenate([image.transpose(0, 1).reshape(3, -1).numpy() for image in (small, large)], axis=1)
    assert found.mean.tolist() == pytest.approx(pixels.mean(axis=1), rel=1e-5)
    assert found.std.tolist() == pytest.approx(pixels.std(axis=1), rel=1e-5)


def test_bright_and_even_images_do_not_lose_their_deviation() -> None:
    """A sum of squares in single precision has no digit left for it."""
    images = 1_000_000 + 0.5 * (torch.arange(8 * 3 * 16 * 16) % 3 == 0).reshape(8, 3, 16, 16).float()
    expected = images.double().numpy().std(axis=(0, 2, 3))
    assert make_normalizer(_loader(images)).std.tolist() == pytest.approx(expected, rel=1e-5)
    naive = (images.square().mean((0, 2, 3)) - images.mean((0, 2, 3)).square()).clamp_min(0).sqrt()
    assert np.abs(naive.numpy() - expected).max() > 0.1


@pytest.mark.parametrize("method", ["pooled", "per_image"])
def test_what_cannot_be_normalised_is_refused(method: str) -> None:
    even = torch.ones(4, 3, 2, 2)
    for loader, words in (([], "at least one batch"), (_loader(even), "pixels differ"), (_loader(even[0]), "N×C×H×W")):
        with pytest.raises(TrainingError, match=words):
            make_normalizer(loader, method)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(TrainingError, match="'pooled' or 'per_image'"):
        make_normalizer(_loader(_images()), "book")


@pytest.mark.parametrize(
    ("func", "said"),
    [
        (lambda x, y: "x", "a str"),
        (lambda x, y: np.ones(2), "a ndarray"),
        (lambda x, y: torch.ones(len(x)), r"\(2,\) and \(3,\)"),
    ],
)
def test_results_that_cannot_be_stacked_are_told(func: Any, said: str) -> None:
    loader = DataLoader(TensorDataset(torch.rand(5, 3, 4, 4), torch.zeros(5)), 3)
    with pytest.raises(TrainingError, match=said):
        loader_apply(loader, func)


def test_what_is_no_loader_is_told() -> None:
    for call in (lambda: loader_apply(5, statistics_per_channel), lambda: make_normalizer(None)):
        with pytest.raises(TrainingError, match="a loader that gives batches"):
            call()
