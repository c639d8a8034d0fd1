"""Exercise: its files, and comparisons that say what was expected and found."""

from __future__ import annotations

import ast

import pytest
import torch

from headstart.lab.exercises.check_file import EXERCISES
from headstart.lab.exercises.exercise import CheckOutcome, Exercise, Grade, Wrong, named, same, true


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


@pytest.mark.parametrize("found", [torch.zeros(2), torch.tensor([1.0, float("nan"), 3.0]), "text", None])
def test_what_is_not_the_expected_is_wrong(found: object) -> None:
    with pytest.raises(Wrong, match="expected"):
        same(found, torch.tensor([1.0, 2.0, 3.0]), "numbers")


def test_the_right_value_passes() -> None:
    same(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.00001]), "numbers")
    true(True, "a", "b")
    assert named({"f": len}, "f") is len
    with pytest.raises(Wrong, match="found none"):
        named({"f": 3}, "f")


def test_a_grade_counts_its_points() -> None:
    grade = Grade("normalise", (CheckOutcome("a", ""), CheckOutcome("b", "expected 1, found 2")), "hello")

    assert (grade.points, grade.passed) == (1, False)
    assert "1 of 2 checks passed" in str(grade)
    assert "expected 1, found 2" in str(grade)
    assert grade.to_dict()["outcomes"][0]["passed"] is True
    assert not Grade("normalise", ()).passed
