"""Level 3: measuring: an interval for an accuracy, a split without leaks, the exact leave-one-out error.

Importing this needs no torch.
"""

from __future__ import annotations

from headstart.lab.exercises.exercise import Exercise

_CHECKS = "headstart.lab.exercises.measurement_checks"

ACCURACY_INTERVAL = Exercise(
    name="accuracy-interval",
    level=3,
    title="The interval of an accuracy",
    task="""Write accuracy_interval(correct, n): the ends (low, high) of Wilson's 95 % interval for `correct` of `n`
images, with z = 1.96. Unlike p ± z √(p(1 − p)/n) it is not empty where all are correct.""",
    starter="def accuracy_interval(correct, n):\n    raise NotImplementedError",
    solution="""import math


def accuracy_interval(correct, n, z=1.959964):
    share = correct / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return middle - half, middle + half""",
    checks=(
        "145 of 153",
        "20 of 20",
        "0 of 5",
    ),
    checked_by=_CHECKS,
)

SPLIT_BY_GROUP = Exercise(
    name="split-by-group",
    level=3,
    title="A split that does not leak",
    task="""Write split(groups, test_share, seed): groups has a name for each image (the plant, patient or video it
is from); return a list of as many bools, True for the test. All images of a group are on one side; about
test_share of the images are in the test; the same seed gives the same split, another seed another one.""",
    starter="def split(groups, test_share, seed):\n    raise NotImplementedError",
    solution="""import random


def split(groups, test_share, seed):
    names = sorted(set(groups))
    random.Random(seed).shuffle(names)
    test, wanted = set(), test_share * len(groups)
    for name in names:
        if sum(group in test for group in groups) >= wanted:
            break
        test.add(name)
    return [group in test for group in groups]""",
    checks=(
        "no group is on both sides",
        "the test has about its share",
        "the seed decides",
    ),
    checked_by=_CHECKS,
)

LEAVE_ONE_OUT = Exercise(
    name="leave-one-out",
    level=3,
    title="The leave-one-out error of ridge regression from one fit",
    task="""Write leave_one_out_errors(X, y, penalty): X is N×D, y has N numbers, both float64. Return for each row
its error y_i − x_i·w, where w is the ridge solution (XᵀX + penalty·I)⁻¹Xᵀy of all other rows. One fit is
enough: with the hat matrix H = X(XᵀX + penalty·I)⁻¹Xᵀ the error is (y_i − (Hy)_i) / (1 − H_ii).""",
    starter="import torch\n\n\ndef leave_one_out_errors(X, y, penalty):\n    raise NotImplementedError",
    solution="""import torch


def leave_one_out_errors(X, y, penalty):
    inner = X.T @ X + penalty * torch.eye(X.shape[1], dtype=X.dtype)
    hat = X @ torch.linalg.solve(inner, X.T)
    return (y - hat @ y) / (1 - hat.diagonal())""",
    checks=(
        "equal to fitting without each row, 12 rows",
        "also with fewer rows than columns",
        "one fit for all rows",
    ),
    checked_by=_CHECKS,
)

EXERCISES = (ACCURACY_INTERVAL, SPLIT_BY_GROUP, LEAVE_ONE_OUT)
