"""Level 3: measuring: an interval for an accuracy, a split without leaks, the exact leave-one-out error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from headstart.evaluation.intervals import wilson
from headstart.lab.exercises.exercise import Exercise, Wrong, named, same, true

Names = Mapping[str, Any]


def _interval_of(names: Names, correct: int, n: int) -> None:
    found = named(names, "accuracy_interval")(correct, n)
    if not isinstance(found, tuple) or len(found) != 2:
        raise Wrong(f"expected a pair (low, high), found {found!r:.80}")
    expected = wilson(correct, n)
    same(float(found[0]), expected.low, f"low end for {correct} of {n}", tolerance=1e-3)
    same(float(found[1]), expected.high, f"high end for {correct} of {n}", tolerance=1e-3)


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
    checks={
        "145 of 153": lambda names: _interval_of(names, 145, 153),
        "20 of 20": lambda names: _interval_of(names, 20, 20),
        "0 of 5": lambda names: _interval_of(names, 0, 5),
    },
)

_GROUPS = [f"plant {i // 7}" for i in range(210)]


def _split(names: Names, seed: int) -> list[bool]:
    found = list(named(names, "split")(list(_GROUPS), 0.3, seed))
    true(len(found) == len(_GROUPS), f"{len(_GROUPS)} answers", f"{len(found)}")
    return [bool(value) for value in found]


def _split_keeps_groups(names: Names) -> None:
    found = _split(names, 0)
    both = {g for g, t in zip(_GROUPS, found, strict=True) if t} & {
        g for g, t in zip(_GROUPS, found, strict=True) if not t
    }
    true(not both, "each group on one side", f"{len(both)} groups on both, such as {min(both, default='')!r}")


def _split_has_its_share(names: Names) -> None:
    share = sum(_split(names, 0)) / len(_GROUPS)
    true(0.2 <= share <= 0.4, "about 0.3 of the images in the test", f"{share:.2f}")


def _split_is_drawn(names: Names) -> None:
    first = _split(names, 1)
    true(first == _split(names, 1), "the same split for the same seed", "another one")
    true(any(first != _split(names, seed) for seed in (2, 3, 4)), "another split for another seed", "always the same")


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
    checks={
        "no group is on both sides": _split_keeps_groups,
        "the test has about its share": _split_has_its_share,
        "the seed decides": _split_is_drawn,
    },
)


def _left_out(features: torch.Tensor, targets: torch.Tensor, penalty: float) -> torch.Tensor:
    """Literally: fit without each row in turn."""
    errors = []
    for i in range(len(features)):
        keep = torch.arange(len(features)) != i
        x, y = features[keep], targets[keep]
        weights = torch.linalg.solve(x.T @ x + penalty * torch.eye(x.shape[1], dtype=x.dtype), x.T @ y)
        errors.append(targets[i] - features[i] @ weights)
    return torch.stack(errors)


def _loo(names: Names, rows: int, columns: int, *, penalty: float) -> None:
    draw = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, columns, generator=draw, dtype=torch.float64)
    y = torch.randn(rows, generator=draw, dtype=torch.float64)
    found = named(names, "leave_one_out_errors")(x, y, penalty)
    same(found, _left_out(x, y, penalty), f"errors of {rows} rows, {columns} columns", tolerance=1e-6)


class _Solves(TorchFunctionMode):
    """Counts the calls of torch that solve or invert; its profiler takes ten seconds, and prints."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(  # four: the signature that torch calls
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        self.count += name.startswith("linalg_") or "inverse" in name or name.endswith("_solve")
        return func(*args, **(kwargs or {}))


def _loo_fits_once(names: Names) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(400, 5, generator=draw, dtype=torch.float64)
    y = torch.randn(400, generator=draw, dtype=torch.float64)
    with _Solves() as solves:
        named(names, "leave_one_out_errors")(x, y, 1.0)
    true(
        solves.count < 100, "a number of solves that does not grow with the rows", f"{solves.count} calls for 400 rows"
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
    checks={
        "equal to fitting without each row, 12 rows": lambda names: _loo(names, 12, 3, penalty=0.5),
        "also with fewer rows than columns": lambda names: _loo(names, 6, 9, penalty=2.0),
        "one fit for all rows": _loo_fits_once,
    },
)

EXERCISES = (ACCURACY_INTERVAL, SPLIT_BY_GROUP, LEAVE_ONE_OUT)
