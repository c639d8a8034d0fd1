"""Exercise: a task for students, the file they start from, a solution, and what is checked, in words.

Importing this needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headstart.plain import Plain


@dataclass(frozen=True)
class Exercise:
    """A task.

    Args:
        name: as in the first line of its files. level: 1 (one formula), 2 (networks), 3 (measuring).
        title: what is to be written. task: the text of the task.
        starter, solution: code below the task; the starter lacks what is asked for.
        checks: what is checked, in words.
        checked_by: a module whose CHECKS has, under the exercise's name, a function for each of these words; it needs
            torch, which only the process that runs the file imports.
    """

    name: str
    level: int
    title: str
    task: str
    starter: str = field(repr=False)
    solution: str = field(repr=False)
    checks: tuple[str, ...] = field(repr=False)
    checked_by: str = field(repr=False)

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
