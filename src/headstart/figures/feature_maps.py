"""Feature maps: what layers made of images, a column for each image and a row for each channel."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headstart.errors import TrainingError
from headstart.figures.axes import sheet
from headstart.figures.ink import FAINT
from headstart.figures.pictures import tensor_row

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
        tall, wide = map(int, self.values.shape[1:3])
        return CELL * min(2.0, max(0.5, tall / wide))


def feature_maps_figure(
    outputs: Mapping[str, NDArray[Any]],
    n_images: int = 10,
    y: Sequence[object] | None = None,
    yhat: Sequence[object] | None = None,
    most_rows: int = 8,
) -> Figure:
    """A row for each channel of each layer, grey on a scale of its own; a layer of vectors has one row of strips.

    Args:
        outputs: layer → N×C×H×W, N×D, or N×H×W.
        n_images: columns at most. y, yhat: labels and predictions, written below the last row.
        most_rows: channels drawn of a layer; a sentence says what is left out.

    Raises:
        TrainingError: there is nothing to draw, or outputs have another shape.
    """
    if not outputs or n_images < 1 or any(values.size == 0 for values in outputs.values()):
        raise TrainingError(
            expected="outputs of one or more layers", found="none", where="visualize_outputs", hint="Run predict first."
        )
    rows, left_out = _rows(outputs, most_rows)
    columns = min(n_images, max(len(row.values) for row in rows))
    heights = [row.height for row in rows]
    figure = sheet(CELL * columns + 110, sum(heights) + 6 * len(rows) + 60)
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for place, (row, axs) in enumerate(zip(rows, grid, strict=True)):
        last = place == len(rows) - 1
        below = (y, yhat) if last else (None, None)
        tensor_row(axs, row.values, *below, layer_name=row.name, title="Image" if place == 0 else None)
    if left_out:
        words = textwrap.wrap(f"Not drawn: {'; '.join(left_out)}.", int((CELL * columns + 110) / 5))
        figure.suptitle("\n".join(words), fontsize=9, color=FAINT, parse_math=False)
    return figure


def _rows(outputs: Mapping[str, NDArray[Any]], most: int) -> tuple[list[_Row], list[str]]:
    rows: list[_Row] = []
    left_out: list[str] = []
    for name, values in outputs.items():
        spoken = name or "the model"
        if values.ndim in (1, 2, 3):
            rows.append(_Row(spoken, values[:, np.newaxis] if values.ndim == 1 else values))
            continue
        if values.ndim != 4:
            raise TrainingError(expected="N×C×H×W, N×D or N×H×W", found=f"{values.shape}", where=spoken)
        channels = values.shape[1]
        rows += [_Row(f"{spoken}\nfil#{channel}", values[:, channel]) for channel in range(min(channels, most))]
        if channels > most:
            left_out.append(f"{channels - most} of {channels} channels of {spoken}")
    return rows, left_out


__all__ = ["feature_maps_figure", "tensor_row"]
