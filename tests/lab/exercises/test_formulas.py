"""Level 1: solutions pass, starters do not."""

from __future__ import annotations

import pytest

from headstart.lab.exercises.exercise import Exercise
from headstart.lab.exercises.formulas import EXERCISES
from lab.exercises.graded import check_solution_and_starter


@pytest.mark.parametrize("exercise", EXERCISES, ids=[exercise.name for exercise in EXERCISES])
def test_the_solution_passes_and_the_starter_does_not(exercise: Exercise) -> None:
    check_solution_and_starter(exercise)
