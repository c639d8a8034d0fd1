"""Filters: the weights of a convolution as pictures, grey being exactly zero."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headstart.errors import TrainingError
from headstart.figures.axes import sheet
from headstart.figures.ink import FAINT, INK, label
from headstart.figures.pictures import draw_picture, scale_of

MOST_FILTERS = 16  # rows of filters × channels
MOST_CHANNELS = 16
MOST_WHOLE = 64  # filters that are one picture each: ResNet's first layer, eight by eight


def filters_figure(
    weights: NDArray[Any], title: str = "", most_filters: int | None = None, most_channels: int = MOST_CHANNELS
) -> Figure:
    """Filters of one or three input channels as one picture each, in colour if three; others as filters × channels.

    All share one symmetric scale: middle grey is 0, white the largest magnitude of what is drawn. In colours, too, each
    channel is 0 in the middle, so that grey means "no preference".

    Args:
        weights: F×C×H×W. title: the layer's name.
        most_filters: None: 64 where a filter is one picture, else 16. most_channels: columns; the title says what is
            left out.

    Raises:
        TrainingError: the weights have another shape.
    """
    weights = np.asarray(weights)
    if weights.ndim != 4 or weights.size == 0:
        raise TrainingError(expected="weights filters×channels×height×width", found=f"{weights.shape}", where="filters")
    whole = weights.shape[1] in (1, 3)
    most = most_filters or (MOST_WHOLE if whole else MOST_FILTERS)
    chosen = weights[:most].astype(np.float64) if whole else weights[:most, :most_channels].astype(np.float64)
    figure = _grid(chosen) if whole else _table(chosen)
    words = _words(weights, chosen, title)
    figure.suptitle(words, fontsize=10, color=INK, parse_math=False, x=0.01, ha="left")
    return figure


def _grid(weights: NDArray[np.float64]) -> Figure:
    """One picture for each filter."""
    number, _, height, width = weights.shape
    columns = min(number, max(8, math.ceil(math.sqrt(number))))
    rows = math.ceil(number / columns)
    figure = sheet(max(320, 66 * columns), (66 * min(2.0, max(0.4, height / width)) + 14) * rows + 50)
    low, high = scale_of(weights, symmetric=True)
    shades = ((weights - low) / (high - low)).transpose(0, 2, 3, 1)
    places = figure.subplots(rows, columns, squeeze=False).flat
    for place, axes in enumerate(places):
        if place >= number:
            axes.set_axis_off()
            continue
        shade = shades[place] if shades.shape[3] == 3 else shades[place, :, :, 0]
        draw_picture(axes, shade, 0.0, 1.0)
        axes.set_title(f"#{place}", fontsize=7.5, color=FAINT, pad=2)
    return figure


def _table(weights: NDArray[np.float64]) -> Figure:
    """A row for each filter, a column for each channel."""
    filters, channels, height, width = weights.shape
    figure = sheet(max(320, 40 * channels + 90), 44 * min(2.0, max(0.4, height / width)) * filters + 66)
    low, high = scale_of(weights, symmetric=True)
    grid = figure.subplots(filters, channels, squeeze=False)
    for row, channel in np.ndindex(filters, channels):
        axes = grid[row, channel]
        draw_picture(axes, weights[row, channel], low, high)
        if row == 0:
            axes.set_title(f"#{channel}" if channel else "Channel #0", fontsize=8, color=FAINT, pad=3)
        if channel == 0:
            axes.set_ylabel(f"Filter #{row}", rotation=0, ha="right", va="center", fontsize=8.5, color=FAINT)
    return figure


def _words(weights: NDArray[Any], chosen: NDArray[np.float64], title: str) -> str:
    filters, channels, height, width = weights.shape
    size = f"{filters} filters {height}×{width} on {channels} channel{'s' if channels != 1 else ''}"
    words = f"{label(title, 40)}: {size}" if title else size
    drawn = [f"{len(chosen)} filters"] if len(chosen) < filters else []
    drawn += [f"{chosen.shape[1]} channels"] if chosen.shape[1] < channels else []
    if drawn:
        words += f"\nDrawn are the first {' and '.join(drawn)}."
    most = scale_of(chosen, symmetric=True)[1]
    return f"{words}\nGrey is 0, white {most:.2g}, black {-most:.2g}{' in each colour' if channels == 3 else ''}."
