"""The checks of level 1: formulas on tensors, compared with torch's layers and with numbers computed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from headstart.lab.exercises.comparison import Check, Names, named, same, true

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _normalise_white(names: Names) -> None:
    white = named(names, "normalise")(torch.ones(3, 4, 4))
    same(white[:, 0, 0], torch.tensor([2.2489, 2.4286, 2.6400]), "a white pixel", tolerance=1e-3)


def _normalise_each_channel(names: Names) -> None:
    image = _draw(3, 5, 7)
    expected = torch.stack([(image[c] - _MEAN[c]) / _STD[c] for c in range(3)])
    same(named(names, "normalise")(image), expected, "a random image")


def _normalise_leaves_its_input(names: Names) -> None:
    image = _draw(3, 2, 2)
    before = image.clone()
    named(names, "normalise")(image)
    same(image, before, "the input afterwards")


def _batch_norm_matches(names: Names) -> None:
    batch = _draw(16, 3) * 5 + 2
    same(named(names, "batch_norm")(batch), nn.BatchNorm1d(3, affine=False)(batch), "a batch of 16 points")


def _batch_norm_is_biased(names: Names) -> None:
    normed = named(names, "batch_norm")(_draw(4, 2))
    same(normed.var(0, unbiased=False), torch.ones(2), "the biased variance of four points", tolerance=1e-2)


def _batch_norm_constant(names: Names) -> None:
    same(named(names, "batch_norm")(torch.full((5, 2), 3.0)), torch.zeros(5, 2), "a feature that is constant")


def _running(momentum: float, passes: int) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    layer = nn.BatchNorm1d(2, momentum=momentum)
    batches = [_draw(8, 2, seed=i) * 3 + 1 for i in range(passes)]
    for batch in batches:
        layer(batch)
    return layer.get_buffer("running_mean"), layer.get_buffer("running_var"), batches


def _running_checked(names: Names, momentum: float, passes: int) -> None:
    mean, variance, batches = _running(momentum, passes)
    stored: Any = (torch.zeros(2), torch.ones(2))
    for batch in batches:
        stored = named(names, "update")(*stored, batch, momentum)
    same(stored[0], mean, "stored mean")
    same(stored[1], variance, "stored variance")


def _grey_is_convolution(names: Names) -> None:
    layer = named(names, "grey_convolution")()
    true(isinstance(layer, nn.Conv2d), "an nn.Conv2d", f"{layer!r:.80}")
    same(torch.tensor(layer.kernel_size), torch.tensor([1, 1]), "kernel size")


def _grey_weighs(names: Names) -> None:
    image = _draw(2, 3, 6, 5)
    expected = 0.299 * image[:, :1] + 0.587 * image[:, 1:2] + 0.114 * image[:, 2:]
    same(named(names, "grey_convolution")()(image), expected, "two random images in grey")


CHECKS: Mapping[str, tuple[Check, ...]] = {
    "normalise": (
        _normalise_white,
        _normalise_each_channel,
        _normalise_leaves_its_input,
    ),
    "batch-norm": (
        _batch_norm_matches,
        _batch_norm_is_biased,
        _batch_norm_constant,
    ),
    "running-statistics": (
        lambda names: _running_checked(names, 0.1, 1),
        lambda names: _running_checked(names, 0.1, 5),
        lambda names: _running_checked(names, 1.0, 2),
    ),
    "grey-convolution": (
        _grey_is_convolution,
        _grey_weighs,
    ),
}
"""Name of an exercise → its checks, in the order of its words."""
