"""What of a gradient reaches the first layer of a deep stack, with and without shortcuts.

Claim: under PyTorch's own initialisation a plain stack of linear layers with ReLU weakens a gradient by 1/√6 in every
    layer, so that the first layers of a deep one get nothing; with a shortcut around each layer it grows by √(7/6).
Source: He et al. 2016, arXiv:1512.03385, sections 1 and 3.1, and arXiv:1603.05027 for a residual layer x + W relu(x)
    + b. The factors are ours: weights from U(±1/√n) have variance 1/(3n) and ReLU passes half, so that |mask·Wᵀg|² is
    |g|²/6 on average. (In the order x + relu(Wx + b) the mask depends on W, and the factor is larger: 1.16 measured.)
Settings: 30 layers of width 128, a random direction as gradient of the output, 64 random inputs, mean over 5 seeds.
Expected: factors per layer 0.4082 ± 0.01 and 1.0801 ± 0.01, and so 0.4082³⁰ = 2e-12 against 10 at the first layer.
    With `init="he"` the plain factor is 1: then not its size is lost but its direction (see
    gradient_autocorrelation).
"""

from __future__ import annotations

import math

import torch
from torch import nn

from headstart.figures.panels import Line, Plot
from headstart.figures.style import BLUE, ORANGE
from headstart.inspection.inspection_result import Table
from headstart.lab.catalogue import CLAIMS
from headstart.lab.experiment import Experiment, Number, drawn_from, need

SOURCE = "He et al. 2016, arXiv:1512.03385, sections 1 and 3.1; the factors follow from the variance of the weights"
KEPT = {"pytorch": 1 / 6, "he": 1.0}  # of a squared gradient, through one layer with ReLU


def run(
    *, depth: int = 30, width: int = 128, inputs: int = 64, seeds: int = 5, seed: int = 0, init: str = "pytorch"
) -> Experiment:
    """Measure the length of the gradient in front of every layer, against that at the output.

    Args:
        init: of the weights: `pytorch`, the default of nn.Linear, or `he`, normal with variance 2/n.

    Raises:
        RecipeError: the stack has fewer than two layers, or the initialisation is unknown.
    """
    need(depth >= 2 and seeds >= 1, "at least two layers and one seed", (depth, seeds), "depth, seeds")
    need(init in KEPT, " or ".join(KEPT), init, "init")
    settings = {"depth": depth, "width": width, "inputs": inputs, "seeds": seeds, "seed": seed, "init": init}
    plain, residual = (
        _mean([_lengths(depth, width, inputs, init, skip, seed + i) for i in range(seeds)]) for skip in (False, True)
    )
    found = (
        Number("factor of one plain layer", plain[0] ** (1 / depth), math.sqrt(KEPT[init]), 0.01),
        Number("factor of one residual layer", residual[0] ** (1 / depth), math.sqrt(1 + KEPT[init]), 0.01),
        Number("share of the gradient at the first residual layer", residual[0], 1.0, relation="≥"),
        Number("share of the gradient at the first plain layer", plain[0], 1e-3, relation="≤"),
    )
    return Experiment(
        "gradient_reach",
        CLAIMS["gradient_reach"],
        SOURCE,
        settings,
        found,
        (_table(plain, residual),),
        _reading(plain, residual, init),
        (_panel(plain, residual, KEPT[init]),),
    )


def _lengths(depth: int, width: int, inputs: int, init: str, skip: bool, seed: int) -> list[float]:
    """Root mean square length of the gradient in front of layer 1, 2, …, depth, and at the output, where it is 1."""
    with drawn_from(seed):
        layers = [_layer(width, init) for _ in range(depth)]
        x = torch.randn(inputs, width, requires_grad=True)
        direction = nn.functional.normalize(torch.randn(inputs, width), dim=1)
    places = [x]
    for layer in layers:
        x = places[-1]
        step = layer(torch.relu(x))
        places.append(x + step if skip else step)
    gradients = torch.autograd.grad(places[-1], places, direction)
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
    rows = tuple((place + 1, plain[place], residual[place]) for place in shown)
    return Table("Share of the gradient in front of a layer", ("layer", "plain", "residual"), rows)


def _reading(plain: list[float], residual: list[float], init: str) -> tuple[str, ...]:
    said = f"The first layer gets {plain[0]:.1e} of the gradient in the plain stack, {residual[0]:.1e} with shortcuts."
    if init == "he":
        return (said, "He's initialisation keeps the size of a gradient without any shortcut.")
    return (said,)


def _panel(plain: list[float], residual: list[float], kept: float) -> Plot:
    layers = range(1, len(plain) + 1)
    behind = [(len(plain) - layer) / 2 for layer in layers]
    lines = (
        Line("with shortcuts", layers, residual, BLUE),
        Line("plain", layers, plain, ORANGE),
        Line("as computed", layers, [(1 + kept) ** power for power in behind], style="dashes"),
        Line("", layers, [kept**power for power in behind], style="dashes"),
    )
    return Plot("Gradient in front of each layer", lines, "layer", "share of the output's gradient", log_y=True)
