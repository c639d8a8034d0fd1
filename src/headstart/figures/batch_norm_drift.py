"""Drift of batch norms: profiles over the depth of a network, and the images of the channels that are farthest off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from headstart.figures.axes import dress, sheet
from headstart.figures.ink import FAINT, INK, RIGHT, WRONG, label

Bytes = NDArray[np.uint8]
_THUMB = 72  # points of a thumbnail
_SHOWN = 4  # channels with thumbnails: more make the figure higher than a page
_BESIDE = 2  # of them in a row


@dataclass(frozen=True)
class Profile:
    """One value for each of L batch norms, in the order in which they run.

    Args:
        layers: their names. shift, high, floor: median and 90th percentile of |shift|, and the median by chance.
        variance: 10th, 50th and 90th percentile of the logarithm of the variance's ratio.
    """

    layers: tuple[str, ...]
    shift: tuple[float, ...]
    high: tuple[float, ...]
    floor: tuple[float, ...]
    variance: tuple[tuple[float, ...], ...]


def drift_figure(profile: Profile, rows: Sequence[tuple[str, Sequence[Bytes]]] = ()) -> Figure:
    """Two profiles side by side, and below them a row of images for each of up to four channels.

    Args:
        rows: name of a channel and the images H×W×3 uint8 that take it farthest; may be empty.
    """
    shown = rows[:_SHOWN]
    pairs = [shown[first : first + _BESIDE] for first in range(0, len(shown), _BESIDE)]
    figure = sheet(760, 270 + (_THUMB + 12) * len(pairs) if profile.layers else 60)
    if not profile.layers:
        figure.text(0.5, 0.5, "no batch norm that keeps statistics", ha="center", va="center", color=FAINT)
        return figure
    heights = [250, *[_THUMB] * len(pairs)]
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    left, right = parts[0].subplots(1, 2)
    _draw_shift(left, profile)
    _draw_variance(right, profile)
    for part, pair in zip(parts[1:], pairs, strict=True):
        _draw_channels(part, pair)
    return figure


def _draw_channels(part: SubFigure, pair: Sequence[tuple[str, Sequence[Bytes]]]) -> None:
    """Names of channels, each with its images beside it."""
    most = max(len(images) for _, images in pair)
    grid = part.subplots(1, _BESIDE * (most + 1), squeeze=False, width_ratios=[1.6, *[1] * most] * _BESIDE)[0]
    for axes in grid:
        axes.set_axis_off()
    for place, (name, images) in enumerate(pair):
        first = place * (most + 1)
        _draw_words(grid[first], name)
        for axes, image in zip(grid[first + 1 :], images, strict=False):
            axes.imshow(image)


def _draw_shift(axes: Axes, profile: Profile) -> None:
    places = range(1, len(profile.layers) + 1)
    axes.fill_between(places, profile.shift, profile.high, color=RIGHT, alpha=0.15, linewidth=0)
    axes.plot(
        places, profile.shift, "o-", color=RIGHT, markersize=3, linewidth=1.5, label="median; to the 90th percentile"
    )
    axes.plot(places, profile.floor, color=FAINT, linewidth=1.3, dashes=(4, 2.5), label="by chance")
    _finish(axes, "Shift of the means", "deviations")
    axes.set_ylim(bottom=0)


def _draw_variance(axes: Axes, profile: Profile) -> None:
    places = range(1, len(profile.layers) + 1)
    low, middle, high = (list(values) for values in zip(*profile.variance, strict=True))
    axes.fill_between(places, low, high, color=WRONG, alpha=0.15, linewidth=0)
    axes.plot(places, middle, "o-", color=WRONG, markersize=3, linewidth=1.5, label="median; 10th to 90th percentile")
    axes.axhline(0, color=FAINT, linewidth=1.3, dashes=(4, 2.5), label="as stored")
    _finish(axes, "Ratio of the variances", "ln(yours / stored)")


def _finish(axes: Axes, title: str, y: str) -> None:
    axes.set_title(title, color=INK, fontsize=11, loc="left", pad=22)
    axes.set_xlabel("batch norm, in the order of the forward pass", color=FAINT, fontsize=10)
    axes.set_ylabel(y, color=FAINT, fontsize=10)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=2, frameon=False, fontsize=8.5, labelcolor=INK)
    dress(axes)


def _draw_words(axes: Axes, name: str) -> None:
    words = f"{label(name, 24)}\nis taken farthest by"
    axes.text(
        1, 0.5, words, ha="right", va="center", fontsize=8.5, color=INK, transform=axes.transAxes, parse_math=False
    )
