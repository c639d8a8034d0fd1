"""A notebook that was saved as plain text: its code cells and what they printed, found again.

A cell begins with a line `In [7]:` or `In [None]:`; then come paragraphs, and nothing says which of them are code, what
the cell printed, or prose. So: the code is the longest run of paragraphs that Python can parse and that ends before the
first printed value; a printed value is one expression made of nothing but literals and the names
that `repr` writes for arrays and tensors.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch

_CELL = re.compile(r"^In \[(?:\d+|None)\]:[ \t]*\n", re.MULTILINE)
_REPR_NAMES = {"array", "tensor", "OrderedDict", "torch", "float32", "float64", "int64"}
_NUMBER = re.compile(r"(?<![\w.])-?\d+\.?\d*(?:e[-+]?\d+)?(?![\w.])")
_WORD = re.compile(r"'([^']*)'")
_NOISE = 1e-6  # of float32 numbers of size 1, added up in another order


@dataclass(frozen=True)
class Cell:
    """One code cell; `code` is empty where it is no Python (a shell magic), `printed` where it showed no value."""

    place: int
    code: str
    printed: str


@dataclass(frozen=True)
class PrintedNumber:
    """A number as it was printed, and half a unit of its last digit."""

    value: float
    half_unit: float

    def agrees(self, found: float) -> bool:
        """Whether the found number rounds to the printed one, or differs by float32's noise only."""
        return abs(found - self.value) <= max(1.001 * self.half_unit, _NOISE)


def cells_of(text: str) -> list[Cell]:
    """All code cells, counted from 1."""
    return [_cell(place, block) for place, block in enumerate(_CELL.split(text)[1:], start=1)]


def numbers_of(printed: str) -> list[PrintedNumber]:
    """The numbers in a printed value, in reading order; those that stand in names are none."""
    bare = re.sub(r"dtype=\w+", "", _WORD.sub("", printed))
    return [PrintedNumber(float(word), _half_unit(word)) for word in _NUMBER.findall(bare)]


def words_of(printed: str) -> list[str]:
    """The quoted words in a printed value, such as the names of a state dict."""
    return _WORD.findall(printed)


def flat(value: object) -> Iterator[float]:
    """The numbers of a tensor, an array, or of nested tuples, lists and dictionaries of them, in reading order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        for one in value:
            yield from flat(one)
    else:
        yield from torch.as_tensor(value).double().flatten().tolist()


def _cell(place: int, block: str) -> Cell:
    paragraphs = [part.strip("\n") for part in re.split(r"\n[ \t]*\n", block) if part.strip()]
    first_printed = next((i for i, part in enumerate(paragraphs) if i and _is_printed(part)), len(paragraphs))
    for count in range(first_printed, 0, -1):
        code = "\n\n".join(paragraphs[:count])
        if _parses(code):
            shown = count == first_printed < len(paragraphs)
            return Cell(place, code, paragraphs[count] if shown else "")
    return Cell(place, "", "")


def _parses(code: str) -> bool:
    try:
        return bool(ast.parse(code).body)
    except SyntaxError:
        return False


def _is_printed(paragraph: str) -> bool:
    try:
        nodes = list(ast.walk(ast.parse(paragraph, mode="eval")))
    except SyntaxError:
        return False
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names <= _REPR_NAMES and any(isinstance(node, ast.Constant) for node in nodes)


def _half_unit(word: str) -> float:
    mantissa, _, power = word.partition("e")
    decimals = len(mantissa.partition(".")[2])
    exact = "." not in mantissa and not power
    return 0.0 if exact else 0.5 * 10.0 ** (int(power or 0) - decimals)
