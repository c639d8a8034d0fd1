"""The share of a gradient that reaches the first layer of a deep stack, with and without shortcuts.

Claim: with PyTorch's default initialisation a plain stack of linear layers with ReLU shrinks a gradient by 1/√6 in
    every layer, so that the first layers of a deep stack get almost nothing; with a shortcut around each layer it grows
    by √(7/6).
Source: He et al. 2016, arXiv:1512.03385, sections 1 and 3.1, and arXiv:1603.05027 for a residual layer x + W relu(x)
    + b. The factors are ours: weights from U(±1/√n) have variance 1/(3n) and ReLU passes half, so that |mask·Wᵀg|² is
    |g|²/6 on average. (In the order x + relu(Wx + b) the mask depends on W, and the factor is larger: 1.16 measured.)
Settings: 30 layers of width 128, a random direction as the gradient of the output, 64 random inputs, mean over 5 seeds.
Expected: factors per layer 0.4082 ± 0.01 and 1.0801 ± 0.01, and so 0.4082³⁰ = 2e-12 against 10 at the first layer.
    With `init="he"` the plain factor is 1: then the gradient keeps its norm but loses its direction (see
    gradient_autocorrelation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from headstart.figures.panels import Line, Plot
from headstart.figures.style import BLUE, ORANGE
from headstart.inspection.inspection_result import Table
from headstart.lab.experiment import Experiment, Number, require, seeded

SOURCE = "He et al. 2016, arXiv:1512.03385, sections 1 and 3.1; the factors follow from the variance of the weights"
FACTORS = {"pytorch": 1 / 6, "he": 1.0}  # of a squared gradient norm, through one layer with ReLU


def run(
    *, depth: int = 30, width: int = 128, inputs: int = 64, seeds: int = 5, seed: int = 0, init: str = "pytorch"
) -> Experiment:
    """Measure the norm of the gradient before every layer, relative to that at the output.

    Args:
        init: of the weights: `pytorch`, the default of nn.Linear, or `he`, normal with variance 2/n.

    Raises:
        RecipeError: the stack has fewer than two layers, or the initialisation is unknown.
    """
    require(depth >= 2 and seeds >= 1, "at least two layers and one seed", found=(depth, seeds), where="depth, seeds")
    require(init in FACTORS, " or ".join(FACTORS), found=init, where="init")
    settings = {"depth": depth, "width": width, "inputs": inputs, "seeds": seeds, "seed": seed, "init": init}
    stack = Stack(depth, width, init)
    plain, residual = (
        _mean([_norms(stack, inputs, seed + i, skip=skip) for i in range(seeds)]) for skip in (False, True)
    )
    found = (
        Number("factor of one plain layer", plain[0] ** (1 / depth), math.sqrt(FACTORS[init]), 0.01),
        Number("factor of one residual layer", residual[0] ** (1 / depth), math.sqrt(1 + FACTORS[init]), 0.01),
        Number("share of the gradient at the first residual layer", residual[0], 1.0, relation="≥"),
        Number("share of the gradient at the first plain layer", plain[0], 1e-3, relation="≤"),
    )
    return Experiment(
        "gradient_reach",
        SOURCE,
        settings,
        numbers=found,
        tables=(_table(plain, residual),),
        interpretation=_interpretation(plain, residual, init),
        panels=(_panel(plain, residual, FACTORS[init]),),
    )


@dataclass(frozen=True)
class Stack:
    """A stack of linear layers, and how their weights are initialised."""

    depth: int
    width: int
    init: str


def _norms(stack: Stack, inputs: int, seed: int, *, skip: bool) -> list[float]:
    """Root mean square norm of the gradient before layer 1, 2, …, depth, and at the output, where it is 1."""
    with seeded(seed):
        layers = [_layer(stack.width, stack.init) for _ in range(stack.depth)]
        x = torch.randn(inputs, stack.width, requires_grad=True)
        direction = nn.functional.normalize(torch.randn(inputs, stack.width), dim=1)
    activations = [x]
    for layer in layers:
        x = activations[-1]
        step = layer(torch.relu(x))
        activations.append(x + step if skip else step)
    gradients = torch.autograd.grad(activations[-1], activations, direction)
    return [float(gradient.square().sum(1).mean().sqrt()) for gradient in gradients]


def _layer(width: int, init: str) -> nn.Linear:
    layer = nn.Linear(width, width)
    if init == "he":
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    return layer


def _mean(runs: list[list[float]]) -> list[float]:
    """Geometric mean over the seeds, at every layer."""
    return [math.exp(sum(math.log(max(value, 1e-38)) for value in at) / len(at)) for at in zip(*runs, strict=True)]


def _table(plain: list[float], residual: list[float]) -> Table:
    shown = sorted({0, *range(4, len(plain) - 1, 5)})
    rows = tuple((layer + 1, plain[layer], residual[layer]) for layer in shown)
    return Table("Share of the gradient before a layer", ("layer", "plain", "residual"), rows)


def _interpretation(plain: list[float], residual: list[float], init: str) -> tuple[str, ...]:
    first = f"The first layer gets {plain[0]:.1e} of the gradient in the plain stack, {residual[0]:.1e} with shortcuts."
    if init == "he":
        return (first, "He's initialisation keeps the norm of a gradient without any shortcut.")
    return (first,)


def _panel(plain: list[float], residual: list[float], factor: float) -> Plot:
    layers = range(1, len(plain) + 1)
    powers = [(len(plain) - layer) / 2 for layer in layers]
    lines = (
        Line("with shortcuts", layers, residual, BLUE),
        Line("plain", layers, plain, ORANGE),
        Line("computed", layers, [(1 + factor) ** power for power in powers], style="dashes"),
        Line("", layers, [factor**power for power in powers], style="dashes"),
    )
    return Plot(
        "Gradient before each layer", lines, x_label="layer", y_label="share of the output's gradient", log_y=True
    )
