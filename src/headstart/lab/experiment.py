"""Experiment: what every file of the lab returns: a claim, its numbers, tables, picture, and the verdict they give."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from matplotlib.figure import Figure

from headstart.errors import RecipeError
from headstart.figures.panels import Panel, panels_figure
from headstart.inspection.inspection_result import Table, format_cell
from headstart.preserve import preserve

RELATIONS = ("=", "≤", "≥")


@dataclass(frozen=True)
class Number:
    """One measured number beside the one that was expected.

    Args:
        tolerance: how far the value may lie off, or beyond the bound.
        relation: how the value must stand to what is expected: `=`, `≤` or `≥`.
        printed: it is a number that the source prints for its own settings: it tells whether we repeat the source, and
            has no say in whether the claim holds.
    """

    name: str
    value: float
    expected: float
    tolerance: float = 0.0
    relation: str = "="
    printed: bool = False

    @property
    def holds(self) -> bool:
        """Whether the value stands to the expected one as it must; nan never does."""
        off = self.value - self.expected
        signed = {"=": abs(off), "≤": off, "≥": -off}[self.relation]
        return signed <= self.tolerance

    def __str__(self) -> str:
        decimals = min(7, max(4, math.ceil(-math.log10(self.tolerance)))) if self.tolerance else 4
        wanted = f"{self.relation} {format_cell(self.expected, decimals)}"
        if self.tolerance:
            wanted += f" ± {self.tolerance:g}" if self.relation == "=" else f" (within {self.tolerance:g})"
        source = " (printed)" if self.printed else ""
        return (
            f"{'✓' if self.holds else '✗'} {self.name}: {format_cell(self.value, decimals)}, expected {wanted}{source}"
        )

    def to_dict(self) -> dict[str, object]:
        """All fields and `holds`; a number that is not finite becomes None."""
        return {
            "name": self.name,
            "value": self.value if math.isfinite(self.value) else None,
            "relation": self.relation,
            "expected": self.expected,
            "tolerance": self.tolerance,
            "printed": self.printed,
            "holds": self.holds,
        }


@dataclass(frozen=True)
class Experiment:
    """The outcome of one run of one claim; the verdict follows from the numbers and is stored nowhere.

    Args:
        name: as in the catalogue of the lab.
        source: who says so, and where.
        settings: what it was run with.
        reading: what the numbers mean, one sentence each.
        panels: the figure as plain values.
    """

    name: str
    claim: str
    source: str
    settings: Mapping[str, object]
    numbers: tuple[Number, ...]
    tables: tuple[Table, ...] = ()
    interpretation: tuple[str, ...] = ()
    panels: tuple[Panel, ...] = field(default=(), repr=False, compare=False)

    @property
    def holds(self) -> bool:
        """Whether every number that the claim rests on came out as it must, and there is one."""
        deciding = [number for number in self.numbers if not number.printed]
        return bool(deciding) and all(number.holds for number in deciding)

    @property
    def is_repeated(self) -> bool:
        """Whether every number that the source prints came out; True when it prints none."""
        return all(number.holds for number in self.numbers if number.printed)

    @property
    def verdict(self) -> str:
        """One sentence: whether the claim holds, what speaks against it, and whether the source's numbers came out."""
        against = [number.name for number in self.numbers if not number.printed and not number.holds]
        first = "The claim holds." if self.holds else f"The claim does not hold here: {'; '.join(against)}."
        printed = [number.holds for number in self.numbers if number.printed]
        if not printed:
            return first
        return f"{first} {sum(printed)} of the {len(printed)} numbers printed in the source came out."

    def number(self, name: str) -> Number:
        """The number of that name.

        Raises:
            KeyError: there is none.
        """
        return {number.name: number for number in self.numbers}[name]

    def figure(self) -> Figure:
        """The picture of the experiment on white ground; no window opens and pyplot is not used."""
        return panels_figure(self.panels)

    def to_dict(self) -> dict[str, object]:
        """Everything but the picture, as values that JSON knows."""
        return {
            "name": self.name,
            "claim": self.claim,
            "source": self.source,
            "settings": dict(self.settings),
            "holds": self.holds,
            "verdict": self.verdict,
            "numbers": [number.to_dict() for number in self.numbers],
            "tables": [table.to_dict() for table in self.tables],
            "reading": list(self.interpretation),
        }

    def __str__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        head = [f"{self.name}: {self.claim}", f"Source: {self.source}", f"Settings: {settings}"]
        blocks = ["\n".join(head), *map(str, self.tables), "\n".join(map(str, self.numbers))]
        return "\n\n".join([*blocks, "\n".join([*self.interpretation, f"Verdict: {self.verdict}"])])


def numbers(
    name: str, values: Sequence[float], expected: Sequence[float], tolerance: float, *, printed: bool = False
) -> tuple[Number, ...]:
    """A Number for each feature or channel, counted from 1 in its name.

    Raises:
        ValueError: there are not as many values as expected numbers.
    """
    pairs = enumerate(zip(values, expected, strict=True), start=1)
    return tuple(Number(f"{name} {i}", value, wanted, tolerance, printed=printed) for i, (value, wanted) in pairs)


def need(fits: bool, expected: str, found: object, where: str) -> None:
    """Refuse a setting that the experiment cannot be run with.

    Raises:
        RecipeError: it does not fit.
    """
    if not fits:
        raise RecipeError(expected=expected, found=repr(found), where=where)


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Inside, random numbers come from the seed; after it, all generators stand where they stood before."""
    with preserve():
        torch.manual_seed(seed)
        yield
