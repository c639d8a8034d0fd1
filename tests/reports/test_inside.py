"""inside.html: each analysis with its interpretation, figure and numbers; what was not analysed says why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from headstart.figures.panels import ImagePlot, panels_figure
from headstart.inspection.inspection_result import InspectionResult, Table, format_cell
from headstart.reports.inside import MAX_ROWS, InsideContents, write_inside


@dataclass(frozen=True)
class Finding(InspectionResult):
    """A result with or without figure."""

    name: str
    drawn: bool = True
    rows: int = 2

    @property
    def title(self) -> str:
        return f"Analysis of {self.name}"

    @property
    def interpretation(self) -> tuple[str, ...]:
        return (f"{self.name} is <fine>.",)

    @property
    def tables(self) -> tuple[Table, ...]:
        return (Table("Channels", ("channel", "value"), tuple((i, i / 2) for i in range(self.rows)), 1),)

    @property
    def description(self) -> str:
        return f"A map of {self.name}"

    def figure(self) -> Figure | None:
        return panels_figure([ImagePlot("map", np.eye(4))]) if self.drawn else None


def page(folder: Path, *results: Finding, **options: object) -> str:
    contents = InsideContents(
        model="net",
        images="3 images",
        results={one.name: one for one in results},
        **options,  # type: ignore[arg-type]
    )
    return write_inside(folder / "inside.html", contents).read_text(encoding="utf-8")


def test_the_page_says_first_what_it_is_and_how_to_read_it(tmp_path: Path) -> None:
    text = page(tmp_path, Finding("drift"))

    assert text.index("This page shows how the network") < text.index('<nav class="contents"')
    assert text.index("the conclusion comes first") < text.index('<section id="drift">')


def test_an_analysis_has_title_interpretation_figure_and_numbers(tmp_path: Path) -> None:
    text = page(tmp_path, Finding("drift"))

    assert '<section id="drift">' in text
    assert "<h2>Analysis of drift</h2>" in text
    assert "drift is &lt;fine&gt;." in text
    assert text.count('<svg class="figure"') == 1
    assert 'aria-label="A map of drift"' in text
    assert f'<td class="name">1</td><td class="number">{format_cell(0.5, 1)}</td>' in text


def test_an_analysis_without_a_figure_has_none(tmp_path: Path) -> None:
    text = page(tmp_path, Finding("drift", drawn=False))

    assert "<svg" not in text
    assert "Analysis of drift" in text


def test_long_tables_are_cut_and_the_rest_is_counted(tmp_path: Path) -> None:
    text = page(tmp_path, Finding("drift", rows=MAX_ROWS + 5))

    assert text.count("<tr>") == MAX_ROWS + 1
    assert "and 5 more rows" in text


def test_what_was_not_analysed_and_the_command_are_there(tmp_path: Path) -> None:
    text = page(tmp_path, Finding("drift"), left_out={"line": "needs a second model"}, command="headstart inspect all")

    assert "<b>line</b>" in text
    assert "needs a second model" in text
    assert "headstart inspect all" in text


def test_the_page_loads_nothing_and_its_figures_have_no_ground(tmp_path: Path) -> None:
    text = page(tmp_path, Finding("drift"), Finding("maps"))

    assert "<script" not in text
    assert 'src="http' not in text
    assert "var(--text" in text[text.index("<svg") :]
    figure = text[text.index("<svg") : text.index("</svg>")]
    assert "#ffffff" not in figure
