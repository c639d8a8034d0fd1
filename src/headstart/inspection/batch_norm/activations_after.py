"""Which activation follows each batch norm: seen while the network runs, whatever its code looks like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_KINDS = {
    "relu": "relu",
    "relu_": "relu",
    "relu6": "relu6",
    "hardtanh": "relu6",  # what nn.ReLU6 calls
    "hardtanh_": "relu6",
    "hardswish": "hardswish",
    "hardswish_": "hardswish",
    "silu": "silu",
    "silu_": "silu",
    "gelu": "gelu",
}
SHUT = {"relu": 0.0, "relu6": 0.0, "hardswish": -3.0}
"""Activation → the value up to which it passes nothing."""
FULL = {"relu6": 6.0}
"""Activation → the value from which it passes no more."""


def activations_after(network: nn.Module, norms: Mapping[str, nn.Module], pixels: Tensor) -> dict[str, str]:
    """Path of a batch norm → the activation that takes its output as it is; those that add it or pool it are left out.

    Runs the network once. Modules that normalise and activate in one, as timm's do, are seen through.
    """
    watch = _Watch({id(norm.running_mean): name for name, norm in norms.items()})
    with watch:
        network(pixels)
    return watch.found


class _Watch(TorchFunctionMode):
    """Sees each call of torch's functions; follows the outputs of batch norms one call further."""

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__()
        self._names = names  # id of a running mean → path
        self._outputs: dict[int, tuple[str, Tensor]] = {}  # the tensor is kept, so that its id stays its own
        self.found: dict[str, str] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        waiting = self._outputs.pop(id(args[0]), None) if args else None
        kind = _KINDS.get(getattr(func, "__name__", ""))
        if waiting is not None and kind is not None:
            self.found[waiting[0]] = kind
        output = func(*args, **kwargs)
        mean = args[1] if len(args) > 1 else kwargs.get("running_mean")
        if func is F.batch_norm and id(mean) in self._names:
            self._outputs[id(output)] = (self._names[id(mean)], output)
        return output
