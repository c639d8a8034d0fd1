"""Batch: input and target of any form of batch, moved to the device; the loss of models with two outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss
from torch.nn.utils.rnn import PackedSequence

from headstart.errors import TrainingError
from headstart.training.unfit import takes, unfit_input, unfit_target

Input = Any
"""What a model takes: a tensor, or a mapping or sequence of tensors."""

Loss = Callable[[Any, Any], Tensor]

TARGETS = ("labels", "label", "targets", "target", "y")
"""Keys under which a batch that is a mapping may hold its target; everything else in it is input."""

MAIN = ("logits", "out", "output", "outputs")
"""Keys of the main output of a network that returns a mapping: those of Hugging Face and of torchvision first."""

AUXILIARY = 0.4
"""Weight of inception's second output: that of torchvision's training; Szegedy et al. 2015 has 0.3."""

_ONE_VALUE = "Expected more than 1 value per channel"  # torch's words; it has no exception of its own for this
_ONE_PLACE = "Expected more than 1 spatial element"  # the same of instance norm


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
    """The same tensor, mapping or sequence, its tensors on the device; other values as they are.

    A packed sequence and a namedtuple keep their type, and whatever else moves by a `to` of its own is moved by it.
    """
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {key: to_device(item, device) for key, item in value.items()}
    if callable(getattr(value, "to", None)):  # a PackedSequence too, which is a tuple
        return value.to(device)
    if isinstance(value, (list, tuple)):
        moved = [to_device(item, device) for item in value]
        return type(value)(*moved) if hasattr(value, "_fields") else type(value)(moved)
    return value


def size_of(value: Any) -> int:
    """How many samples a batch's input or target holds: the length of its first tensor.

    Raises:
        TrainingError: there is no tensor with a first dimension in it.
    """
    if isinstance(value, Tensor):
        return len(value) if value.dim() else 1
    if isinstance(value, PackedSequence):
        return int(value.batch_sizes[0])  # all sequences have a first step
    values = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    for item in values:
        return size_of(item)
    raise TrainingError(expected="a tensor for every sample", found=type(value).__name__, where="batch")


def run_model(model: nn.Module, x: Input) -> Any:
    """The model's output; a mapping goes in by keywords, a plain tuple by position, all else alone.

    A namedtuple, such as a PackedSequence, is one input; so is a mapping whose keys the network does not take.

    Raises:
        TrainingError: a normalisation layer in train mode has a batch of one value to normalise; or the kind, type or
            shape of the input does not fit the network.
    """
    try:
        if isinstance(x, Mapping):
            return model(**x) if takes(model, **x) or not takes(model, x) else model(x)
        return model(*x) if isinstance(x, tuple) and not hasattr(x, "_fields") else model(x)
    except (TypeError, AttributeError, RuntimeError, ValueError) as error:
        if isinstance(error, ValueError) and _ONE_PLACE in str(error):
            raise TrainingError(
                expected="maps of more than one pixel: instance norm has no deviation over one",
                found="maps of 1×1",
                where=f"the forward pass of {type(model).__name__}",
                hint="Use larger images, or fewer steps that make the maps smaller.",
            ) from error
        if not isinstance(error, ValueError) or _ONE_VALUE not in str(error):
            mistake = unfit_input(model, x, error)
            if mistake is None:
                raise
            raise mistake from error
        raise TrainingError(
            expected="two or more samples in each training batch: batch norm has no deviation over one",
            found="a batch of one",
            where=f"the forward pass of {type(model).__name__}",
            hint="If it is the last batch of an epoch, build the loader with drop_last=True; else use larger batches.",
        ) from error


def main_output(outputs: Any) -> Any:
    """The logits of a model's output: of several outputs (inception in train mode, a dict with `logits`) the main one.

    Decided by the fields of the type or the keys, not by the number of rows: a tensor of two rows unpacks as well. What
    names no main output is returned as it is.
    """
    if isinstance(outputs, Mapping):
        named = [outputs[key] for key in MAIN if key in outputs]
        return named[0] if named else next(iter(outputs.values())) if len(outputs) == 1 else outputs
    if isinstance(outputs, Tensor) or not hasattr(outputs, "logits"):
        return outputs
    return outputs.logits


def logits_of(outputs: Any) -> Tensor:
    """The main output as a tensor.

    Raises:
        TrainingError: the output has no part that is known as the main one.
    """
    main = main_output(outputs)
    if isinstance(main, Tensor):
        return main
    keys = f" with {', '.join(map(repr, outputs)) or 'nothing in it'}" if isinstance(outputs, Mapping) else ""
    number = f" of {len(outputs)}" if isinstance(outputs, (list, tuple)) else ""
    raise TrainingError(
        expected=f"a network that returns a tensor, or a mapping with one of {', '.join(MAIN)}",
        found=f"a {type(outputs).__name__}{keys}{number}",
        where="the network's output",
        hint="Return the logits alone, or give a loss function of your own that takes this output.",
    )


def two_output_loss(loss_fn: Loss, auxiliary: float = AUXILIARY) -> Loss:
    """A loss over models with auxiliary outputs: that of the logits, plus a share of that of every auxiliary output.

    For a plain tensor it is the loss itself, so that it serves in train and eval mode.
    Source: Szegedy et al. 2016, "Rethinking the Inception architecture", section 4.
    """

    @wraps(loss_fn, assigned=(), updated=())  # only so that the epoch's loss finds what the inner loss divides by
    def loss(outputs: Any, y: Any) -> Tensor:
        total = loss_fn(logits_of(outputs), y)
        fields = outputs if isinstance(outputs, Mapping) else outputs._asdict() if hasattr(outputs, "_asdict") else {}
        for name, extra in fields.items():
            if name.startswith("aux_logits") and extra is not None:
                total = total + auxiliary * loss_fn(extra, y)
        return total

    return loss


def loss_of(loss_fn: Loss, outputs: Any, y: Any) -> Tensor:
    """The loss of a model's output; torch's own losses take one tensor, and get the main output.

    Raises:
        TrainingError: the model returns several outputs, and the loss cannot take them; the loss is not one real
            number; or the targets do not fit a loss of torch.
    """
    loss = _loss_of(loss_fn, outputs, y)
    if isinstance(loss, Tensor) and loss.numel() == 1 and not loss.is_complex():
        return loss
    shape = f"of {loss.dtype} and shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else ""
    raise TrainingError(
        expected="a loss that is one number for the batch, as a tensor",
        found=f"a {type(loss).__name__} {shape}".rstrip(),
        where=getattr(loss_fn, "__name__", type(loss_fn).__name__),
        hint="Losses of torch give one with reduction='mean' or 'sum'.",
    )


def check_gradient(loss: Tensor, loss_fn: Loss) -> None:
    """Refuse a loss that backward() cannot begin at.

    Raises:
        TrainingError: nothing that it was computed from requires a gradient.
    """
    if not loss.requires_grad:
        raise TrainingError(
            expected="a loss with a gradient",
            found="one that nothing trained leads to",
            where=getattr(loss_fn, "__name__", type(loss_fn).__name__),
            hint="Leave out .item(), .detach(), .data, argmax and numpy; see that not all parameters are frozen.",
        )


def _loss_of(loss_fn: Loss, outputs: Any, y: Any) -> Any:
    if isinstance(outputs, Tensor):
        try:
            return loss_fn(outputs, y)
        except Exception as error:
            mistake = unfit_target(loss_fn, outputs, y, error=error) if _is_torchs(loss_fn) else None
            if mistake is None:
                raise
            raise mistake from error
    if _is_torchs(loss_fn) or (hasattr(outputs, "_fields") and isinstance(loss_fn, nn.Module)):
        return two_output_loss(loss_fn)(outputs, y)
    try:
        return loss_fn(outputs, y)
    except (TypeError, AttributeError) as error:
        keys = f" with {', '.join(map(repr, outputs)) or 'nothing in it'}" if isinstance(outputs, Mapping) else ""
        raise TrainingError(
            expected=f"a loss function that takes the network's output, a {type(outputs).__name__}{keys}",
            found=f"{type(error).__name__}: {error}",
            where=getattr(loss_fn, "__name__", type(loss_fn).__name__),
            hint="Pick the logits in the loss function, such as outputs['logits'], or return them alone.",
        ) from error


def _is_torchs(loss_fn: Loss) -> bool:
    """Whether a loss is one of torch's own, a module or a function, or made of one by `partial`."""
    plain = loss_fn.func if isinstance(loss_fn, partial) else loss_fn
    module = getattr(plain if not isinstance(plain, nn.Module) else type(plain), "__module__", "")
    return isinstance(plain, _Loss) or str(module).startswith("torch.")
