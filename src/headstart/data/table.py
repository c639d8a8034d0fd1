"""A table that lists images and their labels, with optional split and group: csv, tsv or an Excel workbook.

In: the table's path. Out: rows whose files exist, and Findings with the line numbers of all others.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.data.finding import FEW_NAMES, SCAN_NAMED, Finding, stopping
from headstart.data.folder_scan import as_text
from headstart.data.table_cells import is_text_table, read_cells
from headstart.data.table_columns import HINT, TableColumns, find_columns, has_columns, has_usual_columns
from headstart.data.table_labels import check_labels
from headstart.data.table_paths import TablePaths, is_file, path_fault, plain_path
from headstart.data.table_splits import parse_values
from headstart.data.table_workbook import Cells
from headstart.errors import DataError
from headstart.source_layout import AUTO, SourceLayout
from headstart.wording import counted, listed

_LINES = 20  # line numbers in the message of a finding; its detail has them all
_COLUMNS = 12  # names of columns that are not used, in the message
_FIRST = 20  # lines that must lead to an image before a table of rarer headers counts as one of images


@dataclass(frozen=True)
class TableRow:
    """One usable line: `name` is the path as users see it, relative to the data set's root where it lies inside."""

    line: int
    path: Path
    name: str
    label: str
    split: str | None
    group: str | None
    fault: str | None = None  # why it names no file


def names_images(table: Path, layout: SourceLayout = AUTO) -> bool:
    """True when a csv or tsv file has columns of paths and labels: it can describe an image set.

    By the usual words for the columns, or by others whose first lines lead to an image.
    """
    try:
        cells = _cells(table, layout, most=_FIRST)[0] if is_text_table(table) else []
        if cells and has_usual_columns(cells[0][1], layout):
            return True
        if not cells or not has_columns(cells[0][1], layout):
            return False
        paths = TablePaths(table.parent)
        columns = find_columns(cells, table, names_file=paths.is_there, layout=_unjudged(layout))
        return any(paths.is_there(_cell(row, columns.path)) for _, row in cells[1:])
    except DataError:
        return False


def _unjudged(layout: SourceLayout) -> SourceLayout:
    """The layout without what is refused where a table is read, not where it is looked for."""
    return replace(layout, split_column=None, group_by=AUTO.group_by)


def read_table(
    table: Path, root: Path, *, may_leave: bool = True, layout: SourceLayout = AUTO
) -> tuple[list[TableRow], list[Finding]]:
    """Rows of a table whose image files exist, in the table's order, and what is wrong with the others.

    Paths are relative to the table's folder; backslashes are tried as separators, and a path that is not there may lead
    to the only image below that ends so, or does with a suffix. Left out and reported by line: missing files, empty
    labels, files with two labels or in two splits (all their lines), and lines that repeat an earlier one. Columns that
    are not used are named. What stops a training is a finding too: several labels in one cell, one number in two
    spellings, a mistyped split, splits in some lines only, and no line that can be used.

    Args:
        root: folder that names are relative to.
        may_leave: False refuses paths outside the table's folder, as for a table from somebody else's archive.
        layout: columns and delimiter that the user names.

    Raises:
        DataError: no text, no path or label column, two columns for one role, or a path outside when that is refused.
    """
    cells, findings = _cells(table, layout)
    if not cells:
        raise DataError(expected="a first line that names the columns", found="an empty table", where=table, hint=HINT)
    paths = TablePaths(table.parent)
    columns = find_columns(cells, table, names_file=paths.is_there, layout=layout)
    reader = _TableReader(table, cells[0][1], columns, paths, root=root, may_leave=may_leave)
    read = reader.rows(cells[1:])
    rows, more = _usable(read, table)
    return rows, [
        *findings,
        *_column_findings(columns),
        *reader.group_findings(rows),
        *reader.findings,
        *more,
        *_doubtful(rows, reader.mistyped),
    ]


def _cells(table: Path, layout: SourceLayout, most: int | None = None) -> tuple[Cells, list[Finding]]:
    return read_cells(table, delimiter=layout.character, fits=lambda header: has_columns(header, layout), most=most)


def _cell(row: Sequence[str], column: int | None) -> str:
    return row[column].strip() if column is not None and column < len(row) else ""


class _TableReader:
    """Reads lines of one table; `findings` has what was completed, cannot be told apart, or is too much."""

    def __init__(
        self,
        table: Path,
        header: Sequence[str],
        columns: TableColumns,
        paths: TablePaths,
        *,
        root: Path,
        may_leave: bool,
    ) -> None:  # six: a table, its columns, and how paths are read
        self.table, self.header, self.columns, self.paths = table, header, columns, paths
        self.root, self.may_leave = plain_path(root), may_leave
        self.findings: list[Finding] = []
        self.mistyped: Set[int] = frozenset()  # lines whose split is none that is known
        self._completed: dict[int, str] = {}  # line → the file that a shorter path led to
        self._several: dict[int, tuple[str, ...]] = {}  # line → the files that it could mean

    def rows(self, cells: Cells) -> list[TableRow]:
        """All lines, usable or not."""
        splits = self._splits(cells)
        start = self.paths.drop_foreign_start(_cell(row, self.columns.path) for _, row in cells)
        if start:
            message = f"Paths begin with {as_text(start)}, which is not here; they are read below the table's folder."
            self.findings.append(Finding("foreign-paths", "note", message, detail={"start": start}))
        rows = []
        for line, row in cells:
            written = _cell(row, self.columns.path)
            path = self._resolve(written, line)
            fault = path_fault(written, path)
            if fault == "missing-file" and self.paths.has_other_suffix(path):
                fault = "other-suffix"
            rows.append(
                TableRow(
                    line=line,
                    path=path,
                    name=as_text(written) if fault == "address" else self._name(path),
                    label=unicodedata.normalize("NFC", _cell(row, self.columns.label)),
                    split=splits[_cell(row, self.columns.split)],
                    group=_cell(row, self.columns.group) or None,
                    fault=fault,
                )
            )
        self._report()
        return self._without_cut_labels(cells, rows)

    def group_findings(self, rows: Sequence[TableRow]) -> list[Finding]:
        """One that says which column groups the usable rows, and how many groups there are."""
        if self.columns.group is None:
            return []
        groups = {row.group for row in rows if row.group is not None}
        without = sum(row.group is None for row in rows)
        alone = f"; {counted(without, 'image')} without one" if without else ""
        column = as_text(self.header[self.columns.group])
        message = f"Groups come from the column {column}: {counted(len(groups), 'group')}{alone}."
        return [Finding("table-groups", "note", message, detail={"groups": len(groups), "without": without})]

    def _splits(self, cells: Cells) -> dict[str, str | None]:
        written = [(line, _cell(row, self.columns.split)) for line, row in cells]
        if self.columns.test_value is not None:
            return {value: "test" if value == self.columns.test_value else "train" for _, value in written}
        values = {value for _, value in written} - {""}
        name = self.header[self.columns.split] if self.columns.split is not None else ""
        known: dict[str, str | None] = {"": None, **parse_values(name, values)}
        wrong = [(line, value) for line, value in written if value not in known]
        if wrong:
            self.mistyped = {line for line, _ in wrong}
            found = f"{as_text(wrong[0][1])!r} in {_lines(line for line, _ in wrong)}"
            self.findings.append(stopping("unknown-split", expected="train, validation or test as the split",
                                          found=found, lines=[line for line, _ in wrong],
                                          hint="Correct these cells, or leave the column out."))  # fmt: skip
        return known | dict.fromkeys((value for _, value in wrong), None)

    def _resolve(self, written: str, line: int) -> Path:
        path = self.paths.written(written)
        if not self.may_leave and not path.is_relative_to(self.paths.folder):
            found = f"{as_text(written)!r} in line {line}"
            raise DataError(expected="paths inside the archive", found=found, where=self.table,
                            hint="Repack the archive with its images inside.")  # fmt: skip
        if not written or is_file(path):
            return path
        meant = self.paths.meant(path)
        if len(meant) == 1:
            self._completed[line] = self._name(meant[0])
            return meant[0]
        if meant:
            self._several[line] = tuple(self._name(one) for one in meant)
        return path

    def _name(self, path: Path) -> str:
        return as_text((path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix())

    def _report(self) -> None:
        if self._completed:
            names = tuple(dict.fromkeys(self._completed.values()))  # lines may repeat each other
            message = (
                f"{counted(len(names), 'image')} found below the table's folder by the end of the path, with a "
                f"suffix that the table does not write, or with other capitals: {listed(names, FEW_NAMES)}."
            )
            detail: dict[str, Any] = {"count": len(names)}
            self.findings.append(Finding("completed-path", "note", message, names[:SCAN_NAMED], detail=detail))
        if self._several:
            lines = list(self._several)
            examples = " or ".join(self._several[lines[0]][:4])
            verb = "means" if len(lines) == 1 else "mean"
            message = f"{_lines(lines).capitalize()} {verb} one of several files; line {lines[0]}: {examples}."
            detail = {"count": len(lines), "lines": lines}
            self.findings.append(Finding("ambiguous-file", "problem", message, detail=detail))

    def _without_cut_labels(self, cells: Cells, rows: list[TableRow]) -> list[TableRow]:
        """Lines with more cells than the first are kept unless a comma without quotes may have cut their label."""
        longer = [line for line, row in cells if any(cell.strip() for cell in row[len(self.header) :])]
        if not longer:
            return rows
        is_cut = self.columns.label == len(self.header) - 1 or self.columns.path == len(self.header) - 1
        verb = "has" if len(longer) == 1 else "have"
        message = f"{_lines(longer).capitalize()} {verb} more cells than the first line names; " + (
            "left out, since a label or path may be cut: put it in quotes." if is_cut else "these are not used."
        )
        severity = "problem" if is_cut else "warning"
        detail = {"count": len(longer), "lines": longer}
        self.findings.append(Finding("extra-cells", severity, message, detail=detail))
        left_out = set(longer) if is_cut else set()
        return [row for row in rows if row.line not in left_out]


def _column_findings(columns: TableColumns) -> list[Finding]:
    """One for columns that were recognised by what they hold, and one that names all that are not used."""
    findings = []
    if columns.guessed:
        findings.append(Finding("table-columns", "note", " ".join(columns.guessed)))
    if columns.test_value is not None:
        message = f"Lines with {columns.test_value!r} in the split column are the test split, all others training."
        findings.append(Finding("table-split", "note", message))
    if columns.unused:
        several = len(columns.unused) > 1
        names = listed(columns.unused, _COLUMNS)
        message = f"Column{'s' if several else ''} not used: {names}. {' '.join(columns.hints)}".rstrip()
        detail = {"columns": list(columns.unused)}
        severity = "warning" if columns.hints else "note"
        findings.append(Finding("unused-columns", severity, message, detail=detail))
    return findings


def _doubtful(rows: Sequence[TableRow], mistyped: Set[int]) -> list[Finding]:
    lines: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        lines[row.label].append(row.line)
    findings = check_labels(lines)
    without = [row.line for row in rows if row.split is None and row.line not in mistyped]
    if without and len(without) < len(rows):
        findings.append(
            stopping(
                "partial-split",
                expected="a split in every line, or in none",
                found=f"none in {_lines(without)}",
                hint="Write train, validation or test there, or leave the column out.",
                lines=without,
            )
        )
    return findings


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
        findings.append(
            stopping(
                "no-usable-line",
                expected="at least one line with a label and a file that exists",
                found=found,
                hint=f"Paths are read relative to {table.parent}.",
            )
        )
    return kept, findings


def _reason(row: TableRow, same: Sequence[TableRow]) -> str:
    """Why a row cannot be used, empty if it can; `same` are all rows of its file."""
    if row.fault:
        return row.fault
    if not row.label:
        return "empty-label"
    labelled = [other for other in same if other.label]
    if len({other.label for other in labelled}) > 1:
        return "two-labels"
    if len({other.split for other in labelled}) > 1:
        return "two-splits"
    return "repeated-row" if labelled[0] is not row else ""


_REASONS = {  # severity, what one line does, what several do
    "no-path": ("problem", "has no path", "have no path"),
    "address": ("problem", "names an address, which is not fetched; download the image",
                "name addresses, which are not fetched; download the images"),
    "not-a-file": ("problem", "names a folder or a device, not an image", "name folders or devices, not images"),
    "missing-file": ("problem", "names a file that does not exist", "name a file that does not exist"),
    "other-suffix": ("problem", "names a file that is there with another suffix; correct the path",
                     "name files that are there with another suffix; correct the paths"),
    "empty-label": ("problem", "has no label", "have no label"),
    "two-labels": ("problem", "gives one file two labels; it is left out", "give one file two labels; it is left out"),
    "two-splits": ("problem", "puts one file into two splits; it is left out",
                   "put one file into two splits; it is left out"),
    "repeated-row": ("warning", "repeats an earlier line", "repeat an earlier line"),
}  # fmt: skip


def _finding(reason: str, rows: Sequence[TableRow]) -> Finding:
    lines = [row.line for row in rows]
    names = tuple(dict.fromkeys(row.name for row in rows)) if reason != "no-path" else ()
    severity, one, several = _REASONS[reason]
    which = f": {listed(names, FEW_NAMES)}" if names else ""
    message = f"{_lines(lines).capitalize()} {one if len(lines) == 1 else several}{which}."
    return Finding(reason, severity, message, names, detail={"count": len(rows), "lines": lines})


def _lines(numbers: Iterable[int]) -> str:
    listed = list(numbers)
    more = f" and {len(listed) - _LINES} more" if len(listed) > _LINES else ""
    return f"line{'s' if len(listed) > 1 else ''} {', '.join(map(str, listed[:_LINES]))}{more}"
