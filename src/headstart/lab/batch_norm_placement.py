"""Batch norm before or after the activation: in shallow networks there is no right or wrong; in deep ones it matters.

Claim: batch norm may be placed before or after the activation; there is no right or wrong way.
Source: the chapter's summary. Ioffe and Szegedy 2015, arXiv:1502.03167, section 3.2, place it before; Mishkin et al.
    2017, arXiv:1606.02228, table 5, found after slightly better on ImageNet.
Settings: 16 seeds, 2,000 points of four classes, 3 and 12 hidden layers of 32, PyTorch's default weights, 200 steps
    with rate 0.1; equivalence within 4 points of accuracy (two one-sided tests: the 95 % interval lies inside).
Expected: 3 and 12 layers: both ends of the difference in test accuracy within ± 0.04, and both places at least 0.2
    above a plain network of 12 layers. With 20 layers (a table row that does not decide the claim) before is better:
    the claim is one about networks that train well in either way.
"""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.figures.panels import Line, Panel, Plot
from headstart.figures.style import BLUE, MUTED, ORANGE
from headstart.inspection.inspection_result import Cell, Table
from headstart.lab.experiment import Experiment, Number, require, seeded
from headstart.lab.stacked_networks import (
    NORMS,
    Interval,
    Problem,
    StackedNetworks,
    accuracies,
    draw_problem,
    interval,
    trained,
)

SOURCE = "chapter on transfer learning, summary; Ioffe and Szegedy 2015, section 3.2; Mishkin et al. 2017, table 5"
_INIT = 1 / 3  # of PyTorch's nn.Linear


def run(  # each parameter is a setting of `headstart lab batch-norm-placement --set`
    *,
    seed: int = 0,
    seeds: int = 16,
    depths: tuple[int, int, int] = (3, 12, 20),
    points: int = 2000,
    steps: int = 200,
    lr: float = 0.1,
    margin: float = 0.04,
) -> Experiment:
    """Train networks with batch norm before the activation, after it, and without.

    Args:
        depths: hidden layers; the first two decide the claim, the third is shown beside them.
        margin: difference in test accuracy that counts as none.

    Raises:
        RecipeError: there are fewer than two seeds, or a network has no layer.
    """
    require(seeds >= 2 and min(depths) >= 1, "two seeds and one layer", found=(seeds, depths), where="seeds, depths")
    settings: dict[str, object] = dict(locals())
    with seeded(seed):
        problem = draw_problem(seeds, points)
        found = {
            depth: {norm: _accuracies(problem, depth, norm, start=(seed, steps, lr)) for norm in NORMS}
            for depth in depths
        }
    differences = {depth: interval(each["before"] - each["after"]) for depth, each in found.items()}
    decided = depths[1]
    worst = min(float(found[decided][norm].mean()) for norm in ("before", "after"))
    numbers = [
        number
        for depth in depths[:2]
        for number in (
            Number(f"{depth} layers, before minus after: lower end", differences[depth].low, -margin, relation="≥"),
            Number(f"{depth} layers, before minus after: upper end", differences[depth].high, margin, relation="≤"),
        )
    ]
    gain = worst - float(found[decided]["none"].mean())
    numbers.append(Number(f"{decided} layers, worse place minus no batch norm", gain, 0.2, relation="≥"))
    return Experiment(
        "batch_norm_placement",
        SOURCE,
        settings,
        numbers=tuple(numbers),
        tables=(_table(found, differences),),
        interpretation=tuple(_sentence(depth, each, margin) for depth, each in differences.items()),
        panels=_panels(found),
    )


def _accuracies(problem: Problem, depth: int, norm: str, *, start: tuple[int, int, float]) -> Tensor:
    seed, steps, lr = start
    seeds = len(problem.points)
    model = trained(
        lambda: StackedNetworks(seeds, depth, 32, norm=norm, init=_INIT),
        problem,
        seed,
        steps=steps,
        lr=lr,
        batch_size=64,
    )
    return accuracies(model, problem.test_points, problem.test_labels)


def _table(found: dict[int, dict[str, Tensor]], differences: dict[int, Interval]) -> Table:
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (depth, *(float(each[norm].mean()) for norm in NORMS), str(differences[depth])) for depth, each in found.items()
    )
    columns = ("hidden layers", "none", "before", "after", "before minus after")
    return Table("Test accuracy, mean over the seeds", columns, rows)


def _sentence(depth: int, difference: Interval, margin: float) -> str:
    if -margin <= difference.low and difference.high <= margin:
        return f"With {depth} layers the place makes no difference above {margin:g}: {difference}."
    if difference.low <= 0 <= difference.high:
        return f"With {depth} layers these seeds do not decide it: {difference}."
    return f"With {depth} layers {'before' if difference.mean > 0 else 'after'} is better: {difference}."


def _panels(found: dict[int, dict[str, Tensor]]) -> tuple[Panel, ...]:
    depths = tuple(found)
    colors = {"none": MUTED, "before": BLUE, "after": ORANGE}
    lines = tuple(
        Line(norm, depths, torch.stack([each[norm].mean() for each in found.values()]).tolist(), colors[norm])
        for norm in NORMS
    )
    return (Plot("Test accuracy", lines, x_label="hidden layers", y_label="share correct"),)
