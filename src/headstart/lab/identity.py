"""Learning the identity: a ReLU unit cannot, the same unit with a shortcut can, by keeping its ReLU inactive.

Claim: relu(wx + b) is never negative, so that it fails on every negative x; relu(wx + b) + x learns to return x, not
    because w and b are correct, but because wx + b stays below zero and the shortcut alone remains.
Source: the chapter's section on learning the identity; He et al. 2016, arXiv:1512.03385, section 3.1.
Settings: 100 points from seed 23, each its own target; units from seed 555; SGD with learning rate 0.1 and squared
    error, 200 epochs plain and 100 residual, shuffled batches of 16 (StepByStep seeds them with 42).
Expected (printed in the chapter): the first five points and outputs of both tables ± 1e-6; residual weight 0.1490 and
    bias -0.3329 ± 5e-5; largest point 2.2347 ± 5e-5. The ReLU outputs at most 1e-4. In full precision the zero of
    wx + b, -b/w, is just *below* the largest point after 100 epochs (2.23464 against 2.23469; the rounded weights do
    not show it) and approaches it, because an inactive ReLU gets no gradient. The chapter's text has it above, at
    2.2352, from 0.3326 and 0.1488, which are the weights of another run than the one it prints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from headstart.figures.panels import Line, Plot
from headstart.figures.style import BLUE, ORANGE
from headstart.inspection.inspection_result import Table
from headstart.lab.experiment import Experiment, Number, numbers, require, seeded
from headstart.training.stepbystep import StepByStep

SOURCE = "chapter on transfer learning, section on learning the identity; He et al. 2016, arXiv:1512.03385, section 3.1"
_POINTS = (-0.9012059, 0.56559485, -0.48822638, 0.75069577, 0.58925384)
_PLAIN = (0.0, 0.56559485, 0.0, 0.7506957, 0.58925384)


class Unit(nn.Module):
    """relu(wx + b), with or without a shortcut that adds x."""

    def __init__(self, *, skip: bool, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.linear = nn.Linear(1, 1)
        self.skip = skip

    @property
    def zero(self) -> float:
        """The x at which wx + b is zero."""
        return -self.linear.bias.item() / self.linear.weight.item()

    def forward(self, x: Tensor) -> Tensor:
        """N×1 → N×1."""
        out = torch.relu(self.linear(x))
        return out + x if self.skip else out


def run(  # each parameter is a setting of `headstart lab identity --set`
    *,
    points_seed: int = 23,
    model_seed: int = 555,
    points: int = 100,
    lr: float = 0.1,
    plain_epochs: int = 200,
    residual_epochs: int = 100,
    batch_size: int = 16,
) -> Experiment:
    """Train both units on the same points, and compare their outputs and the weights of the residual one.

    Raises:
        RecipeError: there are fewer than five points.
    """
    require(points >= 5, "at least five points", found=points, where="points")
    settings: dict[str, object] = dict(locals())
    with seeded(points_seed):
        x = torch.randn((points, 1))
        loader = DataLoader(TensorDataset(x, x), batch_size=batch_size, shuffle=True)
        plain, _ = _train(Unit(skip=False, seed=model_seed), loader, lr=lr, epochs=plain_epochs)
        residual, zeros = _train(Unit(skip=True, seed=model_seed), loader, lr=lr, epochs=residual_epochs)
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
        SOURCE,
        settings,
        numbers=found,
        tables=(_table("plain unit", x, plain_out), _table("residual unit", x, out)),
        interpretation=_interpretation(x, relu, residual),
        panels=(_outputs(x, plain_out, out), _inside(x, residual), _zeros(x, zeros)),
    )


def _train(unit: Unit, loader: DataLoader[tuple[Tensor, ...]], *, lr: float, epochs: int) -> tuple[Unit, list[float]]:
    """The unit after training, and the zero of wx + b after every epoch."""
    loop = StepByStep(unit, nn.MSELoss(), torch.optim.SGD(unit.parameters(), lr=lr))
    loop.to("cpu")  # the printed numbers come from a CPU
    loop.set_loaders(loader)
    zeros = [unit.zero for _ in loop.epochs(epochs)]
    return unit.eval(), zeros


def _printed(x: Tensor, plain: Tensor, residual: Tensor) -> tuple[Number, ...]:
    columns = (("point", x, _POINTS), ("plain output", plain, _PLAIN), ("residual output", residual, _POINTS))
    return tuple(
        number
        for name, column, expected in columns
        for number in numbers(name, column[:5, 0].tolist(), expected, tolerance=1e-6, printed=True)
    )


def _table(name: str, x: Tensor, out: Tensor) -> Table:
    rows = tuple(zip(x[:5, 0].tolist(), out[:5, 0].tolist(), strict=True))
    return Table(f"First five points, {name}", ("point", "output"), rows, decimals=7)


def _interpretation(x: Tensor, relu: Tensor, unit: Unit) -> tuple[str, ...]:
    weight, bias, most = unit.linear.weight.item(), unit.linear.bias.item(), float(x.max())
    side = "above" if unit.zero > most else "below"
    return (
        f"wx + b = {weight:.4f}x {bias:+.4f} is zero at x = {unit.zero:.6f}, {abs(unit.zero - most):.1e} {side} the "
        f"largest point {most:.6f}: the ReLU is active at {int((relu > 0).sum())} of {len(x)} points, with at most "
        f"{float(relu.max()):.1e}.",
    )


def _outputs(x: Tensor, plain: Tensor, residual: Tensor) -> Plot:
    points, ends = x[:, 0].tolist(), (float(x.min()), float(x.max()))
    lines = (
        Line("the identity", ends, ends, style="dashes"),
        Line("plain", points, plain[:, 0].tolist(), ORANGE, style="dots"),
        Line("with shortcut", points, residual[:, 0].tolist(), BLUE, style="dots"),
    )
    return Plot("Outputs of the units", lines, x_label="point", y_label="output")


@torch.no_grad()
def _inside(x: Tensor, unit: Unit) -> Plot:
    points = torch.linspace(float(x.min()), float(x.max()) + 0.8, 100)
    raw = unit.linear(points[:, None])[:, 0]
    lines = (
        Line("wx + b", points.tolist(), raw.tolist(), style="dashes"),
        Line("its ReLU", points.tolist(), raw.relu().tolist(), BLUE),
    )
    return Plot("Inside the residual unit", lines, x_label="point", marks=((float(x.max()), "largest point"),))


def _zeros(x: Tensor, zeros: list[float]) -> Plot:
    lines = (
        Line("-b/w", range(1, len(zeros) + 1), zeros, BLUE),
        Line("largest point", (1, len(zeros)), (float(x.max()),) * 2, style="dashes"),
    )
    return Plot("Zero of wx + b", lines, x_label="epoch", y_label="x")
