"""Batch-norm drift: profiles over the depth of a network, and the images that drive the channels with most drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from headstart.figures.style import BLUE, MUTED, ORANGE, TEXT, new_figure, shorten, style_axes

Bytes = NDArray[np.uint8]
_THUMBNAIL = 72  # points of a thumbnail's side
_MAX_CHANNELS = 4  # with thumbnails: more make the figure higher than a page
_COLUMNS = 2  # channels side by side
_MEDIAN: dict[str, Any] = {"markersize": 3, "linewidth": 1.5}


@dataclass(frozen=True, kw_only=True)
class DriftProfile:
    """One value for each of L batch norms, in the order of the forward pass.

    Args:
        layers: their names. shift, high, floor: median and 90th percentile of |shift|, and the median by chance.
        variance: 10th, 50th and 90th percentile of the logarithm of the variance's ratio.
    """

    layers: tuple[str, ...]
    shift: tuple[float, ...]
    high: tuple[float, ...]
    floor: tuple[float, ...]
    variance: tuple[tuple[float, ...], ...]


def drift_figure(profile: DriftProfile, channels: Sequence[tuple[str, Sequence[Bytes]]] = ()) -> Figure:
    """Two profiles side by side, and below them the images of up to four channels.

    Args:
        channels: name of a channel and the images H×W×3 uint8 with the largest drift in it; may be empty.
    """
    shown = channels[:_MAX_CHANNELS]
    pairs = [shown[first : first + _COLUMNS] for first in range(0, len(shown), _COLUMNS)]
    figure = new_figure(760, 270 + (_THUMBNAIL + 12) * len(pairs) if profile.layers else 60)
    if not profile.layers:
        words = "no batch norm with running statistics"
        figure.text(0.5, 0.5, words, ha="center", va="center", color=MUTED)
        return figure
    heights = [250, *[_THUMBNAIL] * len(pairs)]
    subfigures = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    left, right = subfigures[0].subplots(1, 2)
    _draw_shift(left, profile)
    _draw_variance(right, profile)
    for subfigure, pair in zip(subfigures[1:], pairs, strict=True):
        _draw_channels(subfigure, pair)
    return figure


def _draw_channels(subfigure: SubFigure, pair: Sequence[tuple[str, Sequence[Bytes]]]) -> None:
    """Names of channels, each with its images beside it."""
    most = max(len(images) for _, images in pair)
    grid = subfigure.subplots(1, _COLUMNS * (most + 1), squeeze=False, width_ratios=[1.6, *[1] * most] * _COLUMNS)[0]
    for axes in grid:
        axes.set_axis_off()
    for number, (name, images) in enumerate(pair):
        first = number * (most + 1)
        _draw_name(grid[first], name)
        for axes, image in zip(grid[first + 1 :], images, strict=False):
            axes.imshow(image)


def _draw_shift(axes: Axes, profile: DriftProfile) -> None:
    depth = range(1, len(profile.layers) + 1)
    axes.fill_between(depth, profile.shift, profile.high, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(depth, profile.shift, "o-", color=BLUE, **_MEDIAN, label="median; to the 90th percentile")
    axes.plot(depth, profile.floor, color=MUTED, linewidth=1.3, dashes=(4, 2.5), label="by chance")
    _finish(axes, "Shift of the means", "standard deviations")
    axes.set_ylim(bottom=0)


def _draw_variance(axes: Axes, profile: DriftProfile) -> None:
    depth = range(1, len(profile.layers) + 1)
    low, middle, high = (list(values) for values in zip(*profile.variance, strict=True))
    axes.fill_between(depth, low, high, color=ORANGE, alpha=0.15, linewidth=0)
    axes.plot(depth, middle, "o-", color=ORANGE, **_MEDIAN, label="median; 10th to 90th percentile")
    axes.axhline(0, color=MUTED, linewidth=1.3, dashes=(4, 2.5), label="as stored")
    _finish(axes, "Ratio of the variances", "ln(yours / stored)")


def _finish(axes: Axes, title: str, y_label: str) -> None:
    axes.set_title(title, color=TEXT, fontsize=11, loc="left", pad=22)
    axes.set_xlabel("batch norm, in the order of the forward pass", color=MUTED, fontsize=10)
    axes.set_ylabel(y_label, color=MUTED, fontsize=10)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=2, frameon=False, fontsize=8.5, labelcolor=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style_axes(axes)


def _draw_name(axes: Axes, name: str) -> None:
    words = f"{shorten(name, 24)}\nlargest drift in"
    axes.text(
        1, 0.5, words, ha="right", va="center", fontsize=8.5, color=TEXT, transform=axes.transAxes, parse_math=False
    )
