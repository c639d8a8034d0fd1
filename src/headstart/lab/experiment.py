"""Experiment: the outcome of one claim of the textbook: its numbers, tables and figure, and the verdict they give."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from matplotlib.figure import Figure

from headstart.errors import RecipeError
from headstart.figures.panels import Panel, panels_figure
from headstart.inspection.inspection_result import Table, format_cell
from headstart.lab.catalogue import CLAIMS
from headstart.plain import Plain, to_plain
from headstart.preserve import preserve


@dataclass(frozen=True)
class Number(Plain):
    """A measured number and the expected one.

    Args:
        tolerance: how far the value may be off, or beyond the bound.
        relation: of the value to the expected one: `=`, `≤` or `≥`.
        printed: the source prints this number for its own settings: it shows whether we reproduce the source, and does
            not decide whether the claim holds.
    """

    name: str
    value: float
    expected: float
    tolerance: float = 0.0
    relation: str = "="
    printed: bool = False

    @property
    def holds(self) -> bool:
        """Whether the value has its relation to the expected one; nan never has."""
        off = self.value - self.expected
        signed = {"=": abs(off), "≤": off, "≥": -off}[self.relation]
        return signed <= self.tolerance

    def __str__(self) -> str:
        decimals = min(7, max(4, math.ceil(-math.log10(self.tolerance)))) if self.tolerance else 4
        expected = f"{self.relation} {format_cell(self.expected, decimals)}"
        if self.tolerance:
            expected += f" ± {self.tolerance:g}" if self.relation == "=" else f" (within {self.tolerance:g})"
        source = " (printed)" if self.printed else ""
        mark, value = "✓" if self.holds else "✗", format_cell(self.value, decimals)
        return f"{mark} {self.name}: {value}, expected {expected}{source}"

    def to_dict(self) -> dict[str, Any]:
        """All fields, and `holds`."""
        return {**super().to_dict(), "holds": self.holds}


@dataclass(frozen=True)
class Experiment:
    """The outcome of one experiment; its verdict follows from the numbers.

    Args:
        name: as in the catalogue of the lab.
        source: who makes the claim, and where.
        settings: what it was run with.
        interpretation: what the numbers mean, one sentence each.
        panels: the figure as plain values.
    """

    name: str
    source: str
    settings: Mapping[str, object]
    numbers: tuple[Number, ...]
    tables: tuple[Table, ...] = ()
    interpretation: tuple[str, ...] = ()
    panels: tuple[Panel, ...] = field(default=(), repr=False, compare=False)

    @property
    def claim(self) -> str:
        """The claim in one line."""
        return CLAIMS[self.name]

    @property
    def holds(self) -> bool:
        """Whether there is a number that the claim rests on, and every one holds."""
        deciding = [number for number in self.numbers if not number.printed]
        return bool(deciding) and all(number.holds for number in deciding)

    @property
    def is_reproduced(self) -> bool:
        """Whether every number that the source prints was reproduced; True when it prints none."""
        return all(number.holds for number in self.numbers if number.printed)

    @property
    def verdict(self) -> str:
        """Whether the claim holds, which numbers contradict it, and whether the source's numbers were reproduced."""
        against = [number.name for number in self.numbers if not number.printed and not number.holds]
        first = "The claim holds." if self.holds else f"The claim does not hold here: {'; '.join(against)}."
        printed = [number.holds for number in self.numbers if number.printed]
        if not printed:
            return first
        return f"{first} {sum(printed)} of the {len(printed)} numbers printed in the source were reproduced."

    def number(self, name: str) -> Number:
        """The number of that name.

        Raises:
            KeyError: there is none.
        """
        return {number.name: number for number in self.numbers}[name]

    def figure(self) -> Figure:
        """The figure of the experiment on white ground; no window opens and pyplot is not used."""
        return panels_figure(self.panels)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the figure, as plain values for JSON."""
        return {
            "name": self.name,
            "claim": self.claim,
            "source": self.source,
            "settings": to_plain(self.settings),
            "holds": self.holds,
            "verdict": self.verdict,
            "numbers": to_plain(self.numbers),
            "tables": to_plain(self.tables),
            "interpretation": list(self.interpretation),
        }

    def __str__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        heading = [f"{self.name}: {self.claim}", f"Source: {self.source}", f"Settings: {settings}"]
        blocks = ["\n".join(heading), *map(str, self.tables), "\n".join(map(str, self.numbers))]
        return "\n\n".join([*blocks, "\n".join([*self.interpretation, f"Verdict: {self.verdict}"])])


def numbers(
    name: str, values: Sequence[float], expected: Sequence[float], *, tolerance: float, printed: bool = False
) -> tuple[Number, ...]:
    """A Number for each feature or channel, counted from 1 in its name.

    Raises:
        ValueError: there are not as many values as expected numbers.
    """
    pairs = enumerate(zip(values, expected, strict=True), start=1)
    return tuple(Number(f"{name} {i}", a, b, tolerance=tolerance, printed=printed) for i, (a, b) in pairs)


def require(fits: bool, expected: str, *, found: object, where: str) -> None:
    """Refuse a setting that the experiment cannot be run with.

    Raises:
        RecipeError: it does not fit.
    """
    if not fits:
        raise RecipeError(expected=expected, found=repr(found), where=where)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw random numbers from a seed inside the block; afterwards all generators are as they were."""
    with preserve():
        torch.manual_seed(seed)
        yield
