"""Feature maps: outputs of layers, one column per image and one row per channel."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headstart.errors import TrainingError
from headstart.figures.images import draw_image_row
from headstart.figures.style import MUTED, new_figure

CELL = 84.0  # points of an image's side
STRIP = 26.0  # height of a row of vectors


@dataclass(frozen=True)
class _Row:
    name: str
    values: NDArray[Any]

    @property
    def height(self) -> float:
        """Points; a map keeps its shape within bounds."""
        if self.values.ndim == 2:
            return STRIP
        height, width = map(int, self.values.shape[1:3])
        return CELL * min(2.0, max(0.5, height / width))


def feature_maps_figure(
    outputs: Mapping[str, NDArray[Any]],
    n_images: int = 10,
    *,
    y: Sequence[object] | None = None,
    yhat: Sequence[object] | None = None,
    max_channels: int = 8,
) -> Figure:
    """One row per channel of each layer, grey on a scale of its own; a layer of vectors has one row of strips.

    Args:
        outputs: layer → N×C×H×W, N×D, or N×H×W.
        n_images: columns at most. y, yhat: labels and predictions, written below the last row.
        max_channels: channels drawn of a layer; a sentence says how many are left out.

    Raises:
        TrainingError: there is nothing to draw, or outputs have another shape.
    """
    if not outputs or n_images < 1 or any(values.size == 0 for values in outputs.values()):
        raise TrainingError(
            expected="outputs of one or more layers", found="none", where="visualize_outputs", hint="Run predict first."
        )
    rows, left_out = _rows(outputs, max_channels)
    columns = min(n_images, max(len(row.values) for row in rows))
    heights = [row.height for row in rows]
    width = CELL * columns + 110
    figure = new_figure(width, sum(heights) + 6 * len(rows) + 60)
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for number, (row, axs) in enumerate(zip(rows, grid, strict=True)):
        labels, answers = (y, yhat) if number == len(rows) - 1 else (None, None)
        title = "Image" if number == 0 else None
        draw_image_row(axs, row.values, y=labels, yhat=answers, layer_name=row.name, title=title)
    if left_out:
        words = textwrap.wrap(f"Not drawn: {'; '.join(left_out)}.", int(width / 5))
        figure.suptitle("\n".join(words), fontsize=9, color=MUTED, parse_math=False)
    return figure


def _rows(outputs: Mapping[str, NDArray[Any]], max_channels: int) -> tuple[list[_Row], list[str]]:
    rows: list[_Row] = []
    left_out: list[str] = []
    for name, values in outputs.items():
        layer = name or "the model"
        if values.ndim in (1, 2, 3):
            rows.append(_Row(layer, values[:, np.newaxis] if values.ndim == 1 else values))
            continue
        if values.ndim != 4:
            raise TrainingError(expected="N×C×H×W, N×D or N×H×W", found=f"{values.shape}", where=layer)
        channels = values.shape[1]
        rows += [_Row(f"{layer}\nfil#{channel}", values[:, channel]) for channel in range(min(channels, max_channels))]
        if channels > max_channels:
            left_out.append(f"{channels - max_channels} of {channels} channels of {layer}")
    return rows, left_out
