"""Small networks that are trained side by side, one for each seed, so that an experiment can give intervals over seeds.

The problem of each seed: points of 20 normal features, whose class of four is that of a random network with 32 tanh
units; a share of the training labels is random. All seeds pass through one batched matrix product.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from scipy.special import stdtrit
from torch import Tensor, nn

from headstart.wording import with_sign

FEATURES, CLASSES = 20, 4
NORMS = ("none", "before", "after")
_TEACHER = 32
_TEST = 1000
_MOMENTUM = 0.9


@dataclass(frozen=True)
class Problem:
    """Training and test points of S seeds: S×N×20, labels S×N."""

    points: Tensor
    labels: Tensor
    test_points: Tensor
    test_labels: Tensor


class Interval(NamedTuple):
    """A mean over seeds, and the ends of its 95 % interval (Student's t)."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{with_sign(self.mean, 3)} [{with_sign(self.low, 3)}, {with_sign(self.high, 3)}]"


def draw_problem(seeds: int, points: int, *, noise: float = 0.0) -> Problem:
    """Draw the points and labels of each seed from torch's generator.

    Args:
        points: for training; 1,000 more are the test.
        noise: share of the training labels that are random; the test has none.
    """
    first = torch.randn(seeds, FEATURES, _TEACHER) * 2 / math.sqrt(FEATURES)
    second = torch.randn(seeds, _TEACHER, CLASSES)
    all_points = torch.randn(seeds, points + _TEST, FEATURES)
    classes = (torch.tanh(all_points @ first) @ second).argmax(-1)
    labels = torch.where(
        torch.rand(seeds, points) < noise, torch.randint(CLASSES, (seeds, points)), classes[:, :points]
    )
    return Problem(all_points[:, :points], labels, all_points[:, points:], classes[:, points:])


class StackedNetworks(nn.Module):
    """S networks with hidden layers of ReLU units: S×N×20 → scores S×N×4.

    Args:
        norm: batch norm `before` or `after` each ReLU, or `none`.
        init: variance of a weight times its inputs: 2 is He's, 1/3 that of PyTorch's `nn.Linear`.
        dropout: share of the hidden units dropped after each layer (after ReLU and batch norm).
        group: in training, batch norm takes its statistics from so many points of the batch at a time; 0: from all.
    """

    def __init__(  # six: what a network is
        self,
        seeds: int,
        depth: int,
        width: int,
        *,
        norm: str = "none",
        init: float = 2.0,
        dropout: float = 0.0,
        group: int = 0,
    ) -> None:
        super().__init__()
        sizes = [FEATURES, *[width] * depth, CLASSES]
        self.seeds, self.norm, self.dropout, self.group = seeds, norm, dropout, group
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(seeds, inner, outer) * math.sqrt(init / inner))
            for inner, outer in itertools.pairwise(sizes)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(seeds, 1, size)) for size in sizes[1:])
        self.norms = nn.ModuleList(nn.BatchNorm1d(seeds * width) for _ in range(depth if norm != "none" else 0))

    def forward(self, hidden: Tensor) -> Tensor:
        """Scores of the points."""
        *layers, last = zip(self.weights, self.biases, strict=True)
        for i, (weight, bias) in enumerate(layers):
            hidden = torch.baddbmm(bias, hidden, weight)
            hidden = self._normed(hidden, i) if self.norm == "before" else hidden
            hidden = torch.relu(hidden)
            hidden = self._normed(hidden, i) if self.norm == "after" else hidden
            hidden = torch.dropout(hidden, self.dropout, self.training)
        return torch.baddbmm(last[1], hidden, last[0])

    def _normed(self, hidden: Tensor, layer: int) -> Tensor:
        size = self.group if self.group and self.training else hidden.shape[1]
        parts = [self.norms[layer](part.transpose(0, 1).flatten(1)) for part in torch.split(hidden, size, 1)]
        return torch.cat(parts).view(hidden.shape[1], self.seeds, -1).transpose(0, 1)  # S×N×width


def losses(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of each seed, S."""
    each = nn.functional.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="none")
    return each.view(labels.shape).mean(1)


def train(model: StackedNetworks, problem: Problem, *, steps: int, lr: float, batch_size: int) -> StackedNetworks:
    """Take so many steps of SGD with momentum 0.9 on random batches; the model is returned in eval mode."""
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=_MOMENTUM)
    model.train()
    for _ in range(steps):
        batch = torch.randperm(problem.points.shape[1])[:batch_size]
        optimizer.zero_grad()
        torch.autograd.backward(losses(model(problem.points[:, batch]), problem.labels[:, batch]).sum())
        optimizer.step()
    return model.eval()


@torch.no_grad()
def accuracies(model: StackedNetworks, points: Tensor, labels: Tensor) -> Tensor:
    """Share of the points that each seed classifies correctly, S."""
    correct: Tensor = model(points).argmax(-1) == labels
    return correct.double().mean(1)


@torch.no_grad()
def mean_losses(model: StackedNetworks, points: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of each seed, S."""
    return losses(model(points), labels).double()


def interval(values: Tensor) -> Interval:
    """Mean and 95 % interval of one number per seed; of paired differences where these are given.

    Raises:
        ValueError: there are fewer than two seeds.
    """
    if len(values) < 2:
        raise ValueError("an interval needs two seeds")
    half = float(stdtrit(len(values) - 1, 0.975)) * float(values.std()) / math.sqrt(len(values))
    mean = float(values.mean())
    return Interval(mean, mean - half, mean + half)


def trained(make: Callable[[], StackedNetworks], problem: Problem, seed: int, **settings: float) -> StackedNetworks:
    """Make networks and train them, with weights and batches drawn from the seed."""
    torch.manual_seed(seed)
    return train(make(), problem, **settings)  # type: ignore[arg-type]
