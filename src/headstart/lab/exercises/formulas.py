"""Level 1: formulas of the chapter, each as one function on tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from headstart.lab.exercises.exercise import Exercise, named, same

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Names = Mapping[str, Any]


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


NORMALISE = Exercise(
    name="normalise",
    level=1,
    title="Normalise an image for a network pretrained on ImageNet",
    task="""Write normalise(image): image is a tensor 3×H×W in [0, 1]; subtract the mean of each channel and divide
by its standard deviation. Means: 0.485, 0.456, 0.406; standard deviations: 0.229, 0.224, 0.225.""",
    starter="def normalise(image):\n    raise NotImplementedError",
    solution="""import torch

MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


def normalise(image):
    return (image - MEAN) / STD""",
    checks={
        "a white pixel has the values computed by hand": _normalise_white,
        "each channel has its own mean and deviation": _normalise_each_channel,
        "the input is not changed": _normalise_leaves_its_input,
    },
)


def _batch_norm_matches(names: Names) -> None:
    batch = _draw(16, 3) * 5 + 2
    same(named(names, "batch_norm")(batch), nn.BatchNorm1d(3, affine=False)(batch), "a batch of 16 points")


def _batch_norm_is_biased(names: Names) -> None:
    normed = named(names, "batch_norm")(_draw(4, 2))
    same(normed.var(0, unbiased=False), torch.ones(2), "the biased variance of four points", tolerance=1e-2)


def _batch_norm_constant(names: Names) -> None:
    same(named(names, "batch_norm")(torch.full((5, 2), 3.0)), torch.zeros(5, 2), "a feature that is constant")


BATCH_NORM = Exercise(
    name="batch-norm",
    level=1,
    title="Batch norm in training mode",
    task="""Write batch_norm(batch, eps=1e-5): batch is N×D; return it with mean 0 and variance 1 in every column.
Divide by the square root of the biased variance plus eps.""",
    starter="def batch_norm(batch, eps=1e-5):\n    raise NotImplementedError",
    solution="""def batch_norm(batch, eps=1e-5):
    variance = batch.var(0, unbiased=False)
    return (batch - batch.mean(0)) / (variance + eps).sqrt()""",
    checks={
        "it gives what torch's layer gives": _batch_norm_matches,
        "it divides by the biased variance": _batch_norm_is_biased,
        "a constant feature becomes zero, not nan": _batch_norm_constant,
    },
)


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


RUNNING_STATISTICS = Exercise(
    name="running-statistics",
    level=1,
    title="The statistics that batch norm stores for evaluation",
    task="""Write update(mean, variance, batch, momentum): return the new stored mean and variance of each feature
after one batch N×D in training mode. (The chapter's own check by hand has a plus where a times belongs.
And which variance is it?)""",
    starter="def update(mean, variance, batch, momentum):\n    raise NotImplementedError",
    solution="""def update(mean, variance, batch, momentum):
    new_mean = momentum * batch.mean(0) + (1 - momentum) * mean
    new_variance = momentum * batch.var(0, unbiased=True) + (1 - momentum) * variance
    return new_mean, new_variance""",
    checks={
        "after one batch with momentum 0.1": lambda names: _running_checked(names, 0.1, 1),
        "after five batches with momentum 0.1": lambda names: _running_checked(names, 0.1, 5),
        "after two batches with momentum 1": lambda names: _running_checked(names, 1.0, 2),
    },
)


def _grey_is_convolution(names: Names) -> None:
    layer = named(names, "grey_convolution")()
    if not isinstance(layer, nn.Conv2d):
        same(layer, 0.0, "the returned layer")  # raises: it is no number either
    same(torch.tensor(layer.kernel_size), torch.tensor([1, 1]), "kernel size")


def _grey_weighs(names: Names) -> None:
    image = _draw(2, 3, 6, 5)
    expected = 0.299 * image[:, :1] + 0.587 * image[:, 1:2] + 0.114 * image[:, 2:]
    same(named(names, "grey_convolution")()(image), expected, "two random images in grey")


GREY_CONVOLUTION = Exercise(
    name="grey-convolution",
    level=1,
    title="Grey as a 1×1 convolution",
    task="""Write grey_convolution(): return an nn.Conv2d with kernel 1×1 that turns images N×3×H×W into grey ones
N×1×H×W, 0.299 of red, 0.587 of green and 0.114 of blue, and adds nothing.""",
    starter="from torch import nn\n\n\ndef grey_convolution():\n    raise NotImplementedError",
    solution="""import torch
from torch import nn


def grey_convolution():
    layer = nn.Conv2d(3, 1, kernel_size=1, bias=False)
    with torch.no_grad():
        layer.weight[:] = torch.tensor([0.299, 0.587, 0.114])[None, :, None, None]
    return layer""",
    checks={"it is a convolution with kernel 1×1": _grey_is_convolution, "it gives the grey image": _grey_weighs},
)

EXERCISES = (NORMALISE, BATCH_NORM, RUNNING_STATISTICS, GREY_CONVOLUTION)
