"""What a network's outputs are, logits or already probabilities: seen in the forward pass, and said by the loss.

A second sigmoid over probabilities moves all of them above one half, so that every sample is the second class.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

LOGITS, PROBABILITIES, LOG_PROBABILITIES = "logits", "probabilities", "log-probabilities"

_GIVES = {
    **dict.fromkeys(("sigmoid", "sigmoid_", "expit", "hardsigmoid"), PROBABILITIES),
    **dict.fromkeys(("softmax", "softmin", "gumbel_softmax"), PROBABILITIES),
    **dict.fromkeys(("log_softmax", "log_sigmoid", "logsigmoid"), LOG_PROBABILITIES),
}
"""Functions of torch, by name, and what they give."""

_SHAPES = ("view", "view_as", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "squeeze_", "unsqueeze_")
_VIEWS = ("transpose", "permute", "movedim", "t", "ravel", "expand", "select", "narrow", "__getitem__", "__get__")
_COPIES = (
    "contiguous",
    "clone",
    "detach",
    "to",
    "cpu",
    "cuda",
    "type",
    "type_as",
    "float",
    "double",
    "half",
    "bfloat16",
)
_LIMITS = ("clamp", "clamp_", "clip", "clamp_min", "clamp_max", "nan_to_num", "cat", "stack", "concat")
_RESTING = ("dropout", "dropout_", "dropout1d", "dropout2d", "dropout3d")  # in eval mode
_KEEPS = frozenset((*_SHAPES, *_VIEWS, *_COPIES, *_LIMITS, *_RESTING))
"""Functions that give what they take."""

_TURNS = {("exp", LOG_PROBABILITIES): PROBABILITIES, ("log", PROBABILITIES): LOG_PROBABILITIES}

_TAKES: tuple[tuple[type[nn.Module], Callable[..., Tensor], str], ...] = (
    (nn.BCELoss, F.binary_cross_entropy, PROBABILITIES),
    (nn.NLLLoss, F.nll_loss, LOG_PROBABILITIES),
    (nn.BCEWithLogitsLoss, F.binary_cross_entropy_with_logits, LOGITS),
    (nn.MultiLabelSoftMarginLoss, F.multilabel_soft_margin_loss, LOGITS),
    (nn.CrossEntropyLoss, F.cross_entropy, LOGITS),
)
"""Losses of torch, as modules and functions, and what they take."""

_PER_COLUMN = (nn.BCELoss, nn.BCEWithLogitsLoss, nn.MultiLabelSoftMarginLoss)
_SUM = 1e-3  # by which a row of probabilities may miss 1, in half precision
_NOTICED = 8  # samples from which outputs that all lie in [0, 1] are remarkable: of logits around 0 fewer may do so

_MARK = "_headstart_output_kind"


class _Watch(TorchFunctionMode):
    """Marks each tensor with what the function that gave it says about it."""

    def __torch_function__(  # torch's signature
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            kind = _kind_after(getattr(func, "__name__", "").removeprefix("special_"), args)
            if kind is not None or hasattr(result, _MARK):
                setattr(result, _MARK, kind)
        return result


@contextmanager
def watched_outputs() -> Iterator[None]:
    """Inside the block tensors remember what they are; compiled networks run as they were before compilation."""
    if "torch._dynamo" not in sys.modules:  # then nothing is compiled, and loading the compiler would take seconds
        with _Watch():
            yield
        return
    stance = getattr(torch.compiler, "set_stance", None)  # torch 2.6
    with stance("force_eager") if stance else torch._dynamo.config.patch(disable=True), _Watch():
        yield


def output_kind(outputs: Tensor, loss_fn: Any) -> str:
    """What N outputs are: `LOGITS`, `PROBABILITIES` or `LOG_PROBABILITIES`.

    The function that gave them decides, if it was watched. Else the values do where they cannot be anything else (rows
    that are above 0 and sum to 1), then the loss, then nothing: they are logits. Where the loss takes something else
    than the network gives, a warning says so.

    Args:
        outputs: N×C, N×1 or N, from a forward pass inside `watched_outputs`.
        loss_fn: that the network was trained with.
    """
    seen, taken = getattr(outputs, _MARK, None) or _by_values(outputs), _taken_by(loss_fn)
    inside = bool(((outputs >= 0) & (outputs <= 1)).all())
    if seen is None and taken == PROBABILITIES and inside:
        return PROBABILITIES
    if seen is None and taken == LOG_PROBABILITIES:
        seen = LOG_PROBABILITIES if _are_log_probabilities(outputs) else LOGITS
    kind = seen or LOGITS
    if taken is not None and seen is not None and seen != taken:
        warnings.warn(_mismatch(loss_fn, seen, taken), stacklevel=3)
    elif seen is None and taken in (None, LOGITS) and _columns(outputs) == 1 and inside and len(outputs) >= _NOTICED:
        why = f"{_name(loss_fn)} takes logits" if taken else "nothing says that they are probabilities"
        hint = "return the logits instead" if taken else "end the network in nn.Sigmoid or use BCELoss"
        warnings.warn(
            f"all outputs lie between 0 and 1, but {why}: they are taken as logits. If they are probabilities, {hint}",
            stacklevel=3,
        )
    return kind


def probabilities(outputs: Tensor, kind: str, loss_fn: Any) -> Tensor:
    """Probabilities of the same shape: of one column or several labels each on its own, else of classes that exclude
    each other."""
    if kind == PROBABILITIES:
        return outputs
    if kind == LOG_PROBABILITIES:
        return outputs.exp()
    return outputs.sigmoid() if _columns(outputs) == 1 or several_labels(loss_fn) else outputs.softmax(1)


def several_labels(loss_fn: Any) -> bool:
    """Whether the loss takes each column as a question of its own."""
    functions = [function for module, function, _ in _TAKES if module in _PER_COLUMN]
    return isinstance(loss_fn, _PER_COLUMN) or _function(loss_fn) in functions


def _kind_after(name: str, args: tuple[Any, ...]) -> str | None:
    if name in _GIVES:
        return _GIVES[name]
    first = args[0] if args else None
    of = first if isinstance(first, (list, tuple)) else [first]
    kinds = {getattr(one, _MARK, None) for one in of}
    (kind,) = kinds if len(kinds) == 1 else (None,)
    return kind if name in _KEEPS else _TURNS.get((name, kind)) if kind else None


def _by_values(outputs: Tensor) -> str | None:
    """Rows that are above 0 and sum to 1, or whose exponentials do, are no accident; a single column says nothing."""
    if _columns(outputs) == 1 or not len(outputs):
        return None
    if bool((outputs >= 0).all()) and _sum_to_one(outputs):
        return PROBABILITIES
    return LOG_PROBABILITIES if _are_log_probabilities(outputs) else None


def _are_log_probabilities(outputs: Tensor) -> bool:
    if not bool((outputs <= 0).all()):
        return False
    return _columns(outputs) == 1 or _sum_to_one(outputs.exp())


def _sum_to_one(rows: Tensor) -> bool:
    return bool(((rows.double().sum(1) - 1).abs() < _SUM).all())


def _columns(outputs: Tensor) -> int:
    return 1 if outputs.dim() < 2 else outputs.shape[1]


def _taken_by(loss_fn: Any) -> str | None:
    function = _function(loss_fn)
    return next((takes for kind, one, takes in _TAKES if isinstance(loss_fn, kind) or function is one), None)


def _function(loss_fn: Any) -> Any:
    return loss_fn.func if isinstance(loss_fn, partial) else getattr(loss_fn, "__wrapped__", loss_fn)


def _name(loss_fn: Any) -> str:
    plain = _function(loss_fn)
    return str(getattr(plain, "__name__", type(plain).__name__))


def _mismatch(loss_fn: Any, seen: str, taken: str) -> str:
    words = f"the network returns {seen}, but {_name(loss_fn)} takes {taken}"
    if taken == LOGITS:
        return f"{words} and turns them into probabilities once more: return the logits, without the last activation"
    if taken == PROBABILITIES:
        return f"{words}: use BCEWithLogitsLoss, or end the network in a sigmoid"
    return f"{words}: use CrossEntropyLoss, or end the network in LogSoftmax"
