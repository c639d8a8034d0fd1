"""InspectionResult and Table: text, plain values, and the simple result for analyses from outside."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure

from headstart.inspection.inspection_result import InspectionResult, SimpleResult, Table, format_cell


@dataclass(frozen=True, eq=False)
class Brightness(InspectionResult):
    mean: float
    picture: np.ndarray = field(repr=False)

    @property
    def title(self) -> str:
        return "Brightness"

    @property
    def interpretation(self) -> tuple[str, ...]:
        return ("Too dark.", "Add light.")


def test_a_table_is_aligned_and_its_cells_keep_their_decimals():
    table = Table("Numbers", ("name", "value"), (("a", 1), ("long", 0.25), ("c", 1e-9)), decimals=2)
    lines = ["Numbers", "  name     value", "     a         1", "  long      0.25", "     c  1.00e-09"]
    assert str(table).split("\n") == lines
    assert table.to_dict()["columns"] == ["name", "value"]


def test_a_name_with_a_line_break_stays_in_its_row():
    table = Table("Classes\n", ("name",), (("a\nb",), ("c",)))
    assert str(table).splitlines() == ["Classes\\n", "  name", "  a\\nb", "     c"]
    assert str(SimpleResult("t", "Class a\nb.", tables=[table])).splitlines()[:2] == ["t", "Class a\\nb."]


def test_a_cell_that_is_not_finite_is_text_on_the_page_and_null_in_json():
    assert format_cell(float("nan"), 2) == "nan"
    assert format_cell(None, 2) == "-"
    assert Table("t", ("x",), ((None,),)).to_dict()["rows"] == [[None]]
    assert Table("t", ("x",), ((float("inf"),),)).to_dict()["rows"] == [[None]]


def test_plain_values_hold_the_fields_but_the_large_ones():
    result = Brightness(mean=float("nan"), picture=np.zeros((2, 2)))
    assert result.to_dict() == {"title": "Brightness", "mean": None, "interpretation": ["Too dark.", "Add light."]}
    assert str(result) == "Brightness\nToo dark.\nAdd light."
    assert result.figure() is None


def test_a_simple_result_shows_what_it_was_made_with():
    drawn, table = Figure(), Table("Mean", ("image", "mean"), (("a", 0.5),))
    result = SimpleResult("Brightness", "Fine.", tables=[table], figure=drawn, description="Two bars.")
    assert (result.title, result.interpretation, result.tables) == ("Brightness", ("Fine.",), (table,))
    assert result.figure() is drawn
    assert result.description == "Two bars."
    assert json.loads(json.dumps(result.to_dict()))["tables"][0]["rows"] == [["a", 0.5]]
    assert SimpleResult("t", ["One.", "Two."]).interpretation == ("One.", "Two.")
