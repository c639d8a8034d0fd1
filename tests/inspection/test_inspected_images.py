"""InspectedImages: checked pixels with names, in batches, and subsets of them."""

from __future__ import annotations

import pytest
import torch

from headstart.errors import DataError
from headstart.inspection.inspected_images import InspectedImages


def test_plain_pixels_are_named_by_their_numbers_and_images_stay_as_they_are():
    images = InspectedImages.of(torch.zeros(2, 3, 4, 4))
    assert images.names == ("#0", "#1")
    assert len(images) == 2
    assert InspectedImages.of(images) is images


@pytest.mark.parametrize(
    "pixels",
    [
        torch.zeros(0, 3, 4, 4),
        torch.zeros(3, 4, 4),
        torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
        torch.full((1, 3, 4, 4), float("nan")),
    ],
)
def test_anything_but_a_batch_of_finite_pixels_is_refused(pixels):
    with pytest.raises(DataError):
        InspectedImages.of(pixels)


def test_taking_some_images_keeps_everything_of_them():
    images = InspectedImages(
        torch.arange(4.0).reshape(4, 1, 1, 1), tuple("abcd"), labels=torch.tensor([0, 1, 0, 1]), classes=("x", "y")
    )
    some = images.take(torch.tensor([3, 0]))
    assert some.names == ("d", "a")
    assert some.labels.tolist() == [1, 0]
    assert some.pixels.flatten().tolist() == [3.0, 0.0]
    assert [len(batch) for batch in images.batches(3)] == [3, 1]
