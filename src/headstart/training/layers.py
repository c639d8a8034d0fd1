"""Layers found by their names, and the filters of a convolution as plain numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.nn.parameter import is_lazy

from headstart.errors import TrainingError, near
from headstart.wording import listed

_TURNED = (nn.ConvTranspose1d, nn.ConvTranspose2d)  # whose weights are stored in × out
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, *_TURNED)


def layers_named(model: nn.Module, names: str | Iterable[str]) -> dict[str, nn.Module]:
    """Modules by their dotted names, in the model's order; `''` is the model itself.

    A module that is reachable by two names has both.

    Raises:
        TrainingError: the model has no layer of that name.
    """
    given: object = names  # of a notebook
    wanted = [names] if isinstance(names, str) else list(names) if isinstance(given, Iterable) else [repr(given)]
    known = dict(model.named_modules(remove_duplicate=False))
    for name in wanted:
        if name not in known:
            raise TrainingError(
                expected=f"a layer of {type(model).__name__}", found=repr(name), hint=_instead(model, name, known)
            )
    return {name: module for name, module in known.items() if name in wanted}


def filters_of(model: nn.Module, layer_name: str) -> NDArray[np.floating[Any]]:
    """Weights of a convolution: filters F × channels C × height × width (height 1 where it has one dimension).

    Raises:
        TrainingError: the model has no layer of that name, or it has no filters that can be drawn.
    """
    layer = layers_named(model, layer_name)[layer_name]
    if not isinstance(layer, _CONVOLUTIONS) or is_lazy(layer.weight):
        drawable = [name for name, layer in model.named_modules() if isinstance(layer, _CONVOLUTIONS)]
        raise TrainingError(
            expected="a convolution of one or two dimensions whose weights are there",
            found=f"{layer_name!r}, a {type(layer).__name__}",
            hint=f"Convolutions here: {listed(drawable)}." if drawable else "This model has no convolution.",
        )
    weights: NDArray[np.floating[Any]] = layer.weight.detach().cpu().float().numpy().copy()
    if isinstance(layer, _TURNED):
        weights = weights.swapaxes(0, 1)
    return weights if weights.ndim == 4 else weights[:, :, np.newaxis]


def _instead(model: nn.Module, name: str, known: dict[str, nn.Module]) -> str:
    close = near(name, [other for other in known if other])
    if close.startswith("Known"):  # none is close, and a deep network has hundreds
        return f"Its children are: {listed([other for other in known if other and '.' not in other])}."
    return close
