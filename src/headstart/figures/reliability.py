"""Reliability diagram: how often the answers given with some confidence were right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

from headstart.errors import DataError
from headstart.figures.ink import FAINT, INK, RIGHT, RULE, canvas


@dataclass(frozen=True)
class Point:
    """The images of one bin of confidence (low, high].

    Args:
        low, high: the bin's edges, in [0, 1].
        count: its images, at least 1.
        confidence: mean probability of their answers.
        accuracy, accuracy_low, accuracy_high: share of right answers with its interval.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


def reliability_figure(points: Sequence[Point]) -> Figure:
    """Accuracy over confidence with intervals, the line of a perfect model, and below how many images each dot means.

    Raises:
        DataError: there is no point, or a number is not in [0, 1].
    """
    shares = [value for p in points for value in (p.low, p.high, p.confidence, p.accuracy)]
    if not points or not all(0 <= share <= 1 for share in shares):  # refuses nan as well
        raise DataError(expected="one or more bins with shares in [0, 1]", found=repr(shares[:8]), where="reliability")
    figure = canvas(400, 400)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    _draw_accuracy(upper, points)
    _draw_counts(lower, points)
    least = min(point.low for point in points)
    upper.set(xlim=(math.floor(least * 10) / 10, 1.02), ylim=(0, 1.02))
    for axes in (upper, lower):
        _dress(axes)
    return figure


def _draw_accuracy(axes: Axes, points: Sequence[Point]) -> None:
    most = max(point.count for point in points)
    axes.plot((0, 1), (0, 1), color=FAINT, linewidth=1, dashes=(4, 3))
    for point in points:
        ends = (point.accuracy_low, point.accuracy_high)
        axes.plot((point.confidence, point.confidence), ends, color=RIGHT, linewidth=2, solid_capstyle="butt")
        # area by count, so that one image does not look like a hundred
        size = 16 + 110 * point.count / most
        axes.scatter(point.confidence, point.accuracy, s=size, color=RIGHT, linewidths=0, zorder=3)
    axes.set_ylabel("share that was right", color=FAINT, fontsize=11)
    axes.yaxis.set_major_locator(MultipleLocator(0.25))
    axes.yaxis.set_major_formatter(FuncFormatter(_percent))


def _draw_counts(axes: Axes, points: Sequence[Point]) -> None:
    most = max(point.count for point in points)
    for point in points:
        middle, width = (point.low + point.high) / 2, (point.high - point.low) * 0.86
        axes.bar(middle, point.count, width=width, color=RIGHT, alpha=0.4, linewidth=0)
        axes.text(middle, point.count + most * 0.06, f"{point.count}", ha="center", color=INK, fontsize=9)
    axes.set(ylim=(0, most * 1.4), yticks=[])
    axes.set_xlabel("confidence of the answer", color=FAINT, fontsize=11)
    axes.set_ylabel("images", color=FAINT, fontsize=11)
    axes.xaxis.set_major_locator(MultipleLocator(0.1))
    axes.xaxis.set_major_formatter(FuncFormatter(_percent))


def _dress(axes: Axes) -> None:
    axes.set_facecolor("none")
    axes.tick_params(length=0, labelsize=10, labelcolor=FAINT)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(RULE)


def _percent(share: float, _: object) -> str:
    return f"{share * 100:.0f} %"
