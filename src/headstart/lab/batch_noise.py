"""Batch norm regularises by noise: a point is normalised by others, that differ from batch to batch.

Claim: the normalised value of a point varies with the batch it is in, the more the fewer points give the statistics;
    this noise regularises: the network fits its training labels less closely and gives test points a lower loss.
Source: the chapter's summary; Ioffe and Szegedy 2015, arXiv:1502.03167, section 3.4. Hoffer et al. 2017,
    arXiv:1705.08741, take the statistics from parts of a batch ("ghost batch norm"): so the noise can be changed and
    nothing else. The size of the noise is ours: with n normal points a value x varies by √((1 + x²/2)/n).
Settings: 8 seeds, 256 points of four classes with 20 % of the labels random, two hidden layers of 64, 400
    steps with batches of 128, statistics from 4, 16 or all 128 points. Noise: the value 1 in 4,000
    batches of 256 and of 1,024.
Expected: noise 1.2247/√n ± 3 %; from 4 points against 128, mean over seeds: training loss higher and test loss lower,
    each beyond the 95 % interval. What does not come out: test accuracy does not rise (0.01 ± 0.01 lower); what is
    gained is in the probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.figures.panels import Line, Panel, Plot
from headstart.figures.style import BLUE, ORANGE
from headstart.inspection.inspection_result import Table
from headstart.lab.experiment import Experiment, Number, require, seeded
from headstart.lab.stacked_networks import (
    Interval,
    Problem,
    StackedNetworks,
    accuracies,
    draw_problem,
    interval,
    mean_losses,
    trained,
)

SOURCE = "chapter on transfer learning, summary; Ioffe and Szegedy 2015, section 3.4; Hoffer et al. 2017"
_BATCH = 128
_VALUE = 1.0
_SIZES = (256, 1024)


@dataclass(frozen=True)
class Outcome:
    """Loss of the training labels, loss and accuracy of the test, for each seed."""

    training_loss: Tensor
    test_loss: Tensor
    test_accuracy: Tensor


def run(
    *,
    seed: int = 0,
    seeds: int = 8,
    points: int = 256,
    noise: float = 0.2,
    steps: int = 400,
    groups: tuple[int, int] = (4, 16),
) -> Experiment:
    """Train networks whose batch norms take their statistics from fewer and fewer points of the same batch.

    Args:
        groups: how many points give the statistics, beside all 128.
        noise: share of the training labels random.

    Raises:
        RecipeError: there are fewer than two seeds, or the batch cannot be divided into such groups.
    """
    require(seeds >= 2 and points >= _BATCH, "two seeds and 128 points", found=(seeds, points), where="seeds, points")
    fits = all(2 <= group < _BATCH and _BATCH % group == 0 for group in groups)
    require(fits, "divisors of 128 from 2 on", found=groups, where="groups")
    settings: dict[str, object] = dict(locals())
    del settings["fits"]
    with seeded(seed):
        spread = {size: _spread(size, 4000) for size in _SIZES}
        problem = draw_problem(seeds, points, noise=noise)
        outcomes = {group: _outcome(problem, group, seed=seed, steps=steps) for group in (*groups, _BATCH)}
    few, all_points = outcomes[min(groups)], outcomes[_BATCH]
    training = interval(few.training_loss - all_points.training_loss)
    test = interval(all_points.test_loss - few.test_loss)
    accuracy = interval(few.test_accuracy - all_points.test_accuracy)
    expected = math.sqrt(1 + _VALUE**2 / 2)
    return Experiment(
        "batch_noise",
        SOURCE,
        settings,
        numbers=(
            *(
                Number(
                    f"noise of a value among {size}, times √{size}", each * math.sqrt(size), expected, 0.03 * expected
                )
                for size, each in spread.items()
            ),
            Number("training loss, few points minus all: lower end", training.low, 0.0, relation="≥"),
            Number("test loss, all points minus few: lower end", test.low, 0.0, relation="≥"),
        ),
        tables=(_table(outcomes),),
        interpretation=_interpretation(min(groups), test, accuracy),
        panels=_panels(outcomes),
    )


def _spread(size: int, batches: int) -> float:
    """Standard deviation of the value 1, normalised with that many normal points beside it."""
    others = torch.randn(batches, size, dtype=torch.float64)
    return float(((_VALUE - others.mean(1)) / others.std(1, unbiased=False)).std())


def _outcome(problem: Problem, group: int, *, seed: int, steps: int) -> Outcome:
    seeds = len(problem.points)
    model = trained(
        lambda: StackedNetworks(seeds, 2, 64, norm="before", group=group),
        problem,
        seed,
        steps=steps,
        lr=0.05,
        batch_size=_BATCH,
    )
    return Outcome(
        mean_losses(model, problem.points, problem.labels),
        mean_losses(model, problem.test_points, problem.test_labels),
        accuracies(model, problem.test_points, problem.test_labels),
    )


def _table(outcomes: Mapping[int, Outcome]) -> Table:
    rows = tuple(
        (group, *(float(value.mean()) for value in (out.training_loss, out.test_loss, out.test_accuracy)))
        for group, out in outcomes.items()
    )
    columns = ("points that give the statistics", "training loss", "test loss", "test accuracy")
    return Table("Means over the seeds, in eval mode", columns, rows)


def _interpretation(group: int, test: Interval, accuracy: Interval) -> tuple[str, ...]:
    unclear = accuracy.low <= 0 <= accuracy.high
    effect = "No effect on test accuracy is seen" if unclear else "Test accuracy changes"
    return (
        f"Statistics from {group} instead of {_BATCH} points change the test loss by "
        f"{Interval(-test.mean, -test.high, -test.low)}.",
        f"{effect}: {accuracy}.",
    )


def _panels(outcomes: Mapping[int, Outcome]) -> tuple[Panel, ...]:
    groups = tuple(outcomes)

    def plot(title: str, kinds: tuple[tuple[str, str, str], ...], label: str) -> Plot:
        lines = tuple(
            Line(name, groups, [float(getattr(out, field).mean()) for out in outcomes.values()], color)
            for name, field, color in kinds
        )
        return Plot(title, lines, x_label="points that give the statistics", y_label=label, log_x=True)

    return (
        plot("Loss", (("training", "training_loss", ORANGE), ("test", "test_loss", BLUE)), "cross-entropy"),
        plot("Test accuracy", (("", "test_accuracy", BLUE),), "share correct"),
    )
