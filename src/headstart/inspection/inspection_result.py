"""InspectionResult: what every analysis returns: an interpretation in words, tables, a figure, plain values."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from headstart.errors import shown
from headstart.plain import Plain, to_plain
from headstart.public_api import public_methods

Cell = str | int | float | None


@dataclass(frozen=True)
class Table(Plain):
    """A small table of results: `columns` are its headings, each row has as many cells; None where there is no value.

    Args:
        decimals: of floats, where the table is printed.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    decimals: int = 4

    @property
    def formatted_rows(self) -> tuple[tuple[str, ...], ...]:
        """The rows as text."""
        return tuple(tuple(format_cell(cell, self.decimals) for cell in row) for row in self.rows)

    def __str__(self) -> str:
        lines = [tuple(map(shown, line)) for line in (self.columns, *self.formatted_rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        padded = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([shown(self.title), *[f"  {line}" for line in padded]])


class InspectionResult(ABC):
    """What an analysis found in a model; each analysis of headstart returns a frozen dataclass of its own.

    An analysis from outside returns a `SimpleResult`.
    """

    @property
    @abstractmethod
    def title(self) -> str:
        """What was analysed, a few words."""

    @property
    @abstractmethod
    def interpretation(self) -> tuple[str, ...]:
        """What this says about the model, and what to do; one sentence each, the most important first."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """The numbers behind the interpretation."""
        return ()

    @property
    def description(self) -> str:
        """The figure in words, for readers who cannot see it."""
        return ""

    def figure(self) -> Figure | None:
        """The figure, on white ground; None where there is none. No window opens and pyplot is not used."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Title, interpretation and the fields as plain values; large ones, which `repr` leaves out, are left out."""
        fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(self) if dataclasses.is_dataclass(self) else ()
        values = {field.name: to_plain(getattr(self, field.name)) for field in fields if field.repr}
        return {"title": self.title, **values, "interpretation": list(self.interpretation)}

    def __str__(self) -> str:
        return "\n\n".join(["\n".join(map(shown, [self.title, *self.interpretation])), *map(str, self.tables)])


@public_methods()
class SimpleResult(InspectionResult):
    """The result of an analysis that is added from outside: everything that headstart shows of it, as values.

    Args:
        interpretation: one sentence or several, the most important first.
        figure: shown on the page and written by `--figure`. description: that figure in words.
    """

    def __init__(
        self,
        title: str,
        interpretation: str | Sequence[str],
        *,
        tables: Sequence[Table] = (),
        figure: Figure | None = None,
        description: str = "",
    ) -> None:
        self._title, self._tables, self._figure, self._description = title, tuple(tables), figure, description
        self._interpretation = (interpretation,) if isinstance(interpretation, str) else tuple(interpretation)

    @property
    def title(self) -> str:
        """What was analysed, a few words."""
        return self._title

    @property
    def interpretation(self) -> tuple[str, ...]:
        """What this says about the model."""
        return self._interpretation

    @property
    def tables(self) -> tuple[Table, ...]:
        """The numbers behind the interpretation."""
        return self._tables

    @property
    def description(self) -> str:
        """The figure in words."""
        return self._description

    def figure(self) -> Figure | None:
        """The figure, if there is one."""
        return self._figure

    def to_dict(self) -> dict[str, Any]:
        """Title, tables and interpretation as plain values."""
        return {
            "title": self.title,
            "tables": [table.to_dict() for table in self.tables],
            "interpretation": list(self.interpretation),
        }


def format_cell(cell: Cell, decimals: int) -> str:
    """A float with fixed decimals, or as a power of ten where these would show nothing; None as a dash."""
    if cell is None:
        return "-"
    if not isinstance(cell, float) or not math.isfinite(cell):
        return str(cell)
    if cell == 0 or (cell.is_integer() and abs(cell) < 1e6):
        return f"{cell:.0f}"
    return f"{cell:.{decimals}f}" if 10.0 ** (1 - decimals) <= abs(cell) < 1e5 else f"{cell:.2e}"
