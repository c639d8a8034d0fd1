"""Two decoded images are compared: the same picture, another one, or too small to tell."""

from __future__ import annotations

import numpy as np
import pytest

from drawn_scenes import pixels, scene
from headstart.data.duplicates.verify import compare, reduce_image


def test_too_small_pictures_are_undecided() -> None:
    tiny = reduce_image(np.zeros((12, 40, 3), dtype=np.uint8))
    verdict = compare(tiny, tiny, np.array([0.0, 1, 0, 1]), flipped=False)
    assert (verdict.same, verdict.undecided) == (False, True)


@pytest.mark.slow
@pytest.mark.parametrize("size", [None, (128, 128)], ids=["as cut", "stretched"])
def test_two_crops_of_one_picture_are_compared_in_what_both_show(size: tuple[int, int] | None) -> None:
    image = scene(6, (300, 300))
    boxes = (0, 6, 282, 291), (18, 0, 300, 300)
    left, right = (reduce_image(pixels(part.resize(size) if size else part)) for part in map(image.crop, boxes))
    crop = np.array([18 / 282, 1 + 18 / 282, -6 / 285, 294 / 285])  # the second, in shares of the first

    verdict = compare(left, right, crop, flipped=False)
    other = compare(left, reduce_image(pixels(scene(7, (282, 300)))), crop, flipped=False)

    assert (verdict.same, verdict.undecided) == (True, False)
    assert (other.same, other.undecided) == (False, False)


def test_a_wrong_flip_does_not_confirm() -> None:
    one = reduce_image(pixels(scene(8)))
    whole = np.array([0.0, 1, 0, 1])
    assert not compare(one, one, whole, flipped=True).same
    assert compare(one, one.flipped(), whole, flipped=True).same
    assert compare(one, one, whole, flipped=False).residual < 1e-5


@pytest.mark.slow
def test_a_reduced_image_keeps_its_size_and_at_most_192_pixels_a_side() -> None:
    reduced = reduce_image(pixels(scene(1, (400, 300))))

    assert reduced.size == (400, 300)
    assert (reduced.grey.size, reduced.colour.size) == ((256, 192), (64, 64))
