"""Exercise: its files, and grades."""

from __future__ import annotations

import ast

import pytest

from headstart.lab.exercises.check_file import EXERCISES
from headstart.lab.exercises.exercise import CheckOutcome, Exercise, Grade


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=list(EXERCISES))
def test_its_files_say_which_exercise_they_are_and_hide_the_solution(exercise: Exercise) -> None:
    assert exercise.file().startswith(f'EXERCISE = "{exercise.name}"')
    ast.parse(exercise.file(solved=True))
    assert exercise.solution not in exercise.file()
    assert len(exercise.checks) >= 2


def test_the_ten_are_graded() -> None:
    assert len(EXERCISES) == 10
    levels = [exercise.level for exercise in EXERCISES.values()]
    assert levels == sorted(levels)
    assert set(levels) == {1, 2, 3}


def test_a_grade_counts_its_points() -> None:
    grade = Grade("normalise", (CheckOutcome("a", ""), CheckOutcome("b", "expected 1, found 2")), "hello")

    assert (grade.points, grade.passed) == (1, False)
    assert "1 of 2 checks passed" in str(grade)
    assert "expected 1, found 2" in str(grade)
    assert grade.to_dict()["outcomes"][0]["passed"] is True
    assert not Grade("normalise", ()).passed
