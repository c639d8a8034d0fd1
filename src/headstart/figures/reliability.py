"""Reliability diagram: the accuracy of the predictions made with some confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator, PercentFormatter

from headstart.errors import DataError
from headstart.figures.style import BLUE, MUTED, TEXT, new_figure, style_axes


@dataclass(frozen=True, kw_only=True)
class ReliabilityPoint:
    """The images of one bin of confidence (low, high].

    Args:
        low, high: the bin's edges, in [0, 1].
        count: its images, at least 1.
        confidence: mean probability of their predictions.
        accuracy, accuracy_low, accuracy_high: share of correct predictions with its interval.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


def reliability_figure(points: Sequence[ReliabilityPoint]) -> Figure:
    """Accuracy over confidence with intervals, the line of a perfect model, and below the images behind each dot.

    Raises:
        DataError: there is no point, or a number is not in [0, 1].
    """
    shares = [value for p in points for value in (p.low, p.high, p.confidence, p.accuracy)]
    if not points or not all(0 <= share <= 1 for share in shares):  # refuses nan as well
        raise DataError(expected="one or more bins with shares in [0, 1]", found=repr(shares[:8]), where="reliability")
    figure = new_figure(400, 400)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    _draw_accuracy(upper, points)
    _draw_counts(lower, points)
    least = min(point.low for point in points)
    upper.set(xlim=(math.floor(least * 10) / 10, 1.02), ylim=(0, 1.02))
    for axes in (upper, lower):
        style_axes(axes)
        axes.grid(visible=False, axis="x")
        axes.tick_params(labelsize=10)
    return figure


def _draw_accuracy(axes: Axes, points: Sequence[ReliabilityPoint]) -> None:
    most = max(point.count for point in points)
    axes.plot((0, 1), (0, 1), color=MUTED, linewidth=1, dashes=(4, 3))
    for point in points:
        ends = (point.accuracy_low, point.accuracy_high)
        axes.plot((point.confidence, point.confidence), ends, color=BLUE, linewidth=2, solid_capstyle="butt")
        # area by count, so that one image does not weigh like a hundred
        size = 16 + 110 * point.count / most
        axes.scatter(point.confidence, point.accuracy, s=size, color=BLUE, linewidths=0, zorder=3)
    axes.set_ylabel("accuracy", color=MUTED, fontsize=11)
    axes.yaxis.set_major_locator(MultipleLocator(0.25))
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0, " %"))


def _draw_counts(axes: Axes, points: Sequence[ReliabilityPoint]) -> None:
    most = max(point.count for point in points)
    for point in points:
        middle, width = (point.low + point.high) / 2, (point.high - point.low) * 0.86
        axes.bar(middle, point.count, width=width, color=BLUE, alpha=0.4, linewidth=0)
        axes.text(middle, point.count + most * 0.06, f"{point.count}", ha="center", color=TEXT, fontsize=9)
    axes.set(ylim=(0, most * 1.4), yticks=[])
    axes.set_xlabel("confidence", color=MUTED, fontsize=11)
    axes.set_ylabel("images", color=MUTED, fontsize=11)
    axes.xaxis.set_major_locator(MultipleLocator(0.1))
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0, " %"))
