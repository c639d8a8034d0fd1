"""Filters: the weights of a convolution as images in which grey is exactly zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headstart.errors import TrainingError, near
from headstart.figures.images import value_range
from headstart.figures.style import MUTED, TEXT, new_figure, shorten

MAX_FILTERS = 16  # rows of filters × channels
MAX_CHANNELS = 16
MAX_WHOLE_FILTERS = 64  # filters that are one image each: ResNet's first layer, eight by eight
COLUMNS = 8  # of these side by side
GREY = "gray"  # matplotlib's name
_DOTS = 64  # across a filter, so that frames and gaps can be narrower than a weight
_FRAME = 0.8  # its grey: a white weight at the edge must end somewhere

Numbers = NDArray[np.float64]


def filters_figure(
    weights: NDArray[Any],
    title: str = "",
    *,
    max_filters: int | None = None,
    max_channels: int = MAX_CHANNELS,
    cmap: str | Colormap = GREY,
    by_channel: bool = False,
) -> Figure:
    """Filters of one or three input channels as one image each, in colour if three; others as filters × channels.

    All share one symmetric scale: middle grey is 0, white the largest magnitude of what is drawn. In colours, too, each
    channel is 0 in the middle, so that grey means "no preference". All are one image on one axes: hundreds of axes
    would take seconds.

    Args:
        weights: F×C×H×W. title: the layer's name.
        max_filters: None: 64 where a filter is one image, else 16. max_channels: columns; the title says how many are
            left out.
        cmap: a colour map of matplotlib; any but grey draws colours channel by channel.
        by_channel: filters × channels in any case, as in the book.

    Raises:
        TrainingError: the weights have another shape, nothing of them may be drawn, or there is no such colour map.
    """
    weights, colors = np.asarray(weights), _colors(cmap)
    whole = weights.ndim == 4 and weights.shape[1] in ((1, 3) if colors is None else (1,)) and not by_channel
    most = (MAX_WHOLE_FILTERS if whole else MAX_FILTERS) if max_filters is None else max_filters
    if weights.ndim != 4 or weights.size == 0 or min(most, max_channels) < 1:
        raise TrainingError(expected="weights filters×channels×height×width", found=f"{weights.shape}", where="filters")
    drawn = weights[:most] if whole else weights[:most, :max_channels]
    scale = value_range(drawn, symmetric=True)[1]
    greys = 0.5 + drawn.astype(np.float64) / (2 * scale)
    pixels = np.repeat(greys[..., np.newaxis], 3, axis=-1) if colors is None else colors(greys)[..., :3]
    if whole:  # F×C×H×W×3 → one image for each filter
        pixels = pixels[:, 0] if weights.shape[1] == 1 else greys.transpose(0, 2, 3, 1)
    figure = _grid(pixels) if whole else _table(pixels)
    words = f"{_heading(weights.shape, title)}{_left_out(weights.shape, drawn.shape)}\n"
    words += f"Grey is 0, white {scale:.2g}, black {-scale:.2g}" if colors is None else ""
    words += f"The middle of the colour map is 0, its ends are {-scale:.2g} and {scale:.2g}" if colors else ""
    words += " in each colour." if whole and weights.shape[1] == 3 else "."
    figure.suptitle(words, fontsize=10, color=TEXT, parse_math=False, x=0.01, ha="left")
    return figure


def _colors(cmap: str | Colormap | None) -> Colormap | None:
    """A colour map; None for grey, whose 256 steps would be coarser than the weights."""
    if cmap is None or cmap == GREY:
        return None
    try:
        return matplotlib.colormaps.get_cmap(cmap)
    except (ValueError, TypeError) as error:
        hint = near(cmap, matplotlib.colormaps) if isinstance(cmap, str) else "Names are in matplotlib.colormaps."
        raise TrainingError(expected="a colour map of matplotlib", found=repr(cmap), where="cmap", hint=hint) from error


def _grid(colors: Numbers) -> Figure:
    """One image F×H×W×3 for each filter, in reading order."""
    number = len(colors)
    columns = min(number, COLUMNS)
    rows = math.ceil(number / columns)
    cells = np.full((rows * columns, *colors.shape[1:3], 3), np.nan)
    cells[:number] = colors
    ends = [(row * columns, min(number, (row + 1) * columns) - 1) for row in range(rows)]
    names = [f"#{first}" if first == last else f"#{first} to #{last}" for first, last in ends]
    return _mosaic(cells.reshape(rows, columns, *cells.shape[1:]), (names, ()), side=60)


def _table(cells: Numbers) -> Figure:
    """A row for each filter, a column for each channel: F×C×H×W×3."""
    rows = [f"Filter #{row}" for row in range(cells.shape[0])]
    return _mosaic(cells, (rows, [f"#{channel}" for channel in range(cells.shape[1])]), side=40)


def _mosaic(cells: Numbers, names: tuple[Sequence[str], Sequence[str]], side: float) -> Figure:
    """Images R×K×H×W×3 (nan: none) in frames beside and below each other; a weight is one unit of the axes.

    Args:
        names: of the rows and of the columns. side: points of a filter's side.
    """
    rows, columns, height, width = cells.shape[:4]
    dots = max(4, _DOTS // max(height, width))  # of a weight's side
    mosaic = _framed(cells, dots)
    tall, wide = mosaic.shape[0] / dots / rows, mosaic.shape[1] / dots / columns
    unit = side / max(2, height, width)  # points of a weight: a 1×1 filter need not be as large as others
    figure = new_figure(max(320.0, unit * wide * columns + 90), unit * tall * rows + 80)
    axes = figure.add_subplot()
    edge = 1 / dots
    extent = (-edge, columns * wide - edge, rows * tall - edge, -edge)
    axes.imshow(mosaic, interpolation="nearest", extent=extent)
    axes.set_yticks([row * tall + height / 2 for row in range(rows)], names[0])
    axes.set_xticks([column * wide + width / 2 for column in range(len(names[1]))], names[1])
    _style(axes, turned=bool(names[1]) and unit * wide < 6 * len(names[1][-1]))
    axes.set_xlabel("Channel" if names[1] else "", color=MUTED, fontsize=8.5)
    return figure


def _framed(cells: Numbers, dots: int) -> Numbers:
    """The cells as one image of red, green, blue and opacity: gaps and missing cells are transparent."""
    rows, columns, height, width = cells.shape[:4]
    gap = max(2, round(dots * max(height, width) / 12))
    fine = cells.repeat(dots, axis=2).repeat(dots, axis=3)
    fine = np.pad(fine, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=_FRAME)
    fine = np.concatenate([fine, np.ones((*fine.shape[:4], 1))], axis=-1)
    fine[np.isnan(cells[:, :, 0, 0, 0])] = 0.0
    fine = np.pad(fine, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)))
    mosaic = fine.swapaxes(1, 2).reshape(rows * fine.shape[2], columns * fine.shape[3], 4)
    return np.asarray(mosaic.clip(0, 1))


def _style(axes: Axes, *, turned: bool) -> None:
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.tick_params(length=0, labelsize=8.5, labelcolor=MUTED)
    axes.spines[:].set_visible(False)
    if turned:
        axes.tick_params(axis="x", labelrotation=90)


def _heading(shape: tuple[int, ...], title: str) -> str:
    filters, channels, height, width = shape
    plural, more = ("s" if number != 1 else "" for number in (filters, channels))
    size = f"{filters} filter{plural} {height}×{width} on {channels} channel{more}"
    return f"{shorten(title, 40)}: {size}" if title else size


def _left_out(shape: tuple[int, ...], drawn: tuple[int, ...]) -> str:
    parts = [f"{drawn[0]} filters"] if drawn[0] < shape[0] else []
    parts += [f"{drawn[1]} channels"] if drawn[1] < shape[1] else []
    return f"\nDrawn are the first {' and '.join(parts)}." if parts else ""
