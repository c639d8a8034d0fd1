"""Excel workbooks: merged cells, formulas without a result, other sheets, and files that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headstart.data.table_cells import read_cells
from headstart.data.table_workbook import cell_text
from headstart.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def _workbook(path: Path, rows: list[list[Any]], *, merge: str = "", others: tuple[str, ...] = ()) -> Path:
    book = pytest.importorskip("openpyxl").Workbook()
    for row in rows:
        book.active.append(row)
    if merge:
        book.active.merge_cells(merge)
    for name in others:
        book.create_sheet(name).append(["note"])
    book.save(path)
    return path


def test_a_merged_cell_has_its_value_in_every_line(tmp_path: Path) -> None:
    rows = [["path", "label"], ["a.png", "cat"], ["b.png"], ["c.png"], ["d.png", "dog"]]

    cells, (finding,) = read_cells(_workbook(tmp_path / "t.xlsx", rows, merge="B2:B4"))

    assert [row for _, row in cells[1:]] == [["a.png", "cat"], ["b.png", "cat"], ["c.png", "cat"], ["d.png", "dog"]]
    assert finding.kind == "merged-cells"
    assert finding.detail == {"count": 2}


def test_a_title_over_columns_is_not_spread(tmp_path: Path) -> None:
    cells, findings = read_cells(_workbook(tmp_path / "t.xlsx", [["My set"], ["path", "label"]], merge="A1:B1"))

    assert [row[0] for _, row in cells] == ["My set", "path"]
    assert findings == []


def test_formulas_without_a_result_are_named(tmp_path: Path) -> None:
    """openpyxl writes formulas and never their results, as a program that makes tables does."""
    path = _workbook(tmp_path / "t.xlsx", [["path", "label"], ["a.png", '="cat"'], ["b.png", '="dog"']])

    _, (finding,) = read_cells(path)

    assert (finding.kind, finding.detail) == ("formulas", {"count": 2})


def test_the_first_sheet_is_read_and_the_others_named(tmp_path: Path) -> None:
    path = _workbook(tmp_path / "t.xlsx", [["path", "label"], ["a.png", 1.0], [7, 2.5]], others=("notes",))

    cells, (finding,) = read_cells(path)

    assert cells == [(1, ["path", "label"]), (2, ["a.png", "1"]), (3, ["7", "2.5"])]
    assert finding.detail == {"sheets": ["notes"]}
    with pytest.raises(DataError, match="its first sheet 'Sheet' is empty"):
        read_cells(_workbook(tmp_path / "u.xlsx", [], others=("data",)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xd0\xcf\x11\xe0" + bytes(600), "with a password, or of the old kind"),
        (b"path,label\n", "another file of that name"),
        (b"PK\x03\x04" + bytes(60), "openpyxl cannot read"),
    ],
)
def test_a_file_that_is_no_workbook_is_called_what_it_is(tmp_path: Path, data: bytes, words: str) -> None:
    pytest.importorskip("openpyxl")
    (tmp_path / "t.xlsx").write_bytes(data)

    with pytest.raises(DataError) as refused:
        read_cells(tmp_path / "t.xlsx")

    assert words in str(refused.value)
    assert refused.value.hint


def test_whole_numbers_have_no_point_and_nothing_is_empty() -> None:
    assert [cell_text(value) for value in (1.0, 2.5, None, float("nan"), True, "x")] == [
        "1",
        "2.5",
        "",
        "",
        "True",
        "x",
    ]
