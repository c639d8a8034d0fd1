"""Batch norm against vanishing gradients: in a deep plain network they no longer vanish; instead they grow.

Claim: batch norm solves the vanishing gradients of a deep plain network, which then learns.
Source: the chapter's summary. Yang et al. 2019, A Mean Field Theory of Batch Normalization, arXiv:1902.08129: behind a
    batch norm the squared gradient of a ReLU layer grows by π/(π − 1) towards the input, whatever the weights' scale:
    ReLU passes 1/2 of it, and the norm divides by the variance (1 − 1/π)/2 of a rectified normal number.
Settings: 20 layers of width 400 with 400 points for the gradients, mean over 5 seeds; 8 seeds of 12 hidden layers of 32
    that learn four classes from 2,000 points in 200 steps with rate 0.1; PyTorch's default weights.
Expected: factor per layer 0.4082 ± 0.01 without (see gradient_reach) and 1.2111 ± 0.02 with batch norm; test accuracy
    at most 0.35 without (chance is 0.25), at least 0.6 with it. What does not come out: the gradients are not "solved",
    they explode by 1.21 per layer; 20 layers already learn worse than 12, and it takes shortcuts to go deeper.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from headstart.figures.panels import Line, Panel, Plot
from headstart.figures.style import BLUE, ORANGE
from headstart.inspection.inspection_result import Cell, Table
from headstart.lab.experiment import Experiment, Number, require, seeded
from headstart.lab.stacked_networks import Problem, StackedNetworks, accuracies, draw_problem, interval, trained

SOURCE = "chapter on transfer learning, summary; Yang et al. 2019, arXiv:1902.08129"
FACTORS = {"none": math.sqrt(1 / 6), "before": math.sqrt(math.pi / (math.pi - 1))}
_DRAWS = 5
_INIT = 1 / 3  # of PyTorch's nn.Linear
_SKIPPED = 3  # layers next to the output and the input, whose activations are not yet those of a deep layer


def run(
    *, seed: int = 0, seeds: int = 8, layers: int = 20, width: int = 400, depth: int = 12, steps: int = 200
) -> Experiment:
    """Measure the gradients of an untrained plain stack with and without batch norm, and train a smaller one.

    Args:
        layers, width: of the stack whose gradients are measured.
        depth: hidden layers of the networks that are trained; 20 are trained too.

    Raises:
        RecipeError: there are fewer than two seeds, or fewer than eight layers.
    """
    require(seeds >= 2 and layers >= 8, "two seeds and eight layers", found=(seeds, layers), where="seeds, layers")
    require(depth >= 1 and width >= 2, "one hidden layer and width 2", found=(depth, width), where="depth, width")
    settings: dict[str, object] = dict(locals())
    with seeded(seed):
        norms = {norm: _norms(layers, width, norm) for norm in FACTORS}
        problem = draw_problem(seeds, 2000)
        found = {
            at: {norm: _accuracies(problem, at, norm, start=(seed, steps)) for norm in FACTORS}
            for at in (depth, depth + 8)
        }
    factors = {norm: _factor(each) for norm, each in norms.items()}
    plain, normed = (interval(found[depth][norm]).mean for norm in FACTORS)
    return Experiment(
        "vanishing_gradients",
        SOURCE,
        settings,
        numbers=(
            Number("factor of one plain layer", factors["none"], FACTORS["none"], 0.01),
            Number("factor of one layer with batch norm", factors["before"], FACTORS["before"], 0.02),
            Number(f"test accuracy of {depth} plain layers", plain, 0.35, relation="≤"),
            Number(f"test accuracy of {depth} layers with batch norm", normed, 0.6, relation="≥"),
        ),
        tables=(_table(found),),
        interpretation=_interpretation(factors["before"], found),
        panels=_panels(norms),
    )


def _norms(layers: int, width: int, norm: str) -> list[float]:
    """Root mean square of the gradient before each layer, over that at the output; mean over draws."""
    squares = torch.zeros(layers + 1, dtype=torch.float64)
    for _ in range(_DRAWS):
        hidden = torch.randn(width, width, requires_grad=True)  # as many points as units
        activations = [hidden]
        for _ in range(layers):
            hidden = hidden @ (torch.randn(width, width) * math.sqrt(_INIT / width))
            if norm == "before":
                hidden = nn.functional.batch_norm(hidden, None, None, training=True, eps=1e-30)
            hidden = torch.relu(hidden)
            activations.append(hidden)
        gradients = torch.autograd.grad(hidden, activations, torch.randn_like(hidden))
        sizes = torch.stack([gradient.double().square().mean() for gradient in gradients])
        squares += (sizes / sizes[-1]).log()
    means: list[float] = (squares / _DRAWS / 2).exp().tolist()
    return means


def _factor(norms: list[float]) -> float:
    """Growth of the gradient through one layer, in the middle of the stack."""
    middle = norms[_SKIPPED : len(norms) - _SKIPPED]
    return float((middle[0] / middle[-1]) ** (1 / (len(middle) - 1)))


def _accuracies(problem: Problem, depth: int, norm: str, *, start: tuple[int, int]) -> Tensor:
    seeds = len(problem.points)
    model = trained(
        lambda: StackedNetworks(seeds, depth, 32, norm=norm, init=_INIT),
        problem,
        start[0],
        steps=start[1],
        lr=0.1,
        batch_size=64,
    )
    return accuracies(model, problem.test_points, problem.test_labels)


def _table(found: dict[int, dict[str, Tensor]]) -> Table:
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (depth, *(_shown(each[norm]) for norm in FACTORS)) for depth, each in found.items()
    )
    columns = ("hidden layers", "without batch norm", "with batch norm")
    return Table("Test accuracy and its 95 % interval over the seeds", columns, rows)


def _shown(values: Tensor) -> str:
    mean, low, high = interval(values)
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def _interpretation(factor: float, found: dict[int, dict[str, Tensor]]) -> tuple[str, ...]:
    shallow, deep = found
    change = interval(found[deep]["before"] - found[shallow]["before"])
    grown = f"With batch norm the gradient grows by {factor:.3f} per layer: {factor**30:,.0f} times in 30 layers."
    return (grown, f"With batch norm, {deep} instead of {shallow} layers change the test accuracy by {change}.")


def _panels(norms: dict[str, list[float]]) -> tuple[Panel, ...]:
    names = {"none": ("plain", ORANGE), "before": ("with batch norm", BLUE)}
    last = len(norms["none"]) - 1
    at = range(1, last + 2)
    lines = [Line(names[norm][0], at, values, names[norm][1]) for norm, values in norms.items()]
    for i, factor in enumerate(FACTORS.values()):
        lines.append(Line("" if i else "computed", at, [factor ** (last + 1 - x) for x in at], style="dashes"))
    plot = Plot(
        "Gradient before each layer", tuple(lines), x_label="layer", y_label="share of the output's", log_y=True
    )
    return (plot,)
