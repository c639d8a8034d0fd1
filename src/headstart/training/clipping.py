"""Clipping of gradients by value, by norm, or in the backward pass; one at a time, and removable."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from headstart.errors import TrainingError
from headstart.hooks import Handle, place_gradient_hooks

Parameters = Callable[[], Iterable[nn.Parameter]]


class Clip:
    """An active clipping; call it just before the optimiser's step.

    Attributes:
        norm: of all gradients before the latest clipping, where the clipping is by norm.
    """

    def __init__(self, clip: Callable[[], Tensor | None], handles: Iterable[Handle] = ()) -> None:
        self._clip = clip
        self._handles = list(handles)
        self.norm: float | None = None

    def __call__(self) -> None:
        """Clip the present gradients."""
        norm = self._clip()
        self.norm = None if norm is None else float(norm)

    def remove(self) -> None:
        """Remove its hooks; it must not be called afterwards."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def clip_by_value(parameters: Parameters, clip_value: float) -> Clip:
    """Every element of every gradient into [-clip_value, clip_value], once per step."""
    limit = _positive(clip_value, "clip_value")
    return Clip(lambda: nn.utils.clip_grad_value_(parameters(), limit))


def clip_by_norm(parameters: Parameters, max_norm: float, norm_type: float = 2.0) -> Clip:
    """All gradients by one factor, so that the norm of all together is at most max_norm, once per step."""
    limit = _positive(max_norm, "max_norm")
    return Clip(lambda: nn.utils.clip_grad_norm_(parameters(), limit, norm_type))


def clip_as_they_arrive(parameters: Parameters, clip_value: float) -> Clip:
    """Every element of a parameter's gradient into [-clip_value, clip_value], in the backward pass, once it is summed.

    The book's version clamps what each backward pass adds, so that two of them may reach twice the limit.
    """
    limit = _positive(clip_value, "clip_value")

    def clamp(parameter: Tensor) -> None:
        if parameter.grad is not None:
            with torch.no_grad():
                parameter.grad.clamp_(-limit, limit)

    return Clip(lambda: None, place_gradient_hooks(parameters(), clamp))


def _positive(value: float, name: str) -> float:
    if value > 0:
        return float(value)
    raise TrainingError(expected=f"{name} above 0", found=repr(value), where="clipping")
