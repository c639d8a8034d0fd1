"""Filters: planted near-duplicates, dead and silent filters are named, noise is distinguished from patterns."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from headstart.backbones.backbone import load_backbone
from headstart.errors import BackboneError
from headstart.inspection.weights.filters import DUPLICATE, colour_shares, filters, near_duplicates, smoothness


def network(weights: np.ndarray) -> nn.Module:
    layer = nn.Conv2d(weights.shape[1], len(weights), weights.shape[2], bias=False)
    layer.weight.data.copy_(torch.from_numpy(weights))
    return nn.Sequential(layer, nn.ReLU())


def drawn(count: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 5, 5))


def test_planted_duplicates_negatives_dead_and_silent_filters_are_named():
    weights = drawn()
    weights[4] = 2.5 * weights[1]
    weights[7] = -0.1 * weights[2]
    weights[9] = 1e-6 * weights[9]
    result = filters(network(weights), torch.rand(3, 3, 16, 16))

    assert {(pair.first, pair.second) for pair in result.duplicates} == {(1, 4), (2, 7)}
    assert [round(pair.cosine, 6) for pair in sorted(result.duplicates, key=lambda pair: pair.first)] == [1.0, -1.0]
    assert (result.dead, result.silent) == ((9,), (9,))
    text = " ".join(result.interpretation)
    assert "1 of 12 filters (8.3\u00a0%) is dead (weights near zero): #9" in text
    assert "1 pair of near-duplicate filters and 1 of negatives (random weights would have none)" in text


@pytest.mark.parametrize("size", [0.0, 1e-6])
def test_dead_filters_are_found_when_they_are_the_majority(size):
    smooth = np.outer(np.hanning(7)[1:-1], np.hanning(7)[1:-1]) * np.random.default_rng(0).normal(size=(64, 3, 1, 1))
    smooth[:40] = size * np.random.default_rng(1).normal(size=(40, 3, 5, 5))
    result = filters(network(smooth), torch.rand(2, 3, 16, 16))

    assert result.dead == result.silent == tuple(range(40))
    assert "The filters are smooth" in result.interpretation[0]
    assert "40 of 64 filters (62.5\u00a0%) are dead" in result.interpretation[1]
    assert 0 <= max(row[2] for row in result.tables[-1].rows) < 0.01  # of what the others' norms are


def test_a_filter_that_sees_only_what_the_images_lack_is_silent_but_not_dead():
    weights = drawn()
    weights[5] = 0
    weights[5, 2] = 1.0  # responds to blue alone
    pixels = torch.rand(2, 3, 16, 16)
    pixels[:, 2] = 0.0
    result = filters(network(weights), pixels)

    assert (result.dead, result.silent) == ((), (5,))
    assert "constant output on these images: #5" in " ".join(result.interpretation)
    assert filters(network(weights)).silent is None


def test_chance_of_near_duplicates_is_that_of_random_directions():
    weights = np.random.default_rng(1).normal(size=(900, 1, 1, 4))
    found, expected = near_duplicates(weights)
    assert expected == pytest.approx(len(found), rel=0.1)
    assert min(abs(pair.cosine) for pair in found) >= DUPLICATE


def test_smoothness_is_the_literal_correlation_of_neighbours():
    weights = drawn(4)
    for one, value in zip(weights, smoothness(weights), strict=True):
        product = energy = 0.0
        for c, y, x in np.ndindex(3, 5, 5):
            for other in ((c, y + 1, x), (c, y, x + 1)):
                if max(other[1:]) < 5:
                    product += 2 * one[c, y, x] * one[other]
                    energy += one[c, y, x] ** 2 + one[other] ** 2
        assert value == pytest.approx(product / energy)
    flat = np.ones((1, 3, 5, 5))
    assert smoothness(flat) == pytest.approx([1.0])
    assert smoothness(flat * (-1.0) ** np.indices((5, 5)).sum(0)) == pytest.approx([-1.0])


def test_grey_filters_have_no_colour_and_a_filter_of_opposite_colours_has_nothing_else():
    grey = np.ones((1, 3, 2, 2))
    opposite = grey * np.array([1.0, -1.0, 0.0])[None, :, None, None]
    one = grey * np.array([1.0, 0.0, 0.0])[None, :, None, None]
    shares = colour_shares(np.concatenate([grey, opposite, one]))
    assert shares == pytest.approx([0.0, 1.0, 2 / 3])


def test_random_filters_are_called_noise_and_trained_ones_are_not():
    random, trained = filters(load_backbone("random")), filters(load_backbone("embedded"))
    assert random.interpretation[0].startswith("32 of 32 filters look like noise")
    assert "as trained filters are" in trained.interpretation[0]
    assert len(trained.noisy) < 48  # of 96


def test_a_layer_can_be_named_and_a_wrong_name_or_no_convolution_is_refused():
    backbone = load_backbone("embedded")
    names = [name for name, module in backbone.network.named_modules() if isinstance(module, nn.Conv2d)]
    assert filters(backbone, layer=names[3]).layer == names[3]
    with pytest.raises(BackboneError, match="convolution"):
        filters(backbone, layer="stem")
    with pytest.raises(BackboneError, match="without convolutions"):
        filters(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))


def test_it_leaves_no_hook_and_its_values_are_json():
    model = network(drawn()).train()
    result = filters(model, torch.rand(2, 3, 8, 8))
    assert model.training
    assert not model[0]._forward_hooks
    json.dumps(result.to_dict(), allow_nan=False)
    assert len(result.figure().axes) == 1
    assert "12 filters of 0, 5 by 5 on 3 channels" in result.description
    assert all(str(table) for table in result.tables)


@pytest.mark.slow
def test_real_first_layers_have_the_dead_filters_that_pruning_by_eye_finds(test_data):
    file = test_data / "weights" / "resnet18_imagenet.safetensors"
    result = filters(load_backbone("resnet18", weights=str(file)))
    assert result.dead == (2, 4, 7, 9, 13, 36, 38, 48)
    assert "smooth" in result.interpretation[0]
