"""The checks of level 3: intervals, splits and leave-one-out errors, compared with literal computations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from headstart.evaluation.intervals import wilson
from headstart.lab.exercises.comparison import Check, Names, Wrong, named, same, true


def _interval_of(names: Names, correct: int, n: int) -> None:
    found = named(names, "accuracy_interval")(correct, n)
    if not isinstance(found, tuple) or len(found) != 2:
        raise Wrong(f"expected a pair (low, high), found {found!r:.80}")
    expected = wilson(correct, n)
    same(float(found[0]), expected.low, f"low end for {correct} of {n}", tolerance=1e-3)
    same(float(found[1]), expected.high, f"high end for {correct} of {n}", tolerance=1e-3)


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


CHECKS: Mapping[str, tuple[Check, ...]] = {
    "accuracy-interval": (
        lambda names: _interval_of(names, 145, 153),
        lambda names: _interval_of(names, 20, 20),
        lambda names: _interval_of(names, 0, 5),
    ),
    "split-by-group": (
        _split_keeps_groups,
        _split_has_its_share,
        _split_is_drawn,
    ),
    "leave-one-out": (
        lambda names: _loo(names, 12, 3, penalty=0.5),
        lambda names: _loo(names, 6, 9, penalty=2.0),
        _loo_fits_once,
    ),
}
"""Name of an exercise → its checks, in the order of its words."""
