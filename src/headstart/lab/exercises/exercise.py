"""Exercise: a task for students, the file they start from, a solution, and the checks that grade a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from headstart.plain import Plain


class Wrong(Exception):
    """What a student's code gives is not what was expected; the text says both."""


@dataclass(frozen=True)
class Exercise:
    """A task.

    Args:
        name: as in the first line of its files. level: 1 (one formula), 2 (networks), 3 (measuring).
        title: what is to be written. task: the text of the task.
        starter, solution: code below the task; the starter lacks what is asked for.
        checks: what is checked, in words → a function of the names that the file defines, which raises Wrong.
    """

    name: str
    level: int
    title: str
    task: str
    starter: str = field(repr=False)
    solution: str = field(repr=False)
    checks: Mapping[str, Callable[[Mapping[str, Any]], None]] = field(repr=False)

    def file(self, *, solved: bool = False) -> str:
        """The Python file that a student starts from, or one that passes."""
        code = self.solution if solved else self.starter
        text = "\n".join(f"# {line}".rstrip() for line in self.task.strip().split("\n"))
        return f'EXERCISE = "{self.name}"\n# {self.title}\n#\n{text}\n\n{code.strip()}\n'


@dataclass(frozen=True)
class CheckOutcome(Plain):
    """One check of a student's file; `problem` is empty where it passed."""

    check: str
    problem: str

    @property
    def passed(self) -> bool:
        """Whether there is no problem."""
        return not self.problem

    def to_dict(self) -> dict[str, Any]:
        """All fields, and `passed`."""
        return {**super().to_dict(), "passed": self.passed}


@dataclass(frozen=True)
class Grade(Plain):
    """How a student's file did: each check, what the file printed, and the seconds it took."""

    exercise: str
    outcomes: tuple[CheckOutcome, ...]
    printed: str = ""
    seconds: float = 0.0

    @property
    def points(self) -> int:
        """Checks passed."""
        return sum(outcome.passed for outcome in self.outcomes)

    @property
    def passed(self) -> bool:
        """Whether there are checks and all passed."""
        return bool(self.outcomes) and self.points == len(self.outcomes)

    def to_dict(self) -> dict[str, Any]:
        """All fields, `points` and `passed`."""
        return {**super().to_dict(), "points": self.points, "passed": self.passed}

    def __str__(self) -> str:
        lines = [f"{self.exercise}: {self.points} of {len(self.outcomes)} checks passed"]
        for outcome in self.outcomes:
            lines.append(f"{'✓' if outcome.passed else '✗'} {outcome.check}")
            lines += [f"    {line}" for line in outcome.problem.split("\n") if line]
        if self.printed:
            lines += ["", "The file printed:", self.printed.rstrip()]
        return "\n".join(lines)


def named(names: Mapping[str, Any], name: str) -> Any:
    """What the student defined under a name.

    Raises:
        Wrong: there is nothing callable.
    """
    if not callable(names.get(name)):
        raise Wrong(f"expected a function or class {name}, found none")
    return names[name]


def same(found: object, expected: Tensor | float, what: str, *, tolerance: float = 1e-4) -> None:
    """See that a tensor or number is the expected one.

    Raises:
        Wrong: it has another type or shape, or is off by more than the tolerance.
    """
    if not isinstance(found, Tensor | float | int):
        raise Wrong(f"{what}: expected a {'tensor' if isinstance(expected, Tensor) else 'number'}, found {found!r:.80}")
    given, target = torch.as_tensor(found).detach().double(), torch.as_tensor(expected).detach().double()
    if given.shape != target.shape:
        raise Wrong(f"{what}: expected the shape {tuple(target.shape)}, found {tuple(given.shape)}")
    off = float((given - target).abs().max()) if target.numel() else 0.0
    if math.isnan(off) or off > tolerance:
        at = int((given - target).abs().nan_to_num(math.inf).argmax())
        numbers = float(target.flatten()[at]), float(given.flatten()[at])
        raise Wrong(f"{what}: expected {numbers[0]:.4f}, found {numbers[1]:.4f} at element {at}")


def true(condition: bool, expected: str, found: str) -> None:
    """See that a condition is met.

    Raises:
        Wrong: it is not.
    """
    if not condition:
        raise Wrong(f"expected {expected}, found {found}")
