"""LowPrecision: a backbone's forward pass in int8 or bfloat16, in the place of the float32 one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class LowPrecision:
    """The network that a classifier really runs where it is not the float32 one.

    Args:
        name: int8 or bfloat16.
        forward: normalised pixels N×3×S×S float32 on the CPU → features N×D float32 of all stages; keeps no gradients,
            and several threads may call it at once.
        fingerprint: SHA-256 (hex) of what it computes; features of another one are not comparable.
        model: the quantised network as the bytes of an ONNX file; empty for bfloat16, which runs the float32 weights.
        scales: name of each tensor of the backbone that the model has in int8 → what to multiply its integers by, one
            number for each output channel, to get the tensor itself.
    """

    name: str
    forward: Callable[[Tensor], Tensor]
    fingerprint: str
    model: bytes = b""
    scales: Mapping[str, Tensor] = field(default_factory=dict)
