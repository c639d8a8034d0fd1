"""Batch norm makes the loss surface smoother: loss and gradient change less along a step.

Claim: during training, the loss along the direction of the gradient varies less with batch norm, and the gradient
    predicts the gradient further along better. The reason in one layer: batch norm takes from the gradient its mean
    and its part along the normalised activations, and divides what is left by the standard deviation.
Source: the chapter's summary; Santurkar et al. 2018, How Does Batch Normalization Help Optimization?, arXiv:1805.11604,
    figure 4 (loss range and gradient predictiveness along steps of 1/2 to 4 times the rate) and theorem 4.1.
Settings: 8 seeds, 256 points of four classes, 8 hidden layers of 64, He's initialisation, 60 full-batch steps of
    gradient descent with rate 0.1; every 6th step, 7 step lengths from 1/2 to 4 times the rate.
Expected: theorem's equation exact to 1e-10; loss range and change of the gradient (Euclidean), mean over the training:
    without batch norm at least 3 times that with it, geometric mean over seeds at its lower 95 % end. With PyTorch's
    default weights (`init="pytorch"`) the claim fails: the plain network hardly moves on a flat plateau.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from headstart.figures.panels import Line, Panel, Plot
from headstart.figures.style import BLUE, ORANGE
from headstart.inspection.inspection_result import Table
from headstart.lab.experiment import Experiment, Number, require, seeded
from headstart.lab.stacked_networks import Problem, StackedNetworks, draw_problem, interval, losses

SOURCE = "chapter on transfer learning, summary; Santurkar et al. 2018, arXiv:1805.11604, figure 4 and theorem 4.1"
INITS = {"he": 2.0, "pytorch": 1 / 3}
_EVERY = 6  # steps between two measurements
_LENGTHS = tuple(0.5 * 2 ** (i / 2) for i in range(7))  # of the step, in rates: 1/2 to 4, as in the source


@dataclass(frozen=True)
class Walk:
    """A training: at each measured step and seed (K×S), loss, its range along the step, and change of the gradient."""

    loss: Tensor
    loss_range: Tensor
    gradient_change: Tensor


def run(
    *, seed: int = 0, seeds: int = 8, depth: int = 8, steps: int = 60, lr: float = 0.1, init: str = "he"
) -> Experiment:
    """Train the same networks with and without batch norm, and measure the loss surface along each step.

    Raises:
        RecipeError: there are fewer than two seeds, no step or layer, or the initialisation is unknown.
    """
    require(
        seeds >= 2 and min(depth, steps) >= 1, "two seeds, one step and layer", found=(seeds, depth, steps), where="run"
    )
    require(init in INITS, " or ".join(INITS), found=init, where="init")
    settings: dict[str, object] = dict(locals())
    with seeded(seed):
        theorem = _theorem()
        problem = draw_problem(seeds, 256)
        walks = {
            norm: _walk(_networks(problem, depth, norm, init=init, seed=seed), problem, steps=steps, lr=lr)
            for norm in ("none", "before")
        }
    plain, normed = walks.values()
    ratios = {
        "loss range": plain.loss_range.mean(0) / normed.loss_range.mean(0),
        "change of the gradient": plain.gradient_change.mean(0) / normed.gradient_change.mean(0),
    }
    found = {name: interval(ratio.log()) for name, ratio in ratios.items()}
    return Experiment(
        "smoother_loss",
        SOURCE,
        settings,
        numbers=(
            Number("theorem 4.1: squared gradient, relative error", theorem, 0.0, 1e-10),
            *(
                Number(f"{name}, without over with batch norm: lower end", math.exp(each.low), 3.0, relation="≥")
                for name, each in found.items()
            ),
        ),
        tables=(_table(walks),),
        interpretation=tuple(
            f"Without batch norm the {name} is {math.exp(each.mean):.1f} times as large "
            f"[{math.exp(each.low):.1f}, {math.exp(each.high):.1f}]."
            for name, each in found.items()
        ),
        panels=_panels(walks),
    )


def _theorem() -> float:
    """Largest relative error of |∂L/∂y|² = (γ/σ)² (|g|² − (Σg)²/m − (Σgŷ)²/m), with g = ∂L/∂ of the output."""
    m, gamma = 64, 1.7
    inputs = (torch.randn(m, 5, dtype=torch.float64) * 3 + 1).requires_grad_()
    layer = nn.BatchNorm1d(5, eps=1e-14).double()  # torch refuses 0
    nn.init.constant_(layer.weight, gamma)
    direction = torch.randn(m, 5, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(layer(inputs), inputs, direction)
    deviation = inputs.detach().std(0, unbiased=False)
    normed = (inputs.detach() - inputs.detach().mean(0)) / deviation
    taken = direction.sum(0).square() / m + (direction * normed).sum(0).square() / m
    expected = (gamma / deviation).square() * (direction.square().sum(0) - taken)
    return float((gradient.square().sum(0) / expected - 1).abs().max())


def _networks(problem: Problem, depth: int, norm: str, *, init: str, seed: int) -> StackedNetworks:
    torch.manual_seed(seed)  # the same weights with and without batch norm
    return StackedNetworks(len(problem.points), depth, 64, norm=norm, init=INITS[init])


def _walk(model: StackedNetworks, problem: Problem, *, steps: int, lr: float) -> Walk:
    names, values = zip(*model.named_parameters(), strict=True)
    seeds = len(problem.points)

    def loss_and_gradient(position: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        weights = [each.detach().requires_grad_() for each in position]
        buffers = {name: value.clone() for name, value in model.named_buffers()}
        state = {**dict(zip(names, weights, strict=True)), **buffers}
        loss = losses(functional_call(model, state, (problem.points,)), problem.labels)
        return loss.detach(), torch.autograd.grad(loss.sum(), weights)

    def distance(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> Tensor:
        parts = [(a - b).reshape(seeds, -1).square().sum(1) for a, b in zip(one, other, strict=True)]
        return torch.stack(parts).sum(0).sqrt()

    measured: list[tuple[Tensor, Tensor, Tensor]] = []
    position: tuple[Tensor, ...] = values
    for step in range(steps):
        loss, gradient = loss_and_gradient(position)
        if step % _EVERY == 0:
            along = [loss_and_gradient(_moved(position, gradient, length * lr)) for length in _LENGTHS]
            levels = torch.stack([level for level, _ in along])
            changes = torch.stack([distance(gradient, further) for _, further in along])
            measured.append((loss, levels.amax(0) - levels.amin(0), changes.amax(0)))
        position = _moved(position, gradient, lr)
    return Walk(*(torch.stack(values).double() for values in zip(*measured, strict=True)))


def _moved(position: tuple[Tensor, ...], gradient: tuple[Tensor, ...], length: float) -> tuple[Tensor, ...]:
    return tuple(weight.detach() - length * each for weight, each in zip(position, gradient, strict=True))


def _table(walks: dict[str, Walk]) -> Table:
    rows = tuple(
        (
            "without" if norm == "none" else "with",
            float(walk.loss_range.mean()),
            float(walk.gradient_change.mean()),
            float(walk.loss[-1].mean()),
        )
        for norm, walk in walks.items()
    )
    return Table("Means over training and seeds", ("batch norm", "loss range", "gradient change", "last loss"), rows)


def _panels(walks: dict[str, Walk]) -> tuple[Panel, ...]:
    at = range(0, len(next(iter(walks.values())).loss) * _EVERY, _EVERY)
    names = (("without batch norm", ORANGE), ("with batch norm", BLUE))

    def plot(title: str, field: str, label: str) -> Plot:
        lines = tuple(
            Line(name, at, getattr(walk, field).mean(1).clamp_min(1e-9).tolist(), color)
            for walk, (name, color) in zip(walks.values(), names, strict=True)
        )
        return Plot(title, lines, x_label="step", y_label=label, log_y=True)

    return (
        plot("Range of the loss along a step", "loss_range", "largest minus smallest loss"),
        plot("Change of the gradient along a step", "gradient_change", "largest distance"),
    )
