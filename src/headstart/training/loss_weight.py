"""What a batch's loss was divided by: batches joined by it give the loss, and the gradient, of all samples at once."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.training.batch import Loss, size_of

SUM = "sum"
"""The weight of a loss that is not divided at all: batches are added."""

Weight = float | str

_BY_CLASS = (nn.CrossEntropyLoss.forward, nn.NLLLoss.forward)


def loss_weight(loss_fn: Loss, y: Any) -> Weight:
    """The number that torch divides the sum over a batch by: of most losses its samples.

    Cross entropy and NLL over class indices divide by the sum of their targets' class weights, in which ignored targets
    count as 0 (and without class weights all others as 1), with label smoothing too. Over probabilities they divide by
    the number of samples, whatever the class weights; so do all other losses. A loss function of your own counts as one
    that divides by its samples.

    Args:
        loss_fn: as called with (output, target). y: the batch's target.

    Returns:
        The weight of the batch's loss among those of other batches; `SUM` for a loss that is a sum.
    """
    options = _options(loss_fn)
    if options.get("reduction") == "sum":
        return SUM
    if "ignore_index" not in options or not isinstance(y, Tensor) or y.is_floating_point():
        return size_of(y)
    counts, weights = y != options["ignore_index"], options.get("weight")
    return int(counts.sum()) if weights is None else float(weights.to(y.device)[y[counts]].double().sum())


def _options(loss_fn: Loss) -> Mapping[str, Any]:
    """How a loss of torch's is set: `reduction`, and of those by class `weight` and `ignore_index`; else nothing."""
    if hasattr(loss_fn, "__wrapped__"):
        return _options(loss_fn.__wrapped__)
    if isinstance(loss_fn, nn.Module):
        if type(loss_fn).forward not in _BY_CLASS:  # a subclass with a forward of its own divides as it likes
            return {"reduction": getattr(loss_fn, "reduction", None)}
        return {name: getattr(loss_fn, name) for name in ("reduction", "weight", "ignore_index")}
    function, given = (loss_fn.func, loss_fn.keywords) if isinstance(loss_fn, partial) else (loss_fn, {})
    if function in (F.cross_entropy, F.nll_loss):
        defaults = {name: one.default for name, one in inspect.signature(function).parameters.items()}
        return {**defaults, **given}
    return given if str(getattr(function, "__module__", "")).startswith(torch.__name__ + ".") else {}
