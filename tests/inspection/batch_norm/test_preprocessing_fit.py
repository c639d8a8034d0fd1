"""What variants imply for the training images: by hand on a stem that passes brightness on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.inspection.batch_norm.first_batch_norm import first_batch_norm_of, stem_response
from headstart.inspection.batch_norm.preprocessing_fit import contrast_ratio, fit_variants, image_statistics
from headstart.inspection.batch_norm.preprocessing_variants import variants_of
from stems import CARD, photographs, trained_stem, variant


def test_brightness_warmth_and_contrast_are_those_of_the_images():
    images, card = photographs(6), variant("card")
    model = trained_stem(card, photographs(50))
    with torch.inference_mode():
        stem = stem_response(first_batch_norm_of(model, 40), card, images, network=model)
    values = (images / 255).double()
    red, _, blue = values.mean((0, 2, 3))
    contrast = values.var((0, 2, 3), correction=0).mean().sqrt()
    found = image_statistics(stem, np.full((1, 6), 1 / 6))[0]
    assert found == pytest.approx([float(values.mean()), float(red - blue), float(contrast)], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_the_contrast_of_the_training_images_is_recovered(scale):
    card = variant("card")
    model = trained_stem(card, photographs(200, contrast=0.2))
    first = first_batch_norm_of(model, 40)
    with torch.inference_mode():
        stem = stem_response(first, card, photographs(64, 1, contrast=0.2 * scale), network=model)
    ratio = contrast_ratio(first, stem, card, weights=np.full((1, 64), 1 / 64))
    assert ratio[0] == pytest.approx(1 / scale, rel=0.1)


@pytest.mark.slow
def test_the_fit_of_the_correct_variant_describes_the_training_images():
    images, card = photographs(200), variant("card")
    model = trained_stem(card, images)
    first = first_batch_norm_of(model, 40)
    values = (images / 255).double()
    contrast = float(values.var((0, 2, 3)).mean().sqrt())
    own = np.array([[0.9, 0.0, 0.1]])  # far from photographs
    fits, misfits = fit_variants(first, own, np.array([contrast * card.gain]), variants_of(CARD))
    assert fits[0].variant == "card"
    assert fits[0].brightness == pytest.approx(float(values.mean()), abs=1e-3)
    assert fits[0].contrast == pytest.approx(contrast)
    assert fits[0].misfit == misfits[0][0] < 1
    assert min(fit.misfit for fit in fits[1:]) > 1
