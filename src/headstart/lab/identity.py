"""Learning the identity: a unit with ReLU cannot, the same unit with a shortcut can, by keeping its ReLU silent.

Claim: relu(wx + b) gives nothing below zero, so that it fails on every negative x; relu(wx + b) + x learns to give x
    back, not by w and b being right, but by wx + b staying below zero: the unit stays out of the way of its input.
Source: the chapter's section on learning the identity; He et al. 2016, arXiv:1512.03385, section 3.1.
Settings: 100 points from seed 23, each its own target; units from seed 555; SGD with learning rate 0.1 and squared
    error, 200 epochs plain and 100 residual, shuffled batches of 16 (StepByStep seeds them with 42).
Expected (printed in the chapter): the first five points and outputs of both tables ± 1e-6; residual weight 0.1490 and
    bias -0.3329 ± 5e-5; largest point 2.2347 ± 5e-5. The ReLU gives at most 1e-4. In full precision the zero of
    wx + b, -b/w, lies a hair *below* the largest point after 100 epochs (2.23464 against 2.23469; the rounded weights
    cannot tell) and creeps up to it, because a silent ReLU gets no gradient. The chapter's text has it above, at
    2.2352, from 0.3326 and 0.1488, which are the weights of another run than the one it prints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from headstart.figures.panels import Line, Panel, Plot
from headstart.figures.style import BLUE, ORANGE
from headstart.inspection.inspection_result import Table
from headstart.lab.catalogue import CLAIMS
from headstart.lab.experiment import Experiment, Number, drawn_from, need, numbers
from headstart.training.stepbystep import StepByStep

SOURCE = "chapter on transfer learning, section on learning the identity; He et al. 2016, arXiv:1512.03385, section 3.1"
_POINTS = (-0.9012059, 0.56559485, -0.48822638, 0.75069577, 0.58925384)
_PLAIN = (0.0, 0.56559485, 0.0, 0.7506957, 0.58925384)


class Unit(nn.Module):
    """relu(wx + b), with x added to it or not."""

    def __init__(self, *, skip: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        """N×1 → N×1."""
        out = torch.relu(self.linear(x))
        return out + x if self.skip else out


def run(
    *,
    points_seed: int = 23,
    model_seed: int = 555,
    points: int = 100,
    lr: float = 0.1,
    plain_epochs: int = 200,
    residual_epochs: int = 100,
    batch_size: int = 16,
) -> Experiment:
    """Train both units on the same points and look at what they give and at the residual one's weights.

    Raises:
        RecipeError: there are fewer than five points.
    """
    need(points >= 5, "at least five points", points, "points")
    settings: dict[str, object] = dict(locals())
    with drawn_from(points_seed):
        x = torch.randn((points, 1))
        loader = DataLoader(TensorDataset(x, x), batch_size=batch_size, shuffle=True)
        plain, _ = _trained(loader, model_seed, lr, plain_epochs, skip=False)
        residual, track = _trained(loader, model_seed, lr, residual_epochs, skip=True)
    with torch.no_grad():
        plain_out, out, relu = plain(x), residual(x), torch.relu(residual.linear(x))
    weight, bias = residual.linear.weight.item(), residual.linear.bias.item()
    found = (
        Number("plain unit: smallest output", float(plain_out.min()), 0.0, relation="≥"),
        Number("plain unit: largest error, at the smallest point", float((plain_out - x).max()), -float(x.min()), 1e-5),
        Number("residual unit: largest error", float((out - x).abs().max()), 0.0, 1e-4),
        Number("residual unit: largest output of its ReLU", float(relu.max()), 0.0, 1e-4),
        *_printed(x, plain_out, out),
        Number("weight", weight, 0.1490, 5e-5, printed=True),
        Number("bias", bias, -0.3329, 5e-5, printed=True),
        Number("largest point", float(x.max()), 2.2347, 5e-5, printed=True),
    )
    return Experiment(
        "identity",
        CLAIMS["identity"],
        SOURCE,
        settings,
        found,
        (_table("plain unit", x, plain_out), _table("residual unit", x, out)),
        _reading(x, relu, weight, bias),
        _panels(x, plain_out, out, weight, bias, track),
    )


def _trained(
    loader: DataLoader[tuple[Tensor, ...]], seed: int, lr: float, epochs: int, *, skip: bool
) -> tuple[Unit, list[float]]:
    """The unit after training, and where wx + b was zero after every epoch."""
    torch.manual_seed(seed)
    unit = Unit(skip=skip)
    loop = StepByStep(unit, nn.MSELoss(), torch.optim.SGD(unit.parameters(), lr=lr))
    loop.to("cpu")  # the printed numbers are a CPU's
    loop.set_loaders(loader)
    crossings = [-unit.linear.bias.item() / unit.linear.weight.item() for _ in loop.epochs(epochs)]
    return unit.eval(), crossings


def _printed(x: Tensor, plain: Tensor, residual: Tensor) -> tuple[Number, ...]:
    columns = (("point", x, _POINTS), ("plain output", plain, _PLAIN), ("residual output", residual, _POINTS))
    return tuple(
        number
        for name, column, expected in columns
        for number in numbers(name, column[:5, 0].tolist(), expected, 1e-6, printed=True)
    )


def _table(name: str, x: Tensor, out: Tensor) -> Table:
    rows = tuple(zip(x[:5, 0].tolist(), out[:5, 0].tolist(), strict=True))
    return Table(f"First five points, {name}", ("point", "output"), rows, decimals=7)


def _reading(x: Tensor, relu: Tensor, weight: float, bias: float) -> tuple[str, ...]:
    crossing, most = -bias / weight, float(x.max())
    side = "above" if crossing > most else "below"
    return (
        f"wx + b = {weight:.4f}x {bias:+.4f} is zero at x = {crossing:.6f}, {abs(crossing - most):.1e} {side} the "
        f"largest point {most:.6f}: the ReLU speaks for {int((relu > 0).sum())} of {len(x)} points, with at most "
        f"{float(relu.max()):.1e}.",
    )


def _panels(
    x: Tensor, plain: Tensor, residual: Tensor, weight: float, bias: float, track: list[float]
) -> tuple[Panel, ...]:
    points, ends = x[:, 0].tolist(), (float(x.min()), float(x.max()))
    line = torch.linspace(ends[0], ends[1] + 0.8, 100)
    raw = line * weight + bias
    return (
        Plot(
            "What the units give",
            (
                Line("the identity", ends, ends, style="dashes"),
                Line("plain", points, plain[:, 0].tolist(), ORANGE, "dots"),
                Line("with shortcut", points, residual[:, 0].tolist(), BLUE, "dots"),
            ),
            "point",
            "output",
        ),
        Plot(
            "Inside the residual unit",
            (
                Line("wx + b", line.tolist(), raw.tolist(), style="dashes"),
                Line("its ReLU", line.tolist(), raw.relu().tolist(), BLUE),
            ),
            "point",
            "",
            marks=((ends[1], "largest point"),),
        ),
        Plot(
            "Where wx + b is zero",
            (
                Line("-b/w", range(1, len(track) + 1), track, BLUE),
                Line("largest point", (1, len(track)), (ends[1], ends[1]), style="dashes"),
            ),
            "epoch",
            "x",
        ),
    )
