"""Gradient correlation: numpy's autocorrelation, closed forms of simple functions, noise told from smoothness."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from headstart.errors import DataError
from headstart.inspection.gradients.correlation import autocorrelation, gradient_correlation


def test_the_autocorrelation_is_that_of_numpy():
    gradient = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centred = gradient.numpy() - gradient.numpy().mean()
    expected = np.correlate(centred, centred, "full")[39:55] / (centred @ centred)
    assert autocorrelation(gradient[None], 15) == pytest.approx(expected)


def test_products_of_vectors_are_inner_products():
    g = torch.randn(2, 30, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = []
    for lag in range(4):
        of_lines = []
        for line in g.numpy():
            c = line - line.mean(0)
            power = sum(c[t] @ c[t] for t in range(30))
            of_lines.append(sum(c[t] @ c[t + lag] for t in range(30 - lag)) / power)
        expected.append(np.mean(of_lines))
    assert autocorrelation(g, 3) == pytest.approx(expected)


class Square(nn.Module):
    """The gradient of its logit at x is 2x: it changes evenly along every line."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = x.square().sum((1, 2, 3))
        return torch.stack([value, -value], 1)


class Shaken(nn.Module):
    """The gradient turns faster than the inputs follow each other."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = torch.sin(4000.0 * x).sum((1, 2, 3))
        return torch.stack([value, -value], 1)


def test_a_gradient_that_changes_evenly_has_the_correlation_of_a_straight_line():
    found = gradient_correlation(Square(), torch.randn(4, 3, 6, 6), points=61)
    straight = np.linspace(-1, 1, 61)
    expected = [float(straight[: 61 - k] @ straight[k:] / (straight @ straight)) for k in range(16)]
    assert found.curve == pytest.approx(expected, abs=1e-4)
    assert found.length == pytest.approx(next((k for k, v in enumerate(expected) if v < np.exp(-1)), np.inf) / 60)
    assert "Gradients are smooth" in found.interpretation[0]


def test_a_gradient_that_is_noise_is_named():
    found = gradient_correlation(Shaken(), torch.randn(4, 3, 6, 6), points=61)
    assert abs(found.curve[1]) < 0.2
    assert "like noise" in found.interpretation[0]


@pytest.mark.slow
def test_it_is_an_inspection_result_and_leaves_no_trace(small_classifier):
    model = small_classifier(True)
    found = gradient_correlation(model, torch.rand(3, 3, 48, 48), points=20, most_lag=5, lines=2)
    assert found.curve[0] == pytest.approx(1.0)
    assert (found.lines, len(found.single)) == (2, 2)
    json.dumps(found.to_dict(), allow_nan=False)
    assert len(found.figure().axes[0].lines) == 3
    assert "over 5 lags" in found.description
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(32, 2)).train()
    gradient_correlation(network, torch.rand(2, 3, 6, 6), points=20, most_lag=5)
    assert network.training
    assert all(weight.requires_grad and weight.grad is None for weight in network.parameters())


def test_too_few_images_or_points_are_refused():
    with pytest.raises(DataError, match="two images"):
        gradient_correlation(Square(), torch.rand(1, 3, 4, 4))
    with pytest.raises(DataError, match="20 points for 15 lags"):
        gradient_correlation(Square(), torch.rand(2, 3, 4, 4), points=20)
