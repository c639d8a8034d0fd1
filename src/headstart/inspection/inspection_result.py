"""Insight: the form of everything that a look gives: a reading in words, tables, a figure, plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from matplotlib.figure import Figure

Cell = str | int | float


@dataclass(frozen=True)
class Table:
    """A small table of results: a title, names of the columns, rows of as many cells, and decimals of its floats."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    decimals: int = 4

    @property
    def written(self) -> tuple[tuple[str, ...], ...]:
        """The rows as they are shown."""
        return tuple(tuple(written(cell, self.decimals) for cell in row) for row in self.rows)

    def __str__(self) -> str:
        lines = [self.heads, *self.written]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.heads))]
        drawn = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([self.title, *[f"  {line}" for line in drawn]])

    def to_dict(self) -> dict[str, object]:
        """Title, heads and rows as lists; a number that is not finite becomes None."""
        rows = [[finite(cell) for cell in row] for row in self.rows]
        return {"title": self.title, "heads": list(self.heads), "rows": rows}


class InspectionResult(Protocol):
    """What a look found in a model; every look has a frozen dataclass of its own with these."""

    @property
    def title(self) -> str:
        """What was looked at, a few words."""

    @property
    def interpretation(self) -> tuple[str, ...]:
        """What this says about the model, and what to do; one sentence each, the most important first."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """The numbers that the reading rests on."""

    @property
    def description(self) -> str:
        """What the figure shows, in words, for those who do not see it."""

    def figure(self) -> Figure:
        """The picture, on white ground; no window opens and pyplot is not used."""

    def to_dict(self) -> dict[str, object]:
        """Everything but the picture, as values that JSON knows."""


def told(insight: InspectionResult) -> str:
    """An insight as plain text: title, reading, tables."""
    return "\n\n".join(["\n".join([insight.title, *insight.interpretation]), *map(str, insight.tables)])


def finite(value: object) -> object:
    """A value as JSON knows it: None in place of a number that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def written(cell: Cell, decimals: int) -> str:
    """A fixed number of decimals where they say something, powers of ten where they do not, whole numbers as such."""
    if not isinstance(cell, float) or not math.isfinite(cell):
        return str(cell)
    if cell == 0 or (cell.is_integer() and abs(cell) < 1e6):
        return f"{cell:.0f}"
    return f"{cell:.{decimals}f}" if 10.0 ** (1 - decimals) <= abs(cell) < 1e5 else f"{cell:.2e}"
