"""Cells of a table: any usual encoding and delimiter; assumptions are said, what cannot be known is refused."""

from __future__ import annotations

import importlib
import re
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import pytest

from headstart.data.table_cells import is_table, is_text_table, read_cells
from headstart.errors import DataError

TEXT = "path,label\r\nmüller.png,Käfer\r\nb.png,Straße\r\n"
ROWS = [(1, ["path", "label"]), (2, ["müller.png", "Käfer"]), (3, ["b.png", "Straße"])]


def fits(header: Any) -> bool:
    return "label" in header


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1"]
)
def test_usual_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "t.csv").write_bytes(TEXT.encode(encoding))

    cells, findings = read_cells(tmp_path / "t.csv", fits=fits)

    assert cells == ROWS
    # only the old encodings are an assumption
    assert [finding.kind for finding in findings] == (["table-encoding"] if encoding in ("cp1252", "latin-1") else [])


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("path,label\n1.png,кошка\n", "cp1251"),
        ("path,label\n1.png,猫です\n", "shift-jis"),
        ("path,label\n1.png,小猫咪\n", "gbk"),
        ("path,label\n1.png,γάτα\n", "cp1253"),
    ],
)
def test_other_alphabets_in_old_encodings_are_refused(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))

    with pytest.raises(DataError, match="Save it as CSV UTF-8"):
        read_cells(tmp_path / "t.csv", fits=fits)


@pytest.mark.parametrize("data", [b"path,label\n\0\0", b"\xff\xfea", b"\x81\x8d\x8f"])
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(data)

    with pytest.raises(DataError, match="a table as"):
        read_cells(tmp_path / "t.csv", fits=fits)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.CSV"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_by_the_header(tmp_path: Path, name: str, delimiter: str) -> None:
    other = ";" if delimiter == "," else ","
    lines = [f"path{delimiter}label", f'"a{delimiter}b.png"{delimiter}x{other}y{other}z']
    (tmp_path / name).write_text("\n".join(lines))

    assert read_cells(tmp_path / name, fits=fits)[0] == [
        (1, ["path", "label"]),
        (2, [f"a{delimiter}b.png", f"x{other}y{other}z"]),
    ]


def test_the_user_or_excels_first_line_may_name_the_delimiter(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path#label\na#b\n")
    (tmp_path / "u.csv").write_text("sep=;\npath;label\na;b\n")

    assert read_cells(tmp_path / "t.csv", delimiter="#")[0] == [(1, ["path", "label"]), (2, ["a", "b"])]
    assert read_cells(tmp_path / "u.csv")[0] == [(2, ["path", "label"]), (3, ["a", "b"])]


def test_a_workbook_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    (tmp_path / "t.xlsx").write_bytes(b"PK")
    monkeypatch.setattr(importlib, "import_module", missing)

    with pytest.raises(DataError, match=r"openpyxl.*not installed.*save the sheet as CSV UTF-8"):
        read_cells(tmp_path / "t.xlsx")


def test_a_real_workbook_is_read_where_openpyxl_is_installed(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    rows = [["path", "label"], ["a.png", "Käfer"], ["b.png", 3]]
    for row in rows:
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")

    assert read_cells(tmp_path / "t.xlsx") == ([(1, rows[0]), (2, rows[1]), (3, ["b.png", "3"])], [])
    (tmp_path / "t.xlsx").write_bytes(b"not a workbook")
    with pytest.raises(DataError, match="an Excel workbook"):
        read_cells(tmp_path / "t.xlsx")


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    """A real workbook of 60 rows; row 4 is empty."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for number, row in enumerate([["path", "label"], *([f"{n}.png", "ant" if n % 2 else "Käfer"] for n in range(60))]):
        for column, value in enumerate(row, start=1):
            book.active.cell(number + 1 + (number > 2), column, value)
    book.save(tmp_path / "book.xlsx")
    return tmp_path / "book.xlsx"


@pytest.mark.parametrize("stated", ["A1", "A1:B2", "A1:Z900"])
def test_all_rows_of_a_workbook_are_read_whatever_size_it_states(workbook: Path, stated: str) -> None:
    expected, _ = read_cells(workbook)
    assert [number for number, _ in expected] == [1, 2, 3, *range(5, 63)]
    with zipfile.ZipFile(workbook) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(workbook, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, re.sub(rb'(?<=<dimension ref=")[^"]*', stated.encode(), content))

    cells, _ = read_cells(workbook)

    assert cells == expected


@pytest.mark.slow
def test_a_mutated_workbook_is_refused_or_gives_the_same_cells(workbook: Path) -> None:
    expected, whole = read_cells(workbook), workbook.read_bytes()
    random, refused = Random(3), 0
    for _ in range(40):
        place, width = random.randrange(len(whole)), random.choice([16, 128, 600])
        changed = bytes([whole[place] ^ 1 << random.randrange(8)])
        workbook.write_bytes(
            random.choice(
                [
                    whole[:place] + changed + whole[place + 1 :],
                    whole[:place],
                    whole[:place] + bytes(width) + whole[place + width :],
                    whole[:place] + whole[place + width :],
                ]
            )
        )
        try:
            assert read_cells(workbook) == expected
        except DataError:
            refused += 1
    assert refused >= 30


def test_old_workbooks_are_tables_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "t.xls").write_bytes(b"\xd0\xcf")

    assert is_table(tmp_path / "t.xls")
    assert not is_text_table(tmp_path / "t.xls")
    with pytest.raises(DataError, match=r"found \.xls"):
        read_cells(tmp_path / "t.xls")


def test_a_quotation_mark_that_is_never_closed_is_named_and_its_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('path,label\na.png,cat\nb.png,"dog\nc.png,cat\n')

    with pytest.raises(DataError) as error:
        read_cells(tmp_path / "t.csv", fits=fits)

    assert error.value.expected == "cells as csv writes them, quoted on both sides or not at all"
    assert error.value.found.endswith("in the cell that begins in line 3")
