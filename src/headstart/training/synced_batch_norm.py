"""Batch norm over the whole batch where several processes share it: live statistics as one process would have them.

The function that every layer calls is replaced while a forward pass runs, not the layers. So subclasses keep what they
do besides, such as the activation inside timm's BatchNormAct2d, which conversions of layers lose (pytorch#187298), and
names of weights stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from headstart.errors import TrainingError


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        """The sum."""
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """The sum of gradients."""
        total = grads[0].clone()
        dist.all_reduce(total)
        return total


def _sum(tensor: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(tensor)
    return total


class SyncedBatchNorm(TorchFunctionMode):
    """Within it, batch norm in train mode takes the mean and variance of all processes' rows.

    Its gradients pass through the sums, so that they are those of one process; backward sends messages too.

    Args:
        idle: the rows of this process only stand in, where a batch has fewer rows than there are processes: they count
            nothing.
    """

    def __init__(self, *, idle: bool = False) -> None:
        super().__init__()
        self.idle = idle

    def __torch_function__(  # torch's parameters
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run a function of torch; of batch norm, ours."""
        if func is F.batch_norm:
            return self._normalise(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _normalise(  # torch's parameters, in its order
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            plain: Tensor = F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
            return plain
        exact = input.float()  # sums of bfloat16 would lose the digits that differ
        x = exact.transpose(1, -1).reshape(-1, input.shape[1])  # M×C: every value of a channel
        counts = 0.0 if self.idle else 1.0
        count = _sum(torch.tensor(counts * len(x), dtype=torch.float64))
        if count < 2:
            raise TrainingError(
                expected="two or more values in each channel: batch norm has no deviation over one",
                found="one",
                where="batch norm live",
                hint="Use --batch-norm frozen.",
            )
        mean = _sum(counts * x.sum(dim=0)) / count
        var = _sum(counts * (x - mean).square().sum(dim=0)) / count
        with torch.no_grad():
            if running_mean is not None and running_var is not None:
                running_mean.lerp_(mean, momentum)
                running_var.lerp_(var * (count / (count - 1)), momentum)
        shape = (1, -1, *[1] * (input.dim() - 2))
        out: Tensor = (exact - mean.view(shape)) * (var + eps).rsqrt().view(shape)
        if weight is not None:
            out = out * weight.view(shape)
        return (out if bias is None else out + bias.view(shape)).to(input.dtype)
