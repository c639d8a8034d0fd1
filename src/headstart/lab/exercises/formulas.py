"""Level 1: formulas of the chapter, each as one function on tensors. Importing this needs no torch."""

from __future__ import annotations

from headstart.lab.exercises.exercise import Exercise

_CHECKS = "headstart.lab.exercises.formula_checks"

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
    checks=(
        "a white pixel has the values computed by hand",
        "each channel has its own mean and deviation",
        "the input is not changed",
    ),
    checked_by=_CHECKS,
)

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
    checks=(
        "it gives what torch's layer gives",
        "it divides by the biased variance",
        "a constant feature becomes zero, not nan",
    ),
    checked_by=_CHECKS,
)

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
    checks=(
        "after one batch with momentum 0.1",
        "after five batches with momentum 0.1",
        "after two batches with momentum 1",
    ),
    checked_by=_CHECKS,
)

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
    checks=(
        "it is a convolution with kernel 1×1",
        "it gives the grey image",
    ),
    checked_by=_CHECKS,
)

EXERCISES = (NORMALISE, BATCH_NORM, RUNNING_STATISTICS, GREY_CONVOLUTION)
