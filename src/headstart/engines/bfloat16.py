"""bfloat16: a backbone's network with 8-bit mantissas, channels last, on processors and GPUs that multiply them."""

from __future__ import annotations

import copy
import hashlib

import torch
from torch import Tensor, fx, nn

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.backbones.low_precision import LowPrecision
from headstart.engines.fold import fold
from headstart.engines.forward import Forward
from headstart.errors import BackboneError

# x86, x86 with tiles, ARM; on others it is 3 to 21 times slower than float32
_HARDWARE = frozenset(("avx512_bf16", "amx_bf16", "bf16"))


def has_bfloat16(device: str = "cpu") -> bool:
    """Whether this processor, or this GPU, multiplies bfloat16 itself."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and not _HARDWARE.isdisjoint(runtime.cpu_flags())


def require_bfloat16(option: str = "--precision", other: str = "int8 or float32", *, device: str = "cpu") -> None:
    """Check that bfloat16 is worth its name here.

    Args:
        option: that asks for it. other: what it can be instead. device: where the network runs.

    Raises:
        BackboneError: this device has no such instruction.
    """
    if not has_bfloat16(device):
        raise BackboneError(
            expected="a processor that multiplies bfloat16 (AVX-512 BF16, AMX, or ARM BF16), or such a CUDA GPU",
            found=f"{device}, which does not: it would be slower than float32",
            where=f"{option} bfloat16",
            hint=f"Use {option} {other}.",
        )


def attach_bfloat16(backbone: Backbone) -> None:
    """Let a backbone compute its features in bfloat16, from its weights as they are now.

    Where the processor does not multiply bfloat16 the features stay float32: a classifier that was trained on a machine
    that does answers there too, as quickly as any other, within the rounding of bfloat16.
    """
    digest = hashlib.sha256(f"bfloat16 {backbone.fingerprint}".encode()).hexdigest()
    forward = _forward(backbone) if has_bfloat16() else backbone.plain_features
    backbone.low_precision = LowPrecision("bfloat16", forward, digest)


def _forward(backbone: Backbone) -> Forward:
    network = backbone.inference.body
    body = fold(backbone.inference) if isinstance(network, fx.GraphModule) else copy.deepcopy(network)
    return _BFloat16Forward(body.to(torch.bfloat16).to(memory_format=torch.channels_last))


class _BFloat16Forward:
    """Pixels → features by a network in bfloat16; no closure, so that a classifier can go to another process."""

    def __init__(self, body: nn.Module) -> None:
        self._body = body

    def __call__(self, pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            features: Tensor = self._body(pixels.to(torch.bfloat16).contiguous(memory_format=torch.channels_last))
        return features.float()
