"""Range of learning rates: the loss over the rate, and where on it the suggestion lies."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.axes import axes_on, dress, letters_across
from headstart.figures.ink import FAINT, INK, RIGHT, WRONG


class Curve(Protocol):
    """What is drawn of a range test; `training.lr_range.LrRange` has all of it, and describes it."""

    @property
    def losses(self) -> Sequence[float]:
        """Smoothed as in the book."""
        ...

    @property
    def corrected(self) -> Sequence[float]:
        """Smoothed without favour for the first batch."""
        ...

    @property
    def raw(self) -> Sequence[float]:
        """Of single batches."""
        ...

    @property
    def lrs(self) -> Sequence[Sequence[float]]:
        """At each point, the rates of all groups."""
        ...

    @property
    def step_mode(self) -> str:
        """How the rate grew: `exp` or `linear`."""
        ...

    @property
    def suggestion(self) -> float | None:
        """A rate, or None."""
        ...

    @property
    def low(self) -> float | None:
        """The suggestion's lower end."""
        ...

    @property
    def high(self) -> float | None:
        """The suggestion's upper end."""
        ...

    @property
    def sentence(self) -> str:
        """What to think of it."""
        ...


def lr_range_figure(value: Curve, ax: Axes | None = None) -> Figure:
    """Losses over learning rates: single batches as dots, smoothed as lines, the suggested range as a band.

    Args:
        ax: draw here; None: on a figure of its own.
    """
    figure, axes = axes_on(ax, 480, 330)
    rates = [group[0] for group in value.lrs]
    axes.plot(rates, value.raw, "o", color=FAINT, alpha=0.35, markersize=3, markeredgewidth=0, label="single batches")
    axes.plot(rates, value.losses, color=RIGHT, linewidth=1.2, dashes=(4, 2.5), label="smoothed as in the book")
    axes.plot(rates, value.corrected, color=RIGHT, linewidth=2, label="smoothed")
    if value.low is not None and value.high is not None and value.suggestion is not None:
        axes.axvspan(value.low, value.high, color=WRONG, alpha=0.12, linewidth=0)
        axes.axvline(value.suggestion, color=WRONG, linewidth=1.4, label=f"suggestion {value.suggestion:.2g}")
    if value.step_mode == "exp":
        axes.set_xscale("log")
    _keep_in_sight(axes, value)
    axes.set_xlabel("Learning Rate", color=FAINT, fontsize=10)
    axes.set_ylabel("Loss", color=FAINT, fontsize=10)
    dress(axes)
    axes.set_title(
        "\n".join(textwrap.wrap(value.sentence, letters_across(axes, 9.5))), color=INK, fontsize=9.5, loc="left"
    )
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    return figure


def _keep_in_sight(axes: Axes, value: Curve) -> None:
    """Let the few losses beyond the edge of divergence leave the picture: they would press the curve flat."""
    if len(value.corrected) < 2:
        return
    smoothed = (*value.corrected, *value.losses)
    bottom, start = min(*smoothed, *value.raw), max(value.losses[0], *value.raw[: max(1, len(value.raw) // 2)])
    top = min(max(*smoothed, *value.raw), max(start, min(smoothed)) + 0.6 * (start - bottom))
    if top > bottom:
        axes.set_ylim(bottom - 0.05 * (top - bottom), top + 0.05 * (top - bottom))
