"""Learning-rate range test: the loss over the rate, with the suggested range."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.style import BLUE, MUTED, ORANGE, TEXT, characters_across, figure_and_axes, style_axes


@dataclass(frozen=True, kw_only=True)
class LrCurve:
    """The curve of a range test, one value per batch.

    Args:
        rates: learning rates of the first group.
        raw: losses of single batches. losses: smoothed as in the book. corrected: smoothed without bias to the first.
        suggestion, low, high: the suggested rate and its range; None: there is none.
        log: whether the rate grew by equal factors.
        sentence: the suggestion in words.
    """

    rates: Sequence[float]
    raw: Sequence[float]
    losses: Sequence[float]
    corrected: Sequence[float]
    suggestion: float | None
    low: float | None
    high: float | None
    log: bool
    sentence: str


def lr_range_figure(curve: LrCurve, ax: Axes | None = None) -> Figure:
    """Losses over learning rates: single batches as dots, smoothed as lines, the suggested range as a band.

    Args:
        ax: draw here; None: on a figure of its own.
    """
    figure, axes = figure_and_axes(ax, 480, 330)
    rates = curve.rates
    axes.plot(rates, curve.raw, "o", color=MUTED, alpha=0.35, markersize=3, markeredgewidth=0, label="single batches")
    axes.plot(rates, curve.losses, color=BLUE, linewidth=1.2, dashes=(4, 2.5), label="smoothed as in the book")
    axes.plot(rates, curve.corrected, color=BLUE, linewidth=2, label="smoothed")
    if curve.low is not None and curve.high is not None and curve.suggestion is not None:
        axes.axvspan(curve.low, curve.high, color=ORANGE, alpha=0.12, linewidth=0)
        axes.axvline(curve.suggestion, color=ORANGE, linewidth=1.4, label=f"suggestion {curve.suggestion:.2g}")
    if curve.log:
        axes.set_xscale("log")
    _limit_losses(axes, curve)
    axes.set_xlabel("Learning Rate", color=MUTED, fontsize=10)
    axes.set_ylabel("Loss", color=MUTED, fontsize=10)
    style_axes(axes)
    words = "\n".join(textwrap.wrap(curve.sentence, characters_across(axes, 9.5)))
    axes.set_title(words, color=TEXT, fontsize=9.5)  # in the middle, where a title of the user's replaces it
    axes.legend(frameon=False, fontsize=8.5, labelcolor=TEXT)
    return figure


def _limit_losses(axes: Axes, curve: LrCurve) -> None:
    """Let the few losses after divergence leave the axes: they would press the curve flat."""
    if len(curve.corrected) < 2:
        return
    smoothed = (*curve.corrected, *curve.losses)
    bottom, start = min(*smoothed, *curve.raw), max(curve.losses[0], *curve.raw[: max(1, len(curve.raw) // 2)])
    upper = min(max(*smoothed, *curve.raw), max(start, min(smoothed)) + 0.6 * (start - bottom))
    if upper > bottom:
        axes.set_ylim(bottom - 0.05 * (upper - bottom), upper + 0.05 * (upper - bottom))
