"""Dropout before batch norm: the variance that batch norm stores is not the one of eval mode.

Claim: dropout that keeps a share p of numbers with mean c and variance v makes their variance (c² + v)/p − c² in
    training, while in eval mode it is v; batch norm after it has stored the first, so its outputs come out too small.
    After batch norm dropout does no such harm, and a wide sum in between hides it when its terms vary together.
Source: Li et al. 2018, Understanding the Disharmony between Dropout and Batch Normalization by Variance Shift,
    arXiv:1801.05134, section 3; the chapter's summary mentions the problem.
Settings: c 0.5, v 1, p 0.5: 64 features, 200 batches of 256 points from seed 0; sums of 1 to 256 terms of correlation
    0.2.
Expected: stored variance 2.25 ± 0.02 against 1; variance of the eval output 1/2.25 = 0.444 ± 0.01; dropout after the
    norm 1 ± 0.01; sum of d terms: ratio s/(s + d((c² + v)(1/p − 1))) with s = dv(1 − r) + d²vr.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headstart.figures.panels import Line, Panel, Plot
from headstart.figures.style import BLUE, ORANGE
from headstart.inspection.inspection_result import Table
from headstart.lab.experiment import Experiment, Number, require, seeded

SOURCE = "Li et al. 2018, arXiv:1801.05134, section 3; chapter on transfer learning, summary"
_FEATURES = 64
_TERMS = (1, 4, 16, 64, 256)
_FINE_TERMS = tuple(2 ** (step / 4) for step in range(33))


@dataclass(frozen=True)
class Dropped:
    """Numbers of a mean and variance before a dropout layer, and the correlation of those that are summed after it."""

    mean: float
    variance: float
    keep: float
    correlation: float

    @property
    def training_variance(self) -> float:
        """Their variance after dropout."""
        return (self.mean**2 + self.variance) / self.keep - self.mean**2

    def expected_ratio(self, terms: float) -> float:
        """Variance in eval mode over variance in training, of a sum of so many numbers after dropout."""
        still = terms * self.variance * (1 - self.correlation) + terms**2 * self.variance * self.correlation
        return still / (still + terms * (self.mean**2 + self.variance) * (1 / self.keep - 1))

    def measured_ratio(self, terms: int, draws: int) -> float:
        """The same ratio, from random sums."""
        shared, own = torch.randn(draws, 1), torch.randn(draws, terms)
        noise = self.correlation**0.5 * shared + (1 - self.correlation) ** 0.5 * own
        numbers = self.mean + self.variance**0.5 * noise
        dropped = nn.functional.dropout(numbers, 1 - self.keep)
        return float(numbers.sum(1).var() / dropped.sum(1).var())


def run(  # each parameter is a setting of `headstart lab batch-norm-and-dropout --set`
    *,
    mean: float = 0.5,
    variance: float = 1.0,
    keep: float = 0.5,
    correlation: float = 0.2,
    draws: int = 20_000,
    batches: int = 200,
    batch_size: int = 256,
    seed: int = 0,
) -> Experiment:
    """Train the statistics of batch norm after dropout, then measure its outputs in eval mode.

    Args:
        keep: share of the numbers that dropout keeps, in (0, 1].
        correlation: of the terms of the sums, in [0, 1].

    Raises:
        RecipeError: a setting is out of its range.
    """
    settings: dict[str, object] = dict(locals())
    require(0 < keep <= 1, "a share in (0, 1]", found=keep, where="keep")
    in_range = 0 <= correlation <= 1 and variance > 0
    require(in_range, "a correlation in [0, 1]", found=correlation, where="correlation")
    numbers = Dropped(mean, variance, keep, correlation)
    with seeded(seed), torch.no_grad():
        points = mean + variance**0.5 * torch.randn(batches, batch_size, _FEATURES)
        stored, outputs = _passes(points, keep, is_dropout_first=True)
        stored_after, outputs_after = _passes(points, keep, is_dropout_first=False)
        ratios = [numbers.measured_ratio(terms, draws) for terms in _TERMS]
    shift, shift_after = (float(one.var(unbiased=False)) for one in (outputs, outputs_after))
    trained = numbers.training_variance
    rows = tuple((terms, ratio, numbers.expected_ratio(terms)) for terms, ratio in zip(_TERMS, ratios, strict=True))
    return Experiment(
        "batch_norm_and_dropout",
        SOURCE,
        settings,
        numbers=(
            Number("variance stored after dropout", stored, trained, tolerance=0.01 * trained),
            Number("variance of the eval outputs after dropout", shift, variance / trained, tolerance=0.01),
            Number("the same with dropout after the norm", shift_after, 1.0, tolerance=0.01),
            Number("distance of the eval variance from 1", abs(shift - 1), 0.1, relation="≥"),
            *(Number(f"ratio for sums of {terms}", ratio, wanted, tolerance=0.03) for terms, ratio, wanted in rows),
        ),
        tables=(Table("Eval variance / training variance of a sum", ("terms", "measured", "formula"), rows),),
        interpretation=(
            f"Batch norm stores the variance {stored:.3f} but gets {variance:g} in eval mode, where its outputs have "
            f"{shift:.3f} of their variance in training. In the other order it stores {stored_after:.3f}.",
        ),
        panels=(_histograms(outputs, outputs_after), _curve(ratios, numbers)),
    )


def _passes(points: Tensor, keep: float, *, is_dropout_first: bool) -> tuple[float, Tensor]:
    """The variance that batch norm stores (mean over features), and the eval outputs of the last ten batches."""
    norm, dropout = nn.BatchNorm1d(_FEATURES, affine=False, momentum=None), nn.Dropout(1 - keep)
    block = nn.Sequential(dropout, norm) if is_dropout_first else nn.Sequential(norm, dropout)
    for batch in points:
        block(batch)
    outputs = block.eval()(points[-10:].flatten(0, 1))
    return float(norm.state_dict()["running_var"].mean()), outputs


def _histograms(first: Tensor, after: Tensor) -> Panel:
    middles = [-3.9 + 0.2 * i for i in range(40)]
    heights = [torch.histc(outputs, 40, -4, 4).div(outputs.numel() * 0.2).tolist() for outputs in (first, after)]
    lines = (
        Line("dropout before batch norm", middles, heights[0], ORANGE, style="steps"),
        Line("dropout after it", middles, heights[1], BLUE, style="steps"),
    )
    return Plot("Outputs in eval mode", lines, x_label="output", y_label="density")


def _curve(ratios: list[float], numbers: Dropped) -> Panel:
    formula = [numbers.expected_ratio(terms) for terms in _FINE_TERMS]
    return Plot(
        "Variance, eval over training",
        (
            Line("measured", _TERMS, ratios, BLUE, style="dots"),
            Line("formula", _FINE_TERMS, formula, style="dashes"),
        ),
        x_label="terms summed between the two",
        y_label="ratio (1: no shift)",
        log_x=True,
    )
