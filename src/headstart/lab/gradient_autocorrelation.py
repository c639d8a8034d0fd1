"""How alike the gradients of neighbouring inputs are: in deep plain networks they become noise, with shortcuts less so.

Claim: along a line of inputs the gradient of a deep plain network with batch norm is white noise; with shortcuts
    nearby inputs keep similar gradients, and more so when the branches are scaled down.
Source: Balduzzi et al. 2017, The Shattered Gradients Problem, arXiv:1702.08591, figures 1 and 2, theorems 1 and 2. We
    measure batch norm's statistics on the line and hold them fixed, so that no input acts on another's gradient.
Settings: 256 inputs on [-2, 2], width 200, He's initialisation, layers W relu(norm(h)), 24 plain ones against 50
    residual ones whose branches are multiplied by 1 and by 0.1, ten seeds; and 200 pairs of random inputs, one layer.
Expected: at lag 5 |24 plain| ≤ 0.1; at lag 1 the residual ones lie at least 0.4 above it; at lag 5 the ones with
    small branches at least 0.3 above those. Cosine of two gradients through one layer: 1/2 ± 0.03 plain, 3/4 ± 0.03
    with a shortcut (closed form: half of the units are on for one input, a quarter for both).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from headstart.figures.panels import Line, Panel, Plot
from headstart.figures.style import BLUE, MUTED, ORANGE, TEXT
from headstart.inspection.gradients.correlation import autocorrelation
from headstart.inspection.inspection_result import Cell, Table
from headstart.lab.catalogue import CLAIMS
from headstart.lab.experiment import Experiment, Number, drawn_from, need

SOURCE = "Balduzzi et al. 2017, The Shattered Gradients Problem, arXiv:1702.08591, figures 1 and 2"
_MOST_LAG = 15


def run(
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
        small: what the branches of the last network are multiplied by.
        norm: whether the layers normalise.

    Raises:
        RecipeError: there are no layers, or too few inputs for the lags.
    """
    need(min(plain_depth, residual_depth, seeds) >= 1, "at least one layer", (plain_depth, residual_depth), "depth")
    need(inputs >= 4 * _MOST_LAG, f"at least {4 * _MOST_LAG} inputs", inputs, "inputs")
    settings: dict[str, object] = dict(locals())
    kinds = {
        "1 plain layer": (1, 0.0, 1.0),
        f"{plain_depth} plain layers": (plain_depth, 0.0, 1.0),
        f"{residual_depth} residual layers": (residual_depth, 1.0, 1.0),
        f"{residual_depth} residual, branch × {small:g}": (residual_depth, 1.0, small),
    }
    lines = {
        name: [_gradient(kind, width, inputs, norm, seed + i) for i in range(seeds)] for name, kind in kinds.items()
    }
    curves = {name: autocorrelation(torch.stack(gradients), _MOST_LAG) for name, gradients in lines.items()}
    _, plain, residual, scaled = curves.values()
    found = (
        Number("plain, lag 5, without its sign", abs(plain[5]), 0.1, relation="≤"),
        Number("residual above plain, lag 1", residual[1] - plain[1], 0.4, relation="≥"),
        Number("small branches above whole ones, lag 5", scaled[5] - residual[5], 0.3, relation="≥"),
        Number("cosine of a pair through one plain layer", _pair_cosine(0.0, width, seed), 1 / 2, 0.03),
        Number("cosine of a pair through one residual layer", _pair_cosine(1.0, width, seed), 3 / 4, 0.03),
    )
    firsts = {name: gradients[0].tolist() for name, gradients in lines.items()}
    return Experiment(
        "gradient_autocorrelation",
        CLAIMS["gradient_autocorrelation"],
        SOURCE,
        settings,
        found,
        (_table(curves),),
        _reading(curves),
        _panels(curves, firsts),
    )


def _gradient(kind: tuple[int, float, float], width: int, inputs: int, norm: bool, seed: int) -> Tensor:
    """d output / d input at every input of the line; `kind` is depth, factor of the shortcut, factor of the branch."""
    depth, shortcut, branch = kind
    with drawn_from(seed):
        x = torch.linspace(-2, 2, inputs)[:, None].requires_grad_()
        # a bias, so that the units bend at different places of the line, not all at 0
        h = x @ _he(1, width) + torch.randn(width)
        for _ in range(depth):
            step = torch.relu(_normalised(h) if norm else h) @ _he(width, width)
            h = shortcut * h + branch * step
        out = h @ _he(width, 1)
    gradient: Tensor = torch.autograd.grad(out.sum(), x)[0]
    return gradient[:, 0]


def _he(inner: int, outer: int) -> Tensor:
    return torch.randn(inner, outer) * math.sqrt(2 / inner)


def _normalised(h: Tensor) -> Tensor:
    """Standardised over the line by constants: no gradient flows through the statistics."""
    fixed = h.detach()
    return (h - fixed.mean(0)) / fixed.std(0, unbiased=False).clamp_min(1e-6)


def _pair_cosine(shortcut: float, width: int, seed: int) -> float:
    """Mean cosine of the gradients at two unrelated inputs x of one layer shortcut · x + W relu(x), over 200 pairs."""
    with drawn_from(seed):
        x = torch.randn(200, 2, width)
        g = torch.randn(200, 1, width)  # the gradient that comes from behind
        back = shortcut * g + (x > 0) * (g @ _he(width, width).T)
    return float(torch.cosine_similarity(back[:, 0], back[:, 1]).mean())


def _table(curves: dict[str, list[float]]) -> Table:
    lags = (1, 5, 10, 15)
    rows: tuple[tuple[Cell, ...], ...] = tuple((name, *(curve[lag] for lag in lags)) for name, curve in curves.items())
    return Table("Autocorrelation of the gradient", ("network", *(f"lag {lag}" for lag in lags)), rows)


def _reading(curves: dict[str, list[float]]) -> tuple[str, ...]:
    at = [f"{curve[1]:.2f} with {name}" for name, curve in curves.items()]
    return (f"The gradients at two neighbouring inputs are correlated {', '.join(at)}.",)


def _panels(curves: dict[str, list[float]], firsts: dict[str, list[float]]) -> tuple[Panel, ...]:
    colours = (MUTED, ORANGE, BLUE, TEXT)
    lags = range(_MOST_LAG + 1)
    lines = tuple(
        Line(name, lags, curve, colour) for (name, curve), colour in zip(curves.items(), colours, strict=True)
    )
    correlation = Plot("Autocorrelation, mean over seeds", lines, "lag (inputs apart)", "correlation")
    _, plain, residual, scaled = (_scaled(name, gradient) for name, gradient in firsts.items())
    pairs = ((plain, ORANGE), (residual, BLUE), (scaled, TEXT))
    return (correlation, *(_along(name, gradient, colour) for (name, gradient), colour in pairs))


def _scaled(name: str, gradient: Sequence[float]) -> tuple[str, list[float]]:
    most = max(abs(value) for value in gradient)
    return name, [value / most for value in gradient]


def _along(name: str, gradient: list[float], colour: str) -> Plot:
    x = torch.linspace(-2, 2, len(gradient)).tolist()
    return Plot(name, (Line("", x, gradient, colour),), "input", "gradient, largest is 1")
