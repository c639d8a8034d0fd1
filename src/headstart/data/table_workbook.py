"""The cells of the first sheet of an Excel workbook, by openpyxl: values as the sheet shows them.

In: the bytes of a file. Out: (line number, cells) of every line that is not blank, and Findings about what was assumed.
"""

from __future__ import annotations

import datetime
import importlib
import io
import re
from pathlib import Path
from typing import Any

from headstart.data.finding import Finding
from headstart.errors import DataError
from headstart.wording import counted

Cells = list[tuple[int, list[str]]]

SAVE = "Save it as CSV UTF-8."
_OLE = b"\xd0\xcf\x11\xe0"  # the container of old workbooks, and of encrypted ones
_MERGED = re.compile(rb'<mergeCell ref="([A-Z]+)(\d+):([A-Z]+)(\d+)"')
_NO_RESULT = re.compile(rb"</(?:\w+:)?f><(?:\w+:)?v(?:\s*/>|></)|</(?:\w+:)?f></(?:\w+:)?c>")
_MOST_BYTES = 500_000_000  # of a sheet, unpacked


def read_workbook(table: Path, data: bytes, most: int | None) -> tuple[Cells, list[Finding]]:
    """Cells of the first sheet.

    Args:
        table: what the workbook is called. data: its bytes. most: lines to read.

    Raises:
        DataError: it is no workbook that openpyxl reads, its first sheet is empty and others are there, or openpyxl is
            not installed.
    """
    try:
        openpyxl = importlib.import_module("openpyxl")
    except ImportError as error:
        raise DataError(expected="the package openpyxl, to read an Excel workbook", found="not installed", where=table,
                        hint="pip install 'headstart[excel]', or save the sheet as CSV UTF-8.") from error  # fmt: skip
    _refuse_other_files(table, data)
    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        try:
            cells, findings = _first_sheet(book, table.name, most)
            first, *others = [sheet.title for sheet in book.worksheets]
        finally:
            book.close()
    except Exception as error:  # openpyxl raises whatever its XML and zip readers do
        raise DataError(expected="an Excel workbook", found=f"one that openpyxl cannot read ({type(error).__name__}: "
                        f"{error})", where=table, hint=SAVE) from error  # fmt: skip
    if others and not cells:
        raise DataError(expected="a table in the first sheet", found=f"its first sheet {first!r} is empty", where=table,
                        hint=f"Move the sheet with the table to the front, or delete {first!r}.")  # fmt: skip
    return cells, findings


def _refuse_other_files(table: Path, data: bytes) -> None:
    if data[:4] == _OLE:
        raise DataError(expected="an Excel workbook (.xlsx)", found="one with a password, or of the old kind (.xls)",
                        where=table, hint=SAVE)  # fmt: skip
    if data[:2] != b"PK":
        raise DataError(expected="an Excel workbook (.xlsx)", found="another file of that name", where=table, hint=SAVE)


def _first_sheet(book: Any, name: str, most: int | None) -> tuple[Cells, list[Finding]]:
    sheets = list(book.worksheets)  # those of charts alone hold no cells
    sheet = sheets[0]
    sheet.reset_dimensions()  # some programs state a size of one cell, and the rest would be lost
    cells: Cells = []
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        texts = [cell_text(value) for value in row]
        if any(text.strip() for text in texts):
            cells.append((number, texts))
        if most is not None and len(cells) >= most:
            break
    findings = [] if most is not None else _assumed(sheet, cells, name)
    others = [one.title for one in sheets[1:]]
    if others:
        message = f"Only the sheet {sheet.title!r} of {name} is read, not {', '.join(map(repr, others))}."
        findings.append(Finding("unused-sheets", "warning", message, detail={"sheets": others}))
    return cells, findings


def _assumed(sheet: Any, cells: Cells, name: str) -> list[Finding]:
    """Merged cells of one column, filled with the value they show; formulas that no program has worked out yet."""
    with sheet._get_source() as source:  # openpyxl has no other way to a sheet that is read line by line
        xml = source.read(_MOST_BYTES)
    findings = []
    filled = _fill_merged(cells, xml)
    if filled:
        message = f"{counted(filled, 'cell')} of {name} belong to merged cells and have their value."
        findings.append(Finding("merged-cells", "note", message, detail={"count": filled}))
    lacking = len(_NO_RESULT.findall(xml))
    if lacking:
        message = (
            f"{counted(lacking, 'formula')} of {name} have no result in the file and are read as empty. Open it in a "
            "spreadsheet program and save it."
        )
        findings.append(Finding("formulas", "problem", message, detail={"count": lacking}))
    return findings


def _fill_merged(cells: Cells, xml: bytes) -> int:
    """Give every line of a merged range of one column its value; how many cells were filled."""
    lines, filled = dict(cells), 0
    for left, top, right, bottom in _MERGED.findall(xml):
        column, first = _column(left), int(top)
        if left != right or column >= len(lines.get(first, ())):
            continue
        for line in range(first + 1, int(bottom) + 1):
            row = lines.get(line)
            if row is not None and not "".join(row[column : column + 1]):
                row += [""] * (column + 1 - len(row))  # a line ends with its last cell that is not empty
                row[column] = lines[first][column]
                filled += 1
    return filled


def _column(letters: bytes) -> int:
    """Number of a column from 0: A, B, … Z, AA."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


def cell_text(value: Any) -> str:
    """As a sheet or a frame shows it: whole numbers without a decimal point, nothing for what is missing."""
    if value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, (datetime.date, datetime.time)) else str(value)
