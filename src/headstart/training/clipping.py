"""Clipping of gradients by value, by norm, or in the backward pass; one at a time, and removable."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import TrainingError
from headstart.hooks import Handle, place_gradient_hooks

Parameters = Callable[[], Iterable[nn.Parameter]]
"""Gives the parameters of the model of the moment, which may be another one than when clipping was set."""

Clipping = Any
"""A Clip; or, as notebooks assign them, a function that clips the present gradients, or a list of handles of hooks."""


class Clip:
    """An active clipping; call it just before the optimiser's step.

    Attributes:
        norm: of all gradients before the latest clipping, where the clipping is by norm.
    """

    def __init__(self, clip: Callable[[], Tensor | None]) -> None:
        self._clip = clip
        self.norm: float | None = None

    def __call__(self) -> None:
        """Clip the present gradients."""
        norm = self._clip()
        self.norm = None if norm is None else float(norm)

    def follow(self) -> None:
        """Go over to the parameters of the moment; to be called before each backward pass."""

    def remove(self) -> None:
        """Remove its hooks; it must not be called afterwards."""


class ClipOnArrival(Clip):
    """Clamps each gradient once it is summed, by hooks on the parameters that are trained at the moment."""

    def __init__(self, parameters: Parameters, clip_value: float) -> None:
        super().__init__(_nothing)
        self._parameters, self._limit = parameters, clip_value
        self._hooked: list[nn.Parameter] = []
        self._handles: list[Handle] = []
        self.follow()

    def __getstate__(self) -> dict[str, Any]:
        """Without hooks: a copy of the loop places its own, on its own parameters."""
        return {**vars(self), "_hooked": [], "_handles": []}

    def follow(self) -> None:
        """Move the hooks if the model, a layer of it, or what is trained has been replaced."""
        trained = [parameter for parameter in self._parameters() if parameter.requires_grad]
        if list(map(id, trained)) != list(map(id, self._hooked)):
            self.remove()
            self._hooked, self._handles = trained, place_gradient_hooks(trained, self._clamp)

    def remove(self) -> None:
        """Remove its hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._hooked = [], []

    def _clamp(self, parameter: Tensor) -> None:
        if parameter.grad is not None:
            with torch.no_grad():
                parameter.grad.clamp_(-self._limit, self._limit)


def clip_by_value(parameters: Parameters, clip_value: float) -> Clip:
    """Every element of every gradient into [-clip_value, clip_value], once per step."""
    limit = _positive(clip_value, "clip_value")
    return Clip(partial(_by_value, parameters, limit))


def clip_by_norm(parameters: Parameters, max_norm: float, norm_type: float = 2.0) -> Clip:
    """All gradients by one factor, so that the norm of all together is at most max_norm, once per step."""
    limit = _positive(max_norm, "max_norm")
    return Clip(partial(_by_norm, parameters, limit, norm_type))


def clip_as_they_arrive(parameters: Parameters, clip_value: float) -> Clip:
    """Every element of a parameter's gradient into [-clip_value, clip_value], in the backward pass, once it is summed.

    The book's version clamps what each backward pass adds, so that two of them may reach twice the limit.
    """
    return ClipOnArrival(parameters, _positive(clip_value, "clip_value"))


def apply_clipping(clipping: Clipping) -> float | None:
    """Clip the present gradients; the norm of all of them before that, if it is known.

    Hooks in a list have clipped already.
    """
    if callable(clipping):
        clipping()
    return getattr(clipping, "norm", None)


def follow_model(clipping: Clipping) -> None:
    """Before a backward pass: let hooks go over to the parameters of the moment."""
    if isinstance(clipping, Clip):
        clipping.follow()


def remove_clipping(clipping: Clipping) -> None:
    """Remove the hooks of a clipping, if it has any."""
    for one in clipping if isinstance(clipping, (list, tuple)) else [clipping]:
        if isinstance(one, (Clip, Handle)):
            one.remove()


def check_clipping(clipping: Clipping) -> None:
    """Refuse what could not clip, when it is assigned.

    Raises:
        TrainingError: it is neither a function, nor a list of handles, nor None.
    """
    if clipping is None or callable(clipping) or isinstance(clipping, (list, tuple)):
        return
    raise TrainingError(
        expected="a function that clips the gradients, a list of handles of hooks, or None",
        found=repr(clipping),
        where="clipping",
        hint="set_clip_grad_norm(max_norm) and set_clip_grad_value(clip_value) take numbers.",
    )


def _nothing() -> None:
    """The gradients are clipped already."""


def _by_value(parameters: Parameters, limit: float) -> None:
    nn.utils.clip_grad_value_(parameters(), limit)


def _by_norm(parameters: Parameters, limit: float, norm_type: float) -> Tensor:
    return nn.utils.clip_grad_norm_(parameters(), limit, norm_type)


def _positive(value: float, name: str) -> float:
    given: object = value  # of a notebook
    if isinstance(given, (int, float)) and not isinstance(given, bool) and given > 0:
        return float(given)
    raise TrainingError(expected=f"{name} above 0", found=repr(value), where="clipping")
