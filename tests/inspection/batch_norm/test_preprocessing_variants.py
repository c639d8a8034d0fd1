"""Preprocessing variants: recognised, fitted, equal to what they stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.errors import DataError
from headstart.inspection.batch_norm.preprocessing_variants import PreprocessingVariant, variant_of, variants_of
from stems import CARD, HALF, photographs, variant


def test_the_variant_of_pixels_is_recognised_or_fitted():
    images = photographs(4)
    known = variants_of(CARD)
    for one in known:
        assert variant_of(images, one.apply(images), known) is one
    own = PreprocessingVariant(
        "", "", np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.5, 3.0]]), np.array([1.0, -2.0, 0.5])
    )
    fitted = variant_of(images, own.apply(images), known)
    np.testing.assert_allclose(fitted.matrix, own.matrix, atol=1e-4)
    np.testing.assert_allclose(
        fitted.undo(np.array([[1.0, 2.0, 3.0]])) @ own.matrix.T + own.shift, [[1, 2, 3]], atol=1e-3
    )


def test_the_variant_of_the_card_is_its_own_normalisation():
    images = photographs(3)
    torch.testing.assert_close(variant("card").apply(images), CARD.normalise(images), atol=1e-5, rtol=0)


def test_equal_variants_appear_once():
    assert [one.name for one in variants_of(HALF)] == ["card", "none", "raw", "twice", "bgr", "imagenet"]
    assert [one.name for one in variants_of(CARD)] == ["card", "none", "raw", "twice", "bgr", "half"]


def test_undoing_a_variant_gives_the_colours_back():
    images = photographs(2)
    for one in variants_of(CARD):
        colours = one.undo(one.apply(images).permute(0, 2, 3, 1).double().numpy())
        np.testing.assert_allclose(colours, images.permute(0, 2, 3, 1).numpy() / 255, atol=1e-4)


def test_pixels_that_are_not_made_of_the_images_are_refused():
    with pytest.raises(DataError, match="only grey images"):
        variant_of(torch.full((2, 3, 8, 8), 9, dtype=torch.uint8), torch.randn(2, 3, 8, 8), variants_of(CARD))
