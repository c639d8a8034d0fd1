"""Build a network whose weights are loaded at once, without drawing random ones first: that takes half of the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

_DRAWS = {
    Tensor.normal_,
    Tensor.uniform_,
    # torch hands these over whole, and the others, such as xavier_normal_, by the two above
    init.normal_,
    init.uniform_,
    init.kaiming_normal_,
    init.kaiming_uniform_,
}


class SkipInit(TorchFunctionMode):
    """Within the block, tensors that would be filled with normal or uniform random numbers are filled with zeros.

    Zeros, since what a constructor computes of its weights must be finite; the rest of it, such as batch-norm
    statistics and masks, is as ever. No random number is drawn.
    """

    def __torch_function__(  # the signature that torch asks of a mode
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call what torch would call, but for the functions that draw."""
        if func in _DRAWS:
            tensor = args[0] if args else kwargs["tensor"]
            tensor.detach().zero_()
            return tensor
        return func(*args, **(kwargs or {}))


def reset_parameters(modules: Iterable[nn.Module]) -> None:
    """Draw the weights of modules, and of all in them, as their constructors would."""
    for module in modules:
        for one in module.modules():
            reset = getattr(one, "reset_parameters", None)
            if callable(reset):
                reset()
