"""Weight plane: the loss over two directions of the weights, as filled contours."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.figures.style import GRID, MUTED, ORANGE, TEXT, new_figure

_LEVELS = 14


def weight_plane_figure(at: NDArray[np.floating], losses: NDArray[np.floating]) -> Figure:
    """Losses P×P at steps `at` (P) along both directions; levels are even in the logarithm, a cross marks the model.

    Raises:
        DataError: the shapes do not fit.
    """
    if losses.shape != (len(at), len(at)) or len(at) < 3:
        raise DataError(expected="losses P×P, P of 3 or more", found=f"{losses.shape}", where="weight_plane_figure")
    figure = new_figure(470, 400)
    axes = figure.add_subplot()
    heights = np.log10(np.maximum(losses, 1e-12))
    low, high = float(heights.min()), float(heights.max())
    levels = np.linspace(low, max(high, low + 1e-6), _LEVELS)
    filled = axes.contourf(at, at, heights, levels=levels, cmap="viridis")
    axes.contour(at, at, heights, levels=levels, colors="white", linewidths=0.5, alpha=0.6)
    axes.plot([0], [0], "+", color=ORANGE, markersize=14, markeredgewidth=2.5)
    bar = figure.colorbar(filled, ax=axes, ticks=levels[::3])
    bar.ax.set_yticklabels([f"{10**level:.3g}" for level in levels[::3]], fontsize=9, color=MUTED)
    bar.ax.set_ylabel("loss (even steps of its logarithm)", fontsize=9.5, color=MUTED)
    axes.set_xlabel("first direction", color=MUTED, fontsize=10)
    axes.set_ylabel("second direction", color=MUTED, fontsize=10)
    axes.set_title("Loss around the model (+)", color=TEXT, fontsize=11, loc="left")
    axes.set_aspect("equal")
    axes.tick_params(length=0, labelsize=9, labelcolor=MUTED)
    axes.spines[:].set_color(GRID)
    bar.outline.set_edgecolor(GRID)
    return figure
