"""Backbones by what they cost: accuracy over the time for one image, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from headstart.figures.style import BLUE, MUTED, ORANGE, TEXT, figure_and_axes, shorten, style_axes


@dataclass(frozen=True, kw_only=True)
class BackbonePoint:
    """A network: milliseconds for one image, held-out accuracy with its interval, and whether it is the one advised."""

    name: str
    milliseconds: float
    accuracy: float
    low: float
    high: float
    is_advised: bool


def backbone_costs_figure(points: Sequence[BackbonePoint], ax: Axes | None = None) -> Figure:
    """A point with its 95 % interval for each network; the advised one stands out.

    Args:
        ax: draw here; None: on a figure of its own.
    """
    figure, axes = figure_and_axes(ax, 480, 340)
    for point in points:
        color = ORANGE if point.is_advised else BLUE
        axes.plot([point.milliseconds] * 2, [point.low, point.high], color=color, linewidth=1.4, alpha=0.6)
        axes.plot([point.milliseconds], [point.accuracy], "o", color=color, markersize=6, markeredgewidth=0)
        axes.annotate(
            shorten(point.name, 30),
            (point.milliseconds, point.accuracy),
            xytext=(6, 3),
            textcoords="offset points",
            fontsize=8.5,
            color=TEXT if point.is_advised else MUTED,
            parse_math=False,
        )
    axes.set_xscale("log")
    times = [point.milliseconds for point in points]
    axes.set_xlim(min(times) * 0.8, max(times) * 2.2)  # space for the names
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xticks([tick for tick in _TICKS if min(times) * 0.8 <= tick <= max(times) * 2.2])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("ms for one image, on this machine", color=MUTED, fontsize=10)
    axes.set_ylabel("held-out accuracy", color=MUTED, fontsize=10)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    style_axes(axes)
    return figure


_TICKS = tuple(digit * 10.0**power for power in range(-2, 5) for digit in (1, 2, 5))
