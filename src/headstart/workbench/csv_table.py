"""Tables that headstart writes: csv whose cells no spreadsheet takes for a formula, and the way back."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from headstart.files import atomic_write

_FORMULA = frozenset("=+-@\t\r\n'")


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a csv whose cells no spreadsheet takes for a formula; it appears whole or not at all.

    Raises:
        RunError: it cannot be written there.
    """
    with (
        atomic_write(path, expected="a table that can be written") as part,
        part.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow([neutral_cell(name) for name in header])
        writer.writerows(  # without a call for each of a million cells
            [neutral_cell(cell) if isinstance(cell, str) and cell[:1] in _FORMULA else cell for cell in row]
            for row in rows
        )


def neutral_cell(text: str) -> str:
    """A leading apostrophe for cells that begin with = + - @ or a control character."""
    return f"'{text}" if text[:1] in _FORMULA else text


def restore_cell(text: str) -> str:
    """What `neutral_cell` was given."""
    return text[1:] if text[:1] == "'" else text
