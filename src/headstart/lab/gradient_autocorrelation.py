"""Correlation of the gradients of neighbouring inputs: noise in deep plain networks, less so with shortcuts.

Claim: along a line of inputs the gradient of a deep plain network with batch norm is white noise; with shortcuts
    nearby inputs have similar gradients, and more so when the branches are scaled down.
Source: Balduzzi et al. 2017, The Shattered Gradients Problem, arXiv:1702.08591, figures 1 and 2, theorems 1 and 2. We
    measure the batch-norm statistics on the line and keep them fixed, so that no input affects another's gradient.
Settings: 256 inputs on [-2, 2], width 200, He's initialisation, layers W relu(norm(h)), 24 plain ones against 50
    residual ones whose branches are multiplied by 1 and by 0.1, ten seeds; and 200 pairs of random inputs, one layer.
Expected: at lag 5 |24 plain| ≤ 0.1; at lag 1 the residual ones are at least 0.4 above it; at lag 5 the ones with
    small branches at least 0.3 above those. Cosine of two gradients through one layer: 1/2 ± 0.03 plain, 3/4 ± 0.03
    with a shortcut (closed form: half of the units are active for one input, a quarter for both).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.figures.panels import Line, Panel, Plot
from headstart.figures.style import BLUE, MUTED, ORANGE, TEXT
from headstart.inspection.gradients.correlation import autocorrelation
from headstart.inspection.inspection_result import Cell, Table
from headstart.lab.experiment import Experiment, Number, require, seeded

SOURCE = "Balduzzi et al. 2017, The Shattered Gradients Problem, arXiv:1702.08591, figures 1 and 2"
_MOST_LAG = 15


@dataclass(frozen=True)
class Network:
    """A stack of layers h ← shortcut · h + branch · W relu(norm(h)) on one input, with one output."""

    depth: int
    width: int
    norm: bool
    shortcut: float = 0.0
    branch: float = 1.0

    def gradient(self, inputs: int, seed: int) -> Tensor:
        """d output / d input at every input of the line [-2, 2], with weights from the seed."""
        with seeded(seed):
            x = torch.linspace(-2, 2, inputs)[:, None].requires_grad_()
            # a bias, so that the units bend at different positions of the line, not all at 0
            h = x @ _he(1, self.width) + torch.randn(self.width)
            for _ in range(self.depth):
                step = torch.relu(_normalised(h) if self.norm else h) @ _he(self.width, self.width)
                h = self.shortcut * h + self.branch * step
            out = h @ _he(self.width, 1)
        gradient: Tensor = torch.autograd.grad(out.sum(), x)[0]
        return gradient[:, 0]


def run(  # each parameter is a setting of `headstart lab gradient-autocorrelation --set`
    *,
    plain_depth: int = 24,
    residual_depth: int = 50,
    width: int = 200,
    inputs: int = 256,
    small: float = 0.1,
    norm: bool = True,
    seeds: int = 10,
    seed: int = 0,
) -> Experiment:
    """Autocorrelation of the gradient along a line of inputs, for four networks.

    Args:
        small: factor of the branches of the last network.
        norm: whether the layers normalise.

    Raises:
        RecipeError: there are no layers, or too few inputs for the lags.
    """
    require(
        min(plain_depth, residual_depth, seeds) >= 1,
        "at least one layer",
        found=(plain_depth, residual_depth),
        where="depth",
    )
    require(inputs >= 4 * _MOST_LAG, f"at least {4 * _MOST_LAG} inputs", found=inputs, where="inputs")
    settings: dict[str, object] = dict(locals())
    networks = {
        "1 plain layer": Network(1, width=width, norm=norm),
        f"{plain_depth} plain layers": Network(plain_depth, width=width, norm=norm),
        f"{residual_depth} residual layers": Network(residual_depth, width=width, norm=norm, shortcut=1.0),
        f"{residual_depth} residual, branch × {small:g}": Network(
            residual_depth, width=width, norm=norm, shortcut=1.0, branch=small
        ),
    }
    lines = {name: [network.gradient(inputs, seed + i) for i in range(seeds)] for name, network in networks.items()}
    curves = {name: autocorrelation(torch.stack(gradients), _MOST_LAG) for name, gradients in lines.items()}
    _, plain, residual, scaled = curves.values()
    found = (
        Number("plain, lag 5, magnitude", abs(plain[5]), 0.1, relation="≤"),
        Number("residual above plain, lag 1", residual[1] - plain[1], 0.4, relation="≥"),
        Number("small branches above full ones, lag 5", scaled[5] - residual[5], 0.3, relation="≥"),
        Number("cosine of a pair through one plain layer", _pair_cosine(0.0, width, seed), 1 / 2, 0.03),
        Number("cosine of a pair through one residual layer", _pair_cosine(1.0, width, seed), 3 / 4, 0.03),
    )
    firsts = {name: gradients[0].tolist() for name, gradients in lines.items()}
    return Experiment(
        "gradient_autocorrelation",
        SOURCE,
        settings,
        numbers=found,
        tables=(_table(curves),),
        interpretation=_interpretation(curves),
        panels=_panels(curves, firsts),
    )


def _he(inner: int, outer: int) -> Tensor:
    return torch.randn(inner, outer) * math.sqrt(2 / inner)


def _normalised(h: Tensor) -> Tensor:
    """Standardised over the line; no gradient flows through the statistics."""
    fixed = h.detach()
    return (h - fixed.mean(0)) / fixed.std(0, unbiased=False).clamp_min(1e-6)


def _pair_cosine(shortcut: float, width: int, seed: int) -> float:
    """Mean cosine of the gradients at two unrelated inputs x of one layer shortcut · x + W relu(x), over 200 pairs."""
    with seeded(seed):
        x = torch.randn(200, 2, width)
        g = torch.randn(200, 1, width)  # the gradient of the output
        back = shortcut * g + (x > 0) * (g @ _he(width, width).T)
    return float(torch.cosine_similarity(back[:, 0], back[:, 1]).mean())


def _table(curves: dict[str, list[float]]) -> Table:
    lags = (1, 5, 10, 15)
    rows: tuple[tuple[Cell, ...], ...] = tuple((name, *(curve[lag] for lag in lags)) for name, curve in curves.items())
    return Table("Autocorrelation of the gradient", ("network", *(f"lag {lag}" for lag in lags)), rows)


def _interpretation(curves: dict[str, list[float]]) -> tuple[str, ...]:
    values = [f"{curve[1]:.2f} with {name}" for name, curve in curves.items()]
    return (f"The correlation of the gradients at neighbouring inputs is {', '.join(values)}.",)


def _panels(curves: dict[str, list[float]], firsts: dict[str, list[float]]) -> tuple[Panel, ...]:
    colors = (MUTED, ORANGE, BLUE, TEXT)
    lags = range(_MOST_LAG + 1)
    lines = tuple(Line(name, lags, curve, color) for (name, curve), color in zip(curves.items(), colors, strict=True))
    correlation = Plot("Autocorrelation, mean over seeds", lines, x_label="lag (inputs)", y_label="correlation")
    _, plain, residual, scaled = (_scaled(name, gradient) for name, gradient in firsts.items())
    pairs = ((plain, ORANGE), (residual, BLUE), (scaled, TEXT))
    return (correlation, *(_along(name, gradient, color) for (name, gradient), color in pairs))


def _scaled(name: str, gradient: Sequence[float]) -> tuple[str, list[float]]:
    most = max(abs(value) for value in gradient)
    return name, [value / most for value in gradient]


def _along(name: str, gradient: list[float], color: str) -> Plot:
    x = torch.linspace(-2, 2, len(gradient)).tolist()
    return Plot(name, (Line("", x, gradient, color),), x_label="input", y_label="gradient (largest: 1)")
