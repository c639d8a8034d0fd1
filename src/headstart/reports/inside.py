"""The page that looks inside a model: the doctor's findings, then each look with its reading, figure and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from headstart.best_practices.diagnosis import Diagnosis
from headstart.figures.png import EmbeddedFigure, embedded_png
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.reports.page import write_page

MOST_ROWS = 60  # of a table; the rest is in the JSON


@dataclass(frozen=True)
class InsideContents:
    """What the page shows.

    Args:
        model: name of what was looked into. images: what it was shown, one sentence.
        insights: name of the look → what it found, in the order to show.
        left_out: name of a look → why it could not be done here.
        diagnosis: of the doctor. command: that makes the page again; empty: none can.
    """

    model: str
    images: str
    insights: Mapping[str, InspectionResult]
    left_out: Mapping[str, str] = field(default_factory=dict)
    diagnosis: Diagnosis | None = None
    command: str = ""


@dataclass(frozen=True)
class _Section:
    name: str
    title: str
    interpretation: tuple[str, ...]
    figure: EmbeddedFigure | None
    description: str
    tables: tuple[Table, ...]


def write_inside(path: Path, contents: InsideContents) -> Path:
    """Write the page as one HTML file; it appears whole or not at all.

    Raises:
        RunError: the file cannot be written there.
    """
    sections = [
        _Section(
            name,
            insight.title,
            insight.interpretation,
            _embedded(insight.figure()),
            insight.description,
            insight.tables,
        )
        for name, insight in contents.insights.items()
    ]
    return write_page(path, "inside.html", {"contents": contents, "sections": sections, "most_rows": MOST_ROWS})


def _embedded(figure: Figure | None) -> EmbeddedFigure | None:
    return None if figure is None else embedded_png(figure)
