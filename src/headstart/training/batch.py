"""Batch: input and target of any form of batch, moved to the device; the loss of models with two outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import TrainingError

Input = Any
"""What a model takes: a tensor, or a mapping or sequence of tensors."""

Loss = Callable[[Any, Any], Tensor]

TARGETS = ("labels", "label", "targets", "target", "y")
"""Keys under which a batch that is a mapping may hold its target; everything else in it is input."""

AUXILIARY = 0.4
"""Weight of inception's second output: that of torchvision's training; Szegedy et al. 2015 has 0.3."""


def unpack(batch: Any) -> tuple[Input, Any]:
    """Input and target of a batch: a pair, a longer sequence (the last is the target), or a mapping.

    A mapping's target is under `labels`, `label`, `targets`, `target` or `y`; its input is all the rest.

    Raises:
        TrainingError: the batch has another form.
    """
    if isinstance(batch, Mapping):
        found = [key for key in TARGETS if key in batch]
        rest = {key: value for key, value in batch.items() if key not in found}
        if len(found) == 1 and rest:
            return (next(iter(rest.values())) if len(rest) == 1 else rest), batch[found[0]]
    elif isinstance(batch, Sequence) and len(batch) >= 2 and not isinstance(batch, (str, bytes)):
        return (batch[0] if len(batch) == 2 else tuple(batch[:-1])), batch[-1]
    form = f"a mapping with {list(batch)}" if isinstance(batch, Mapping) else type(batch).__name__
    raise TrainingError(
        expected="batches of (input, target), or mappings with a target",
        found=form,
        where="loader",
        hint=f"Give pairs, or a dict whose target is under one of {', '.join(TARGETS)}.",
    )


def to_device(value: Any, device: torch.device | str) -> Any:
    """The same tensor, mapping or sequence, its tensors on the device; other values as they are."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {key: to_device(item, device) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(to_device(item, device) for item in value)
    return value


def size_of(value: Any) -> int:
    """How many samples a batch's input or target holds: the length of its first tensor.

    Raises:
        TrainingError: there is no tensor with a first dimension in it.
    """
    if isinstance(value, Tensor):
        return len(value) if value.dim() else 1
    values = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    for item in values:
        return size_of(item)
    raise TrainingError(expected="a tensor for every sample", found=type(value).__name__, where="batch")


def run_model(model: nn.Module, x: Input) -> Any:
    """The model's output; a mapping goes in by keywords, a tuple by position, a tensor alone."""
    if isinstance(x, Mapping):
        return model(**x)
    return model(*x) if isinstance(x, tuple) else model(x)


def main_output(outputs: Any) -> Tensor:
    """The logits of a model's output: of two outputs (inception in train mode) the first.

    Decided by the fields of the type, not by the number of rows: a tensor of two rows unpacks as well.
    """
    main: Tensor = outputs.logits if hasattr(outputs, "_fields") and hasattr(outputs, "logits") else outputs
    return main


def two_output_loss(loss_fn: Loss, auxiliary: float = AUXILIARY) -> Loss:
    """A loss over models with auxiliary outputs: that of the logits, plus a share of that of every auxiliary output.

    For a plain tensor it is the loss itself, so that it serves in train and eval mode.
    Source: Szegedy et al. 2016, "Rethinking the Inception architecture", section 4.
    """

    def loss(outputs: Any, y: Any) -> Tensor:
        total = loss_fn(main_output(outputs), y)
        fields = outputs._asdict() if hasattr(outputs, "_asdict") else {}
        for name, extra in fields.items():
            if name.startswith("aux_logits") and extra is not None:
                total = total + auxiliary * loss_fn(extra, y)
        return total

    return loss


def loss_of(loss_fn: Loss, outputs: Any, y: Any) -> Tensor:
    """The loss of a model's output; torch's own losses take one output, so inception's two are combined for them."""
    if hasattr(outputs, "_fields") and isinstance(loss_fn, nn.Module):
        return two_output_loss(loss_fn)(outputs, y)
    return loss_fn(outputs, y)
