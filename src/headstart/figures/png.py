"""A figure as a PNG that stands within a page: for figures full of pictures, which as SVG would be megabytes."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from matplotlib.figure import Figure

_DPI = 130  # sharp on a laptop at the size at which the page shows it


@dataclass(frozen=True)
class EmbeddedFigure:
    """A data address and the size in CSS pixels."""

    address: str
    width: int
    height: int


def embedded_png(figure: Figure) -> EmbeddedFigure:
    """The figure on its own ground, with the size it was drawn for."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    width, height = (round(inches * 96) for inches in figure.get_size_inches())
    return EmbeddedFigure(f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}", width, height)
