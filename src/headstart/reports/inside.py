"""inside.html: the doctor's findings on a model, then each analysis with its interpretation, figure and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from headstart.best_practices.diagnosis import Diagnosis
from headstart.figures.svg import inline_svg
from headstart.inspection.inspection_result import InspectionResult
from headstart.reports.page import write_page

MAX_ROWS = 60  # of a table; the rest is in the JSON


@dataclass(frozen=True, kw_only=True)
class InsideContents:
    """What the page shows.

    Args:
        model: name of the inspected model. images: which images it was run on, one sentence.
        results: name of an analysis → its result, in the order to show.
        left_out: name of an analysis → why it does not apply to this model or these images.
        diagnosis: of the doctor. command: that makes the page again; empty: none can.
    """

    model: str
    images: str
    results: Mapping[str, InspectionResult]
    left_out: Mapping[str, str] = field(default_factory=dict)
    diagnosis: Diagnosis | None = None
    command: str = ""


def write_inside(path: Path, contents: InsideContents) -> Path:
    """Write the page as one HTML file; it appears whole or not at all.

    Raises:
        RunError: the file cannot be written there.
    """
    figures = {name: figure for name, result in contents.results.items() if (figure := _drawn(result))}
    return write_page(path, "inside.html", {"contents": contents, "figures": figures, "max_rows": MAX_ROWS})


def _drawn(result: InspectionResult) -> Markup | None:
    figure = result.figure()
    return None if figure is None else Markup(inline_svg(figure, result.description))
