"""Tables: no cell is a formula, and each comes back as it was."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from headstart.workbench.csv_table import neutral_cell, restore_cell, write_table


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\ta", "'a", "plain", ""])
def test_a_cell_is_no_formula_and_comes_back_as_it_was(text: str) -> None:
    assert neutral_cell(text)[:1] not in ("=", "+", "-", "@", "\t")
    assert restore_cell(neutral_cell(text)) == text


def test_a_table_holds_numbers_as_they_are_and_texts_without_formulas(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", ["name", "p"], [["=cmd()", -0.5], ["plain", 1]])

    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["name", "p"], ["'=cmd()", "-0.5"], ["plain", "1"]]
