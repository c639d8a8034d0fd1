"""The checks of level 2: a usual mistake fails the check that is about it."""

from __future__ import annotations

import pytest

from headstart.lab.exercises.networks import EXERCISES
from lab.exercises.graded import problem_of_mistake

BY_NAME = {exercise.name: exercise for exercise in EXERCISES}


@pytest.mark.parametrize(
    ("name", "correct", "mistake", "failed"),
    [
        ("replace-head", "model.head.in_features", "6", 2),
        ("replace-head", "classes)\n    return", "10)\n    return", 0),
        ("frozen-step", "    model.features.eval()", "    # model.features.eval()", 2),
        ("frozen-step", "    model.features.requires_grad_(False)", "", 1),
        ("frozen-step", "    optimizer.step()", "    pass", 0),
        ("residual", "x + self.branch(x)", "self.branch(x)", 0),
        ("residual", "x + self.branch(x)", "(x + self.branch(x)).relu()", 1),
        ("residual", "self.branch = branch", "self.branch = lambda x: branch(x)", 2),
    ],
)
def test_a_usual_mistake_fails_the_check_that_is_about_it(name: str, correct: str, mistake: str, failed: int) -> None:
    assert problem_of_mistake(BY_NAME[name], correct, mistake, failed=failed)
