"""Moments of what enters batch norms: against torch in double precision, and the divergence against an integral."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from headstart.errors import BackboneError
from headstart.inspection.batch_norm.channel_moments import (
    DRAWS,
    bootstrap_weights,
    first_norm_input,
    gather_moments,
    has_statistics,
    jeffreys_divergence,
    moments_of,
    never_updated,
    stored_statistics,
)
from smooth_images import smooth_images, two_norms


@pytest.mark.parametrize("mean", [0.0, 200.0])
def test_moments_are_those_of_doubles_also_far_from_zero(mean):
    maps = smooth_images(6) * 0.01 + mean
    first, second = moments_of(maps)
    expected = maps.double().flatten(2)
    torch.testing.assert_close(first, expected.mean(2), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(second - first.square(), expected.var(2, correction=0), rtol=1e-3, atol=1e-9)


def test_pooled_moments_are_those_of_all_batches_together():
    model, pixels = two_norms(), smooth_images(7)
    with torch.no_grad():
        found = gather_moments(model, {"1": model[1]}, torch.split(pixels, 3))["1"]
        maps = model[0](pixels).double()
    mean, variance = found.pooled()
    np.testing.assert_allclose(mean, maps.mean((0, 2, 3)).numpy(), atol=1e-6)
    np.testing.assert_allclose(variance, maps.var((0, 2, 3), correction=0).numpy(), rtol=1e-5)
    np.testing.assert_allclose(found.high, maps.amax((0, 2, 3)).numpy(), rtol=1e-6)
    np.testing.assert_allclose(found.low, maps.amin((0, 2, 3)).numpy(), rtol=1e-6)


def test_moments_of_an_image_drawn_twice_are_those_of_a_set_that_has_it_twice():
    model, pixels = two_norms(), smooth_images(3)
    with torch.no_grad():
        whole = gather_moments(model, {"1": model[1]}, [pixels])["1"]
        twice = gather_moments(model, {"1": model[1]}, [pixels[[0, 0, 1]]])["1"]
    mean, variance = whole.resampled(np.array([[2 / 3, 1 / 3, 0.0]]))
    np.testing.assert_allclose(mean[0], twice.pooled()[0], rtol=1e-6)
    np.testing.assert_allclose(variance[0], twice.pooled()[1], rtol=1e-6)


def test_bootstrap_weights_are_shares_of_draws_with_replacement():
    weights = bootstrap_weights(5, seed=1)
    assert weights.shape == (DRAWS, 5)
    np.testing.assert_allclose(weights.sum(1), 1)
    assert set(np.unique(weights)) <= {k / 5 for k in range(6)}
    np.testing.assert_array_equal(weights, bootstrap_weights(5, seed=1))


def test_the_divergence_is_the_integral_of_both_densities():
    (mean, variance), (other_mean, other_variance) = (0.3, 1.7), (-0.4, 0.6)
    x = np.linspace(-30, 30, 600_001)
    p, q = (
        np.exp(-((x - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)
        for m, v in ((mean, variance), (other_mean, other_variance))
    )
    logs = -((x - mean) ** 2) / (2 * variance) + (x - other_mean) ** 2 / (2 * other_variance)
    expected = np.trapezoid((p - q) * (logs - 0.5 * np.log(variance / other_variance)), x)
    one, other = ((np.array([m]), np.array([v])) for m, v in ((mean, variance), (other_mean, other_variance)))
    assert jeffreys_divergence(one, other)[0] == pytest.approx(expected, rel=1e-6)


def test_only_batch_norms_that_keep_statistics_have_them():
    assert has_statistics(nn.BatchNorm1d(2))
    assert has_statistics(FrozenBatchNorm2d(2))
    assert not has_statistics(nn.BatchNorm2d(2, track_running_stats=False))
    assert not has_statistics(nn.InstanceNorm2d(2, track_running_stats=True))


def test_stored_statistics_have_epsilon_in_the_variance_and_new_ones_are_known():
    norm = nn.BatchNorm2d(2, eps=0.25)
    assert never_updated(norm)
    norm.running_mean.fill_(0.5)
    assert not never_updated(norm)
    mean, variance = stored_statistics(norm)
    assert mean.tolist() == [0.5, 0.5]
    assert variance.tolist() == [1.25, 1.25]


def test_what_follows_the_first_norm_is_not_computed():
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Linear(1, 1)).eval()  # the linear layer would raise
    pixels = smooth_images(2)
    name, entering = first_norm_input(model, {"1": model[1]}, pixels)
    assert name == "1"
    torch.testing.assert_close(entering, model[0](pixels))
    assert first_norm_input(nn.Sequential(nn.Identity()), {"gone": nn.BatchNorm2d(3)}, pixels) is None


def test_infinite_activations_are_named_by_the_batch_norm_that_they_enter():
    model = two_norms()
    with torch.no_grad():
        model[3].bias.fill_(float("inf"))
        with pytest.raises(BackboneError, match="the input of 4"):
            gather_moments(model, {"1": model[1], "4": model[4]}, [smooth_images(2)])
