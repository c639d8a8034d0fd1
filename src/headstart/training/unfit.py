"""Why a network or a loss failed on a batch, where the batch explains it; asked only after the failure.

What no batch explains is a mistake in the network or the loss of the user, and keeps its own error.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from headstart.errors import TrainingError, first_line

_SHAPES = re.compile(
    r"cannot be multiplied|size mismatch|to have \d+ channels|expected input\[|Expected \d+D|must match"
)
_TYPES = re.compile(r"dtype|[Tt]ype .*(Float|float|Half|Long|Double|double|BFloat16)|scalar type")


def unfit_input(model: nn.Module, x: Any, error: Exception) -> TrainingError | None:
    """The mistake in a network's input; None where its kind, type and shape do not explain the error."""
    inputs = list(x.values()) if isinstance(x, Mapping) else list(x) if type(x) is tuple else [x]
    foreign = [one for one in inputs if not isinstance(one, (Tensor, PackedSequence))]
    where = _place(model)
    if foreign and isinstance(error, (TypeError, AttributeError)) and _is_plain(foreign[0]):
        return TrainingError(
            expected="tensors as inputs of the network",
            found=f"{type(foreign[0]).__name__}: {first_line(error)}",
            where=where,
            hint="torch.as_tensor(x, dtype=torch.float32) makes one of an array or of a list of rows of one length.",
        )
    if isinstance(error, (TypeError, AttributeError)) and (mistake := _misfit_call(model, x, error)):
        return mistake
    first = next((one for one in inputs if isinstance(one, Tensor)), None)
    if first is None or not isinstance(error, RuntimeError):
        return None
    weight = next((one for one in model.parameters() if one.is_floating_point()), None)
    if weight is not None and first.dtype != weight.dtype and _TYPES.search(str(error)):
        return TrainingError(
            expected=f"inputs of {weight.dtype}, as the weights are",
            found=str(first.dtype),
            where=where,
            hint=f"Convert the inputs with x.to({weight.dtype}), or the network with model.to({first.dtype}).",
        )
    if _SHAPES.search(str(error)):
        return TrainingError(
            expected="inputs of a shape that the layers take",
            found=f"{tuple(first.shape)}: {first_line(error)}",
            where=where,
            hint="Compare it with the first layer (in_features, in_channels), and each layer with the next.",
        )
    return None


def unfit_target(loss_fn: Any, outputs: Any, y: Any, *, error: Exception) -> TrainingError | None:
    """The mistake in the targets of a loss of torch; None where they do not explain the error."""
    if not isinstance(outputs, Tensor) or not isinstance(error, (RuntimeError, ValueError, IndexError, TypeError)):
        return None
    found, hint = f"{type(y).__name__}: {first_line(error)}", "torch.as_tensor(y) makes a tensor of an array or a list."
    if isinstance(y, Tensor):
        found = f"targets {tuple(y.shape)} of {y.dtype}: {first_line(error)}"
        hint = "Classes: y.long() of shape N for outputs N×C. Yes or no, and numbers: y.float() of the outputs' shape."
        if not y.is_floating_point() and y.dtype != torch.bool and y.numel() and "out of bounds" in str(error):
            found = f"labels from {int(y.min())} to {int(y.max())}"
            hint = "Number the classes from 0, and give the last layer an output for each."
    elif not _is_plain(y):
        return None
    return TrainingError(
        expected=f"targets that the loss takes with outputs {tuple(outputs.shape)}",
        found=found,
        where=getattr(loss_fn, "__name__", type(loss_fn).__name__),
        hint=hint,
    )


def _misfit_call(model: nn.Module, x: Any, error: Exception) -> TrainingError | None:
    """The mistake in how many inputs there are, or in their names; None where the network takes such."""
    where = _place(model)
    if isinstance(x, Mapping) and not takes(model, **x):
        return TrainingError(
            expected="batches whose keys are the arguments of the network",
            found=f"{', '.join(map(repr, x))}: {first_line(error)}",
            where=where,
            hint="Name the inputs as forward() names them, and leave out what it does not take.",
        )
    if type(x) is tuple and isinstance(error, TypeError) and not takes(model, *x):
        return TrainingError(
            expected="batches of what the network takes, and the target last",
            found=f"{len(x)} inputs and a target: {first_line(error)}",
            where=where,
            hint="Leave what is no input, such as an index, out of what the data set gives.",
        )
    return None


def _place(model: nn.Module) -> str:
    return f"the forward pass of {type(model).__name__}"


def takes(model: nn.Module, /, *inputs: Any, **named: Any) -> bool:
    """Whether a network can be called with such inputs, as far as its signature says."""
    try:
        inspect.signature(model.forward).bind(*inputs, **named)
    except TypeError:
        return False
    except ValueError:  # of compiled code there is none
        return True
    return True


def _is_plain(value: object) -> bool:
    """Whether a value is of Python or numpy: no network takes it, unless it was written to."""
    return value is None or type(value).__module__ in ("builtins", "numpy")
