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
from headstart.figures.pictures import scale_of

MOST_FILTERS = 16  # rows of filters × channels
MOST_CHANNELS = 16
MOST_WHOLE = 64  # filters that are one picture each: ResNet's first layer, eight by eight
ACROSS = 8  # of these in a row
_DOTS = 64  # across a filter, so that frames and gaps can be narrower than a weight
_FRAME = 0.8  # its shade: a white weight at the edge must end somewhere

Numbers = NDArray[np.float64]


def filters_figure(
    weights: NDArray[Any], title: str = "", most_filters: int | None = None, most_channels: int = MOST_CHANNELS
) -> Figure:
    """Filters of one or three input channels as one picture each, in colour if three; others as filters × channels.

    All share one symmetric scale: middle grey is 0, white the largest magnitude of what is drawn. In colours, too, each
    channel is 0 in the middle, so that grey means "no preference". All are one image on one axes: hundreds of axes
    would take seconds.

    Args:
        weights: F×C×H×W. title: the layer's name.
        most_filters: None: 64 where a filter is one picture, else 16. most_channels: columns; the title says what is
            left out.

    Raises:
        TrainingError: the weights have another shape, or nothing of them may be drawn.
    """
    weights = np.asarray(weights)
    whole = weights.ndim == 4 and weights.shape[1] in (1, 3)
    most = (MOST_WHOLE if whole else MOST_FILTERS) if most_filters is None else most_filters
    if weights.ndim != 4 or weights.size == 0 or min(most, most_channels) < 1:
        raise TrainingError(expected="weights filters×channels×height×width", found=f"{weights.shape}", where="filters")
    chosen = weights[:most] if whole else weights[:most, :most_channels]
    scale = scale_of(chosen, symmetric=True)[1]
    shades = 0.5 + chosen.astype(np.float64) / (2 * scale)
    figure = _grid(shades) if whole else _table(shades)
    words = _words(weights.shape, chosen.shape, title, scale)
    figure.suptitle(words, fontsize=10, color=INK, parse_math=False, x=0.01, ha="left")
    return figure


def _grid(shades: Numbers) -> Figure:
    """One picture for each filter, in reading order."""
    number = len(shades)
    across = min(number, ACROSS)
    down = math.ceil(number / across)
    colours = shades.transpose(0, 2, 3, 1)  # F×H×W×3, or ×1, which is grey in all three
    cells = np.full((down * across, *colours.shape[1:3], 3), np.nan)
    cells[:number] = colours
    ends = [(row * across, min(number, (row + 1) * across) - 1) for row in range(down)]
    rows = [f"#{first}" if first == last else f"#{first} to #{last}" for first, last in ends]
    return _mosaic(cells.reshape(down, across, *cells.shape[1:]), rows, [], side=60)


def _table(shades: Numbers) -> Figure:
    """A row for each filter, a column for each channel."""
    cells = np.repeat(shades[..., np.newaxis], 3, axis=-1)
    columns = [f"#{channel}" for channel in range(cells.shape[1])]
    return _mosaic(cells, [f"Filter #{row}" for row in range(len(cells))], columns, side=40)


def _mosaic(cells: Numbers, rows: list[str], columns: list[str], side: float) -> Figure:
    """Pictures R×K×H×W×3 (nan: none) in frames beside and below each other; a weight is one unit of the axes."""
    down, across, height, width = cells.shape[:4]
    dots = max(4, _DOTS // max(height, width))  # of a weight's side
    gap = max(2, round(dots * max(height, width) / 12))
    fine = cells.repeat(dots, axis=2).repeat(dots, axis=3)
    fine = np.pad(fine, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=_FRAME)
    fine = np.pad(fine, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=1.0)
    fine[np.isnan(cells[:, :, 0, 0, 0])] = 1.0
    tall, wide = fine.shape[2] / dots, fine.shape[3] / dots
    unit = side / max(2, height, width)  # points of a weight: a 1×1 filter need not be as large as others
    figure = sheet(max(320.0, unit * wide * across + 90), unit * tall * down + 80)
    axes = figure.add_subplot()
    edge = 1 / dots
    whole = fine.swapaxes(1, 2).reshape(down * fine.shape[2], across * fine.shape[3], 3)
    axes.imshow(
        whole.clip(0, 1), interpolation="nearest", extent=(-edge, across * wide - edge, down * tall - edge, -edge)
    )
    axes.set_yticks([row * tall + height / 2 for row in range(down)], rows)
    axes.set_xticks([column * wide + width / 2 for column in range(len(columns))], columns)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("Channel" if columns else "", color=FAINT, fontsize=8.5)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=FAINT)
    axes.spines[:].set_visible(False)
    if columns and unit * wide < 6 * len(columns[-1]):
        axes.tick_params(axis="x", labelrotation=90)
    return figure


def _words(all_: tuple[int, ...], drawn: tuple[int, ...], title: str, scale: float) -> str:
    filters, channels, height, width = all_
    several, more = ("s" if number != 1 else "" for number in (filters, channels))
    size = f"{filters} filter{several} {height}×{width} on {channels} channel{more}"
    words = f"{label(title, 40)}: {size}" if title else size
    parts = [f"{drawn[0]} filters"] if drawn[0] < filters else []
    parts += [f"{drawn[1]} channels"] if drawn[1] < channels else []
    if parts:
        words += f"\nDrawn are the first {' and '.join(parts)}."
    return f"{words}\nGrey is 0, white {scale:.2g}, black {-scale:.2g}{' in each colour' if channels == 3 else ''}."
