"""Grades code against an exercise, and checks its solution and its starter: what the tests of all levels share."""

from __future__ import annotations

from headstart.lab.exercises.exercise import Exercise
from headstart.lab.exercises.run_checks import grade


def problems(exercise: Exercise, code: str) -> list[str]:
    """What each check of an exercise finds in some code; empty texts where it passes."""
    names: dict[str, object] = {}
    exec(code, names)
    return [outcome.problem for outcome in grade(exercise, names)]


def check_solution_and_starter(exercise: Exercise) -> None:
    """The solution passes all checks, and the starter is not written yet."""
    assert not any(problems(exercise, exercise.solution))
    assert set(problems(exercise, exercise.starter)) == {"Not written yet."}


def problem_of_mistake(exercise: Exercise, correct: str, mistake: str, *, failed: int) -> str:
    """What a check says when a part of the solution is replaced by a mistake."""
    assert correct in exercise.solution
    return problems(exercise, exercise.solution.replace(correct, mistake))[failed]
