"""What the first batch norm says of the training images: against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from headstart.inspection.batch_norm.first_batch_norm import (
    FirstBatchNorm,
    first_batch_norm_of,
    grey_weights,
    stem_response,
)
from stems import photographs, trained_stem, variant


@pytest.mark.slow
@pytest.mark.parametrize("padding", [0, 1])
def test_the_mean_colour_of_the_training_images_is_recovered_to_the_closed_form(padding):
    images = photographs(200)
    card = variant("card")
    first = first_batch_norm_of(trained_stem(card, images, padding), 40)
    assert isinstance(first, FirstBatchNorm)
    expected = (images.double() / 255).mean((0, 2, 3)).numpy()
    np.testing.assert_allclose(card.undo(first.colour), expected, atol=1e-3 if padding == 0 else 0.02)


def test_response_to_colour_is_the_sum_of_the_weights():
    model = trained_stem(variant("card"), photographs(20))
    first = first_batch_norm_of(model, 40)
    np.testing.assert_allclose(first.response, model[0].weight.sum((2, 3)).detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(first.black, model[0].bias.detach().numpy(), atol=1e-6)


def test_a_network_whose_first_batch_norm_cannot_be_used_says_why():
    assert "no batch norm" in first_batch_norm_of(nn.Conv2d(3, 4, 3), 40)
    assert "never updated" in first_batch_norm_of(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval(), 40)


def test_the_response_to_images_is_what_enters_the_batch_norm():
    card, images = variant("card"), photographs(5)
    model = trained_stem(card, photographs(50))
    first = first_batch_norm_of(model, 40)
    with torch.inference_mode():
        found = stem_response(first, card, images, network=model)
        maps = model[0](card.apply(images)).double()
    np.testing.assert_allclose(found.mean, maps.mean((2, 3)).numpy(), atol=1e-5)
    np.testing.assert_allclose(found.square, maps.square().mean((2, 3)).numpy(), rtol=1e-4)
    np.testing.assert_allclose(found.colour, (images / 255).double().mean((2, 3)).numpy(), atol=1e-6)


def test_channels_that_do_not_see_brightness_have_no_weight():
    card = variant("card")
    model = trained_stem(card, photographs(50))
    with torch.no_grad():
        model[0].weight[0] -= model[0].weight[0].mean((1, 2), keepdim=True)  # an edge filter
    first = first_batch_norm_of(model, 40)
    with torch.inference_mode():
        weights = grey_weights(first, card, stem_response(first, card, photographs(20), network=model))
    assert weights[0] == 0.0
    assert weights.max() > 0.1
    assert weights.max() <= 1.0
