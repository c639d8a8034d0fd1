"""Loss curves: training and validation losses, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from headstart.errors import TrainingError
from headstart.figures.style import BLUE, MUTED, ORANGE, TEXT, figure_and_axes, style_axes

Losses = Sequence[float | None]

SIZE = (720, 288)
"""Points: ten by four inches, as in the book."""


def losses_figure(losses: Losses, val_losses: Losses = (), ax: Axes | None = None) -> Figure:
    """Training losses in blue and validation losses in red over the epochs, on a log scale where all are above 0.

    Args:
        losses, val_losses: one for each epoch, the first at 0 as in the book; None leaves a gap.
        ax: draw here; None: on a figure of its own.

    Raises:
        TrainingError: there is no loss yet.
    """
    series = (("Training Loss", losses, BLUE), ("Validation Loss", val_losses, ORANGE))
    drawn = [(name, _numbers(values), color) for name, values, color in series]
    finite = [value for _, values, _ in drawn for value in values if math.isfinite(value)]
    if not finite:
        raise TrainingError(expected="losses to draw", found="none", where="plot_losses", hint="Call train first.")
    figure, axes = figure_and_axes(ax, *SIZE)
    for name, values, color in drawn:
        if any(map(math.isfinite, values)):
            marker = "o" if len(values) <= 20 else ""  # a single epoch is no line
            axes.plot(range(len(values)), values, color=color, linewidth=1.8, marker=marker, markersize=4, label=name)
    if min(finite) > 0:
        _log(axes, finite)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if ax is None and max(len(losses), len(val_losses)) == 1:
        axes.set_xlim(-0.5, 0.5)
    axes.set_xlabel("Epochs", color=MUTED, fontsize=10)
    axes.set_ylabel("Loss", color=MUTED, fontsize=10)
    style_axes(axes)
    axes.legend(frameon=False, fontsize=9.5, labelcolor=TEXT)
    return figure


def _numbers(values: Losses) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]


def _log(axes: Axes, finite: Sequence[float]) -> None:
    """A log scale whose ticks are plain numbers, not too close: between powers of ten alone there is often none."""
    axes.set_yscale("log")
    low, high = min(finite), max(finite)
    if high / low < 1.2:  # matplotlib would show a whole decade around an even loss
        low, high = axes.set_ylim(low / 1.2, high * 1.2)
    if high / low < 5:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_minor_locator(NullLocator())
    elif high / low < 1000:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
