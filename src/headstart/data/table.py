"""A csv or tsv file that lists images and their labels, with optional split and group.

In: the table's path. Out: rows whose files exist, and Findings with the line numbers of all others.
"""

from __future__ import annotations

import csv
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.data.class_folders import parse_splits
from headstart.data.finding import Finding
from headstart.data.folder_scan import as_text, exists, numbered_names
from headstart.errors import DataError

# role → names of its column, in any case; the first is preferred, of the others only one may be there
COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "image", "filepath", "file_path", "image_path"),
    "label": ("label", "class", "target", "category"),
    "split": ("split", "part", "set", "subset"),
    "group": ("group",),
}
_REQUIRED = ("path", "label")
_LINES = 20  # line numbers in the message of a finding; its detail has them all
_HINT = "The first line names the columns: path,label and, optionally, split and group."


@dataclass(frozen=True)
class TableRow:
    """One usable line: `name` is the path as users see it, relative to the data set's root where it lies inside."""

    line: int
    path: Path
    name: str
    label: str
    split: str | None
    group: str | None


def is_table(path: Path) -> bool:
    """True when the suffix is that of a table."""
    return path.suffix.lower() in (".csv", ".tsv")


def names_images(table: Path) -> bool:
    """True when a table's first line has a column of paths and one of labels: it can describe an image set."""
    try:
        header = _read_cells(table, most=1)[0][1]
        return all(role in _find_columns(header, table) for role in _REQUIRED)
    except (DataError, IndexError):
        return False


def read_table(table: Path, root: Path, *, may_leave: bool = True) -> tuple[list[TableRow], list[Finding]]:
    """Rows of a table whose image files exist, in the table's order, and what is wrong with the others.

    Paths are relative to the table's folder; backslashes are tried as separators. Left out and reported by line:
    missing files, empty labels, files with two labels or in two splits (all their lines), and lines that repeat an
    earlier one.

    Args:
        root: folder that names are relative to.
        may_leave: False refuses paths outside the table's folder, as for a table from somebody else's archive.

    Raises:
        DataError: not UTF-8 text, no path or label column, two columns for one role, an unknown word for a split,
            splits in some lines only, a path outside when that is refused, or no line that can be used.
    """
    cells = _read_cells(table)
    if not cells:
        raise DataError(expected="a first line that names the columns", found="an empty table", where=table, hint=_HINT)
    columns = _find_columns(cells[0][1], table)
    missing = [role for role in _REQUIRED if role not in columns]
    if missing:
        names = ", ".join(cell.strip() or "(empty)" for cell in cells[0][1])
        raise DataError(expected=f"columns path and label, without {' and '.join(missing)} nothing can be read",
                        found=f"columns {as_text(names)}", where=table, hint=_HINT)  # fmt: skip
    rows, findings = _usable(_TableReader(table, columns, root, may_leave=may_leave).rows(cells[1:]), table)
    _check_splits(rows, table)
    return rows, findings


def _read_cells(table: Path, most: int | None = None) -> list[tuple[int, list[str]]]:
    """(line number, cells) of every line that is not blank; the header, at line 1, comes first."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            tab = table.suffix.lower() == ".tsv"
            # spreadsheets of half Europe write semicolons into .csv
            delimiter = "\t" if tab else ";" if ";" in first and "," not in first else ","
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            cells = []
            for row in reader:
                if any(cell.strip() for cell in row):
                    cells.append((reader.line_num, row))
                if most is not None and len(cells) >= most:
                    break
            return cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            expected="a table as UTF-8 text", found=str(error), where=table, hint="Save it as CSV UTF-8."
        ) from error
    except OSError as error:
        raise DataError(expected="a table that can be read", found=str(error.strerror), where=table) from error


def _find_columns(header: Sequence[str], table: Path) -> dict[str, int]:
    """Number of the column for each role that has one."""
    words = [cell.strip().lower() for cell in header]
    columns = {}
    for role, names in COLUMNS.items():
        there = [word for word in words if word in names]
        if len(there) > 1 and there.count(names[0]) != 1:
            raise DataError(expected=f"one column for the {role}", found=" and ".join(there), where=table,
                            hint=f"Name the column to use {names[0]!r}, once.")  # fmt: skip
        if there:
            columns[role] = words.index(names[0] if names[0] in there else there[0])
    return columns


@dataclass(frozen=True)
class _TableReader:
    """Reads lines of one table; `columns` gives the number of the column for each role."""

    table: Path
    columns: dict[str, int]
    root: Path
    may_leave: bool

    def rows(self, cells: Sequence[tuple[int, list[str]]]) -> list[TableRow]:
        words = self._split_words([(line, self._cell(row, "split")) for line, row in cells])
        rows = []
        for line, row in cells:
            path = self._resolve(self._cell(row, "path"), line)
            rows.append(
                TableRow(
                    line=line,
                    path=path,
                    name=self._name(path),
                    label=unicodedata.normalize("NFC", self._cell(row, "label")),
                    split=words[self._cell(row, "split")],
                    group=self._cell(row, "group") or None,
                )
            )
        return rows

    def _cell(self, row: list[str], role: str) -> str:
        column = self.columns.get(role)
        return row[column].strip() if column is not None and column < len(row) else ""

    def _split_words(self, written: Sequence[tuple[int, str]]) -> dict[str, str | None]:
        known: dict[str, str | None] = {"": None, **parse_splits({word for _, word in written})}
        wrong = [(line, word) for line, word in written if word not in known]
        if wrong:
            found = f"{as_text(wrong[0][1])!r} in {_lines(line for line, _ in wrong)}"
            raise DataError(expected="train, validation or test as the split", found=found, where=self.table)
        return known

    def _resolve(self, written: str, line: int) -> Path:
        folder = _plain(self.table.parent)
        path = _plain(folder / written.replace("\0", ""))
        if "\\" in written and not exists(path):
            path = _plain(folder / written.replace("\\", "/"))
        if not self.may_leave and not path.is_relative_to(folder):
            found = f"{as_text(written)!r} in line {line}"
            raise DataError(expected="paths inside the archive", found=found, where=self.table,
                            hint="Repack the archive with its images inside.")  # fmt: skip
        return path

    def _name(self, path: Path) -> str:
        root = _plain(self.root)
        return as_text((path.relative_to(root) if path.is_relative_to(root) else path).as_posix())


def _plain(path: Path) -> Path:
    """Absolute and without `..`, links left as they are."""
    return Path(os.path.normpath(path.absolute()))


def _usable(rows: Sequence[TableRow], table: Path) -> tuple[list[TableRow], list[Finding]]:
    """Rows that can be used, and a Finding for each reason why others cannot."""
    by_path: dict[Path, list[TableRow]] = defaultdict(list)
    for row in rows:
        by_path[row.path].append(row)
    wrong: dict[str, list[TableRow]] = defaultdict(list)
    kept = []
    for row in rows:
        reason = _reason(row, by_path[row.path])
        wrong[reason].append(row) if reason else kept.append(row)
    findings = [_finding(reason, wrong[reason]) for reason in _REASONS if wrong[reason]]
    if not kept:
        found = "; ".join(finding.message for finding in findings) or "no line below the first"
        raise DataError(expected="at least one line with a label and a file that exists", found=found, where=table,
                        hint=f"Paths are read relative to {table.parent}.")  # fmt: skip
    return kept, findings


def _reason(row: TableRow, same: Sequence[TableRow]) -> str:
    """Why a row cannot be used, empty if it can; `same` are all rows of its file."""
    if not (exists(row.path) and row.path.is_file()):
        return "missing-file"
    if not row.label:
        return "empty-label"
    labelled = [other for other in same if other.label]
    if len({other.label for other in labelled}) > 1:
        return "two-labels"
    if len({other.split for other in labelled}) > 1:
        return "two-splits"
    return "repeated-row" if labelled[0] is not row else ""


_REASONS = {  # severity, message after the line numbers
    "missing-file": ("problem", "name a file that does not exist"),
    "empty-label": ("problem", "have no label"),
    "two-labels": ("problem", "give one file two labels; it is left out"),
    "two-splits": ("problem", "put one file into two splits; it is left out"),
    "repeated-row": ("warning", "repeat an earlier line"),
}


def _finding(reason: str, rows: Sequence[TableRow]) -> Finding:
    lines = [row.line for row in rows]
    names = tuple(dict.fromkeys(row.name for row in rows))
    severity, text = _REASONS[reason]
    message = f"{_lines(lines).capitalize()} {text}: {numbered_names(names)}."
    return Finding(reason, severity, message, names, detail={"count": len(rows), "lines": lines})


def _check_splits(rows: Sequence[TableRow], table: Path) -> None:
    without = [row.line for row in rows if row.split is None]
    if without and len(without) < len(rows):
        raise DataError(expected="a split in every line, or in none", found=f"none in {_lines(without)}", where=table,
                        hint="Write train, validation or test there, or leave the column out.")  # fmt: skip


def _lines(numbers: Iterable[int]) -> str:
    listed = list(numbers)
    more = f" and {len(listed) - _LINES} more" if len(listed) > _LINES else ""
    return f"line{'s' if len(listed) > 1 else ''} {', '.join(map(str, listed[:_LINES]))}{more}"
