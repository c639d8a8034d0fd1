"""The checks of level 3: a usual mistake fails the check that is about it."""

from __future__ import annotations

import pytest

from headstart.lab.exercises.measuring import EXERCISES
from lab.exercises.graded import problem_of_mistake

BY_NAME = {exercise.name: exercise for exercise in EXERCISES}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "correct", "mistake", "failed"),
    [
        ("accuracy-interval", "+ z**2 / (4 * n**2)", "", 1),
        (
            "split-by-group",
            "return [group in test for group in groups]",
            "return [random.Random(i + seed).random() < 0.3 for i in range(len(groups))]",
            0,
        ),
        ("split-by-group", "if sum", "if 3 > sum", 1),
        ("split-by-group", "random.Random(seed).shuffle(names)", "", 2),
        ("leave-one-out", " / (1 - hat.diagonal())", "", 0),
        (
            "leave-one-out",
            "return (y",
            "[torch.linalg.solve(inner, X[0]) for _ in X]\n    return (y",
            2,
        ),
        ("leave-one-out", "return (y", "[inner.inverse() for _ in X]\n    return (y", 2),
    ],
)
def test_a_usual_mistake_fails_the_check_that_is_about_it(name: str, correct: str, mistake: str, failed: int) -> None:
    assert problem_of_mistake(BY_NAME[name], correct, mistake, failed=failed)
