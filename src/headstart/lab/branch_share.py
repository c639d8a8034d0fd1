"""The contribution of a residual block to its output: 1/√(l + 1) in block l, when its branch is normalised.

Claim: at initialisation every normalised branch adds variance 1 to the stream, which therefore has variance l + 1
    after block l, so that the branch's share of the block's output is 1/√(l + 1): deep blocks start close to the
    identity. Without normalisation every block doubles the variance: 2ˡ.
Source: De and Smith 2020, Batch Normalization Biases Residual Blocks Towards the Identity Function, arXiv:2002.10444,
    section 3.
Settings: 32 blocks x + W relu(norm(x)) of width 256, He's initialisation, batch of 256 normal inputs, mean over 5
    seeds.
Expected: share in block 1, 2, 4, 8, 16, 32 is 0.707 0.577 0.447 0.333 0.243 0.174, each ± 0.02; variance after block
    8 without the norm 256 within a factor 1.5 (its logarithm to base 2 is 8 ± 0.6).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.figures.panels import Line, Panel, Plot
from headstart.figures.style import BLUE, ORANGE
from headstart.inspection.inspection_result import Table
from headstart.lab.experiment import Experiment, Number, require, seeded
from headstart.wording import percent

SOURCE = "De and Smith 2020, Batch Normalization Biases Residual Blocks Towards the Identity Function, arXiv:2002.10444"


def run(
    *, depth: int = 32, width: int = 256, inputs: int = 256, seeds: int = 5, seed: int = 0, norm: bool = True
) -> Experiment:
    """Measure the share of each block and the variance of the stream, with and without a norm.

    Args:
        norm: whether the branches whose shares are compared with the formula are normalised.

    Raises:
        RecipeError: there are fewer than eight blocks.
    """
    require(depth >= 8 and seeds >= 1, "at least eight blocks and one seed", found=(depth, seeds), where="depth, seeds")
    settings = {"depth": depth, "width": width, "inputs": inputs, "seeds": seeds, "seed": seed, "norm": norm}
    stack = Stack(depth, width, inputs)
    runs = [_measure(stack, seed + i, norm=norm) for i in range(seeds)]
    plain = [_measure(stack, seed + i, norm=False) for i in range(seeds)]
    shares, variances = _mean([shares for shares, _ in runs]), _mean([variances for _, variances in runs])
    doubled = _mean([[math.log2(value) for value in variances] for _, variances in plain])
    blocks = [2**power for power in range(depth.bit_length()) if 2**power <= depth]
    found = (
        *(Number(f"share of block {k}", shares[k - 1], 1 / math.sqrt(k + 1), 0.02) for k in blocks),
        Number("log₂ of the variance after 8 blocks without a norm", doubled[7], 8.0, 0.6),
    )
    rows = tuple((k, shares[k - 1], (k + 1) ** -0.5, variances[k - 1], k + 1, 2 ** doubled[k - 1]) for k in blocks)
    columns = ("block", "share", "1/√(l+1)", "variance", "l+1", "variance without a norm")
    tables = (Table("Contribution of each block", columns, rows),)
    return Experiment(
        "branch_share",
        SOURCE,
        settings,
        numbers=found,
        tables=tables,
        interpretation=_interpretation(shares),
        panels=_panels(shares, variances, doubled),
    )


@dataclass(frozen=True)
class Stack:
    """Size of a stack of residual blocks, and how many inputs go through it."""

    depth: int
    width: int
    inputs: int


def _measure(stack: Stack, seed: int, *, norm: bool) -> tuple[list[float], list[float]]:
    """Share |branch| / |stream after| and mean square of the stream, after every block."""
    shares, squares = [], []
    with seeded(seed):
        x, scale = torch.randn(stack.inputs, stack.width), (2 / stack.width) ** 0.5
        for _ in range(stack.depth):
            weight = torch.randn(stack.width, stack.width) * scale
            branch = torch.relu(_normalised(x) if norm else x) @ weight
            x = x + branch
            shares.append(float(branch.norm(dim=1).mean() / x.norm(dim=1).mean()))
            squares.append(float(x.square().mean()))
    return shares, squares


def _normalised(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / x.std(0, unbiased=False)


def _mean(runs: list[list[float]]) -> list[float]:
    return [sum(at) / len(at) for at in zip(*runs, strict=True)]


def _interpretation(shares: list[float]) -> tuple[str, ...]:
    return (
        f"The branch makes up {percent(shares[0])} of the output of the first block and {percent(shares[-1])} of the "
        "last: later blocks start closer to the identity.",
    )


def _panels(shares: list[float], variances: list[float], doubled: list[float]) -> tuple[Panel, ...]:
    blocks = range(1, len(shares) + 1)
    return (
        Plot(
            "Share of the branch",
            (
                Line("measured", blocks, shares, BLUE, style="dots"),
                Line("1/√(l + 1)", blocks, [(k + 1) ** -0.5 for k in blocks], style="dashes"),
            ),
            x_label="block l",
            y_label="|branch| / |stream|",
        ),
        Plot(
            "Variance of the stream",
            (
                Line("without a norm", blocks, [2**power for power in doubled], ORANGE),
                Line("branches normalised", blocks, variances, BLUE),
                Line("2ˡ and l + 1", blocks, [2.0**k for k in blocks], style="dashes"),
                Line("", blocks, [k + 1 for k in blocks], style="dashes"),
            ),
            x_label="block l",
            y_label="variance",
            log_y=True,
        ),
    )
