"""Ink: the few colours of every figure, an empty canvas measured in pixels, and names made safe to draw.

The colours are fixed here so that `figures.svg` can exchange them for the page's own, in light and in dark.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from headstart.errors import shown

INK = "#1e2022"  # text, dots
FAINT = "#6a6e73"  # axes, ticks, what is beside the point
RULE = "#d9d5cd"  # grid lines
RIGHT = "#3a6ea8"  # right answers
WRONG = "#c2552d"  # wrong ones: told from RIGHT by lightness and hue, also without seeing red
VARIABLES = {INK: "--ink", FAINT: "--faint", RULE: "--rule", RIGHT: "--right", WRONG: "--wrong"}
"""Colour → the page's CSS variable for it."""


def canvas(width: float, height: float) -> Figure:
    """An empty figure of that many pixels (72 to the inch) whose parts find their own room; it never opens a window."""
    figure = Figure(figsize=(width / 72, height / 72), dpi=72, layout="constrained")
    figure.patch.set_visible(False)
    return figure


def label(name: str, most: int = 18) -> str:
    """A name from outside as it is drawn: control characters escaped, its middle left out beyond `most` letters."""
    safe = shown(name)
    if len(safe) <= most:
        return safe
    end = (most - 1) // 3  # names differ mostly at their beginning, and often by a number at their end
    return f"{safe[: most - 1 - end]}…{safe[len(safe) - end :]}"
