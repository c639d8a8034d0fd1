"""A rule about what a loss is given beside outputs: weights of classes, an index to ignore, targets as shares."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from headstart.best_practices.examination import Examination, NotCheckedError
from headstart.best_practices.rule import Issue, register_rule

_CLOSE = 1e-2  # of sums of targets: float16 keeps three digits
_SMOOTH = 0.5  # label smoothing; 0.1 is usual
_HEAVY = 1e3  # weight of a yes beside a no


@register_rule(
    "loss settings out of range",
    "error",
    "warning",
    needs=("loss", "batch"),
    why="A negative weight rewards mistakes in its class, a weight of 0 or ignore_index hides it, targets that are "
    "shares of classes have to sum to 1, and with a sum in place of a mean the learning rate depends on the batch "
    "size. All of them run without an error.",
    source="torch.nn: CrossEntropyLoss, NLLLoss, BCEWithLogitsLoss",
    fix="Weights above 0, such as N / (C * counts); ignore_index only for labels that mean none; mixed targets as "
    "share * y + (1 - share) * y[other]; reduction='mean'.",
)
def loss_settings(examination: Examination) -> Iterator[Issue]:
    """Attributes of a loss of torch, and the targets of the batch."""
    loss, targets = examination.loss, None if examination.batch is None else examination.batch[1]
    if not isinstance(targets, Tensor) or not isinstance(loss, nn.Module):
        raise NotCheckedError("a loss of torch.nn, and targets that are one tensor")
    yield from _weights(loss)
    ignored = getattr(loss, "ignore_index", -1)
    if not targets.is_floating_point() and isinstance(ignored, int) and ignored >= 0:
        count = int((targets == ignored).sum())
        if count:
            yield Issue((), f"ignore_index={ignored}, which is the label of {count} of {targets.numel()}", "warning")
    if (smoothing := float(getattr(loss, "label_smoothing", 0.0))) >= _SMOOTH:
        yield Issue((), f"label smoothing of {smoothing:g}", "warning")
    if getattr(loss, "reduction", "") == "sum":
        yield Issue((), "reduction='sum': gradients grow with the number of images in the batch", "warning")
    if isinstance(loss, nn.CrossEntropyLoss) and targets.is_floating_point() and targets.ndim > 1:
        sums = targets.detach().float().sum(1)
        if bool(((sums - 1).abs() > _CLOSE).any()):
            low, high = float(sums.min()), float(sums.max())
            yield Issue((), f"targets that sum to {low:.3g} to {high:.3g} in a row, and not to 1", "error")


def _weights(loss: nn.Module) -> Iterator[Issue]:
    weight = getattr(loss, "weight", None)
    if isinstance(weight, Tensor) and not isinstance(weight, nn.Parameter):
        if bool((~torch.isfinite(weight)).any()) or bool((weight < 0).any()):
            yield Issue((), f"a class weight of {float(weight.min()):g}", "error")
        elif bool((weight == 0).any()):
            yield Issue((), f"a weight of 0 for {int((weight == 0).sum())} of {weight.numel()} classes", "warning")
    heavy = getattr(loss, "pos_weight", None)
    if isinstance(heavy, Tensor) and heavy.numel() and float(heavy.max()) > _HEAVY:
        yield Issue((), f"a pos_weight of {float(heavy.max()):g}", "warning")
