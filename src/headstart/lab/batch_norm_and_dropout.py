"""Dropout before batch norm: the variance that batch norm keeps is not the one it meets later.

Claim: dropout that keeps a share p of numbers with mean c and variance v makes their variance (c² + v)/p − c² in
    training, while in eval mode it is v; batch norm behind it has kept the first, so its outputs come out too small.
    Behind batch norm dropout does no such harm, and a wide sum in between hides it when its terms vary together.
Source: Li et al. 2018, Understanding the Disharmony between Dropout and Batch Normalization by Variance Shift,
    arXiv:1801.05134, section 3; the chapter's summary names the trouble.
Settings: c 0.5, v 1, p 0.5: 64 features, 200 batches of 256 points from seed 0; sums of 1 to 256 terms of correlation
    0.2.
Expected: kept variance 2.25 ± 0.02 against 1; variance of the eval output 1/2.25 = 0.444 ± 0.01; dropout behind the
    norm 1 ± 0.01; sum of d terms: ratio s/(s + d((c² + v)(1/p − 1))) with s = dv(1 − r) + d²vr.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headstart.figures.panels import Line, Panel, Plot
from headstart.figures.style import BLUE, ORANGE
from headstart.inspection.inspection_result import Table
from headstart.lab.catalogue import CLAIMS
from headstart.lab.experiment import Experiment, Number, drawn_from, need

SOURCE = "Li et al. 2018, arXiv:1801.05134, section 3; chapter on transfer learning, summary"
_FEATURES = 64
_TERMS = (1, 4, 16, 64, 256)
_FINE_TERMS = tuple(2 ** (step / 4) for step in range(33))


def run(
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
    """Train batch norm's statistics behind dropout, then measure what it gives in eval mode.

    Args:
        keep: share of the numbers that dropout lets through, in (0, 1].
        correlation: of the terms of the sums, in [0, 1].

    Raises:
        RecipeError: a setting is out of its range.
    """
    need(0 < keep <= 1, "a share in (0, 1]", keep, "keep")
    need(0 <= correlation <= 1 and variance > 0, "a correlation in [0, 1]", correlation, "correlation")
    settings: dict[str, object] = dict(locals())
    trained = (mean**2 + variance) / keep - mean**2
    with drawn_from(seed), torch.no_grad():
        points = mean + variance**0.5 * torch.randn(batches, batch_size, _FEATURES)
        kept, outputs = _passes(points, keep, is_dropout_first=True)
        kept_behind, outputs_behind = _passes(points, keep, is_dropout_first=False)
        ratios = [_ratio_of_sums(d, mean, variance, keep, correlation, draws) for d in _TERMS]
    expected = [_expected_ratio(d, mean, variance, keep, correlation) for d in _TERMS]
    shift = float(outputs.var(unbiased=False))
    found = (
        Number("variance kept behind dropout", kept, trained, 0.01 * trained),
        Number("variance of the eval outputs behind dropout", shift, variance / trained, 0.01),
        Number("the same with dropout behind the norm", float(outputs_behind.var(unbiased=False)), 1.0, 0.01),
        Number("how far the eval variance lies from 1", abs(shift - 1), 0.1, relation="≥"),
        *(Number(f"ratio for sums of {d}", a, b, 0.03) for d, a, b in zip(_TERMS, ratios, expected, strict=True)),
    )
    rows = tuple(zip(_TERMS, ratios, expected, strict=True))
    tables = (Table("Eval variance / training variance of a sum", ("terms", "measured", "formula"), rows),)
    interpretation = (
        f"Batch norm keeps the variance {kept:.3f} and meets {variance:g}: in eval mode its outputs have {shift:.3f} "
        f"of their variance in training; with the two in the other order it keeps {kept_behind:.3f}.",
    )
    return Experiment(
        "batch_norm_and_dropout",
        CLAIMS["batch_norm_and_dropout"],
        SOURCE,
        settings,
        found,
        tables,
        interpretation,
        _panels(
            outputs,
            outputs_behind,
            ratios,
            [_expected_ratio(d, mean, variance, keep, correlation) for d in _FINE_TERMS],
        ),
    )


def _passes(points: Tensor, keep: float, *, is_dropout_first: bool) -> tuple[float, Tensor]:
    """The variance that batch norm keeps (mean over features), and the eval outputs of the last ten batches."""
    norm, dropout = nn.BatchNorm1d(_FEATURES, affine=False, momentum=None), nn.Dropout(1 - keep)
    block = nn.Sequential(dropout, norm) if is_dropout_first else nn.Sequential(norm, dropout)
    for batch in points:
        block(batch)
    outputs = block.eval()(points[-10:].flatten(0, 1))
    return float(norm.state_dict()["running_var"].mean()), outputs


def _ratio_of_sums(terms: int, mean: float, variance: float, keep: float, correlation: float, draws: int) -> float:
    """Variance in eval mode over variance in training, of a sum of numbers behind dropout, drawn so many times."""
    shared, own = torch.randn(draws, 1), torch.randn(draws, terms)
    numbers = mean + variance**0.5 * (correlation**0.5 * shared + (1 - correlation) ** 0.5 * own)
    thinned = nn.functional.dropout(numbers, 1 - keep)
    return float(numbers.sum(1).var() / thinned.sum(1).var())


def _expected_ratio(terms: float, mean: float, variance: float, keep: float, correlation: float) -> float:
    still = terms * variance * (1 - correlation) + terms**2 * variance * correlation
    return still / (still + terms * (mean**2 + variance) * (1 / keep - 1))


def _panels(first: Tensor, behind: Tensor, ratios: list[float], curve: list[float]) -> tuple[Panel, ...]:
    middles = [-3.9 + 0.2 * i for i in range(40)]
    outlines = [torch.histc(outputs, 40, -4, 4).div(outputs.numel() * 0.2).tolist() for outputs in (first, behind)]
    return (
        Plot(
            "Outputs in eval mode",
            (
                Line("dropout before batch norm", middles, outlines[0], ORANGE, "steps"),
                Line("dropout behind it", middles, outlines[1], BLUE, "steps"),
            ),
            "output",
            "density",
        ),
        Plot(
            "Variance, eval over training",
            (Line("measured", _TERMS, ratios, BLUE, "dots"), Line("formula", _FINE_TERMS, curve, style="dashes")),
            "terms summed between the two",
            "ratio (1: no shift)",
            log_x=True,
        ),
    )
