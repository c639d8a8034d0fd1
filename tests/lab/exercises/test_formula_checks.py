"""The checks of level 1: a usual mistake fails the check that is about it."""

from __future__ import annotations

import pytest

from headstart.lab.exercises.formulas import EXERCISES
from lab.exercises.graded import problem_of_mistake

BY_NAME = {exercise.name: exercise for exercise in EXERCISES}


@pytest.mark.parametrize(
    ("name", "correct", "mistake", "failed"),
    [
        ("normalise", "0.485, 0.456, 0.406", "0.5, 0.5, 0.5", 0),
        ("normalise", "return (image - MEAN) / STD", "return image.sub_(MEAN).div_(STD)", 2),
        ("batch-norm", "unbiased=False", "unbiased=True", 1),
        ("batch-norm", "(variance + eps)", "variance", 2),
        ("running-statistics", "(1 - momentum) * mean", "(1 - momentum) + mean", 0),
        ("running-statistics", "unbiased=True", "unbiased=False", 0),
        ("grey-convolution", "bias=False", "bias=True", 1),
        ("grey-convolution", "kernel_size=1", "kernel_size=3, padding=1", 0),
    ],
)
def test_a_usual_mistake_fails_the_check_that_is_about_it(name: str, correct: str, mistake: str, failed: int) -> None:
    assert problem_of_mistake(BY_NAME[name], correct, mistake, failed=failed)
