"""What the checks of the exercises compare with; what is not the expected raises Wrong, whose text a student reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Names = Mapping[str, Any]
"""What a student's file defines, by name."""

Check = Callable[[Names], None]
"""Raises Wrong, or whatever the student's code raises."""


class Wrong(Exception):
    """What a student's code gives is not what was expected; the text says both."""


def named(names: Names, name: str) -> Any:
    """What the student defined under a name.

    Raises:
        Wrong: there is nothing callable.
    """
    if not callable(names.get(name)):
        raise Wrong(f"expected a function or class {name}, found none")
    return names[name]


def same(found: object, expected: Tensor | float, what: str, *, tolerance: float = 1e-4) -> None:
    """See that a tensor or number is the expected one.

    Raises:
        Wrong: it has another type or shape, or is off by more than the tolerance.
    """
    if not isinstance(found, Tensor | float | int):
        raise Wrong(f"{what}: expected a {'tensor' if isinstance(expected, Tensor) else 'number'}, found {found!r:.80}")
    given, target = torch.as_tensor(found).detach().double(), torch.as_tensor(expected).detach().double()
    if given.shape != target.shape:
        raise Wrong(f"{what}: expected the shape {tuple(target.shape)}, found {tuple(given.shape)}")
    off = float((given - target).abs().max()) if target.numel() else 0.0
    if math.isnan(off) or off > tolerance:
        at = int((given - target).abs().nan_to_num(math.inf).argmax())
        numbers = float(target.flatten()[at]), float(given.flatten()[at])
        raise Wrong(f"{what}: expected {numbers[0]:.4f}, found {numbers[1]:.4f} at element {at}")


def true(condition: bool, expected: str, found: str) -> None:
    """See that a condition is met.

    Raises:
        Wrong: it is not.
    """
    if not condition:
        raise Wrong(f"expected {expected}, found {found}")
