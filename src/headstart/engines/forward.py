"""The forward pass of a frozen network in its cheaper forms: as it is, folded, compiled, on another device."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from headstart.backbones.backbone import Backbone
from headstart.engines.fold import fold
from headstart.engines.packed import can_pack, measure_shapes, pack
from headstart.errors import BackboneError

Forward = Callable[[Tensor], Tensor]
"""Normalised pixels N×3×S×S float32 → features N×D float32 of all stages."""

# glibc hands every block above 32 MiB back to the kernel at once; each use of one then pays for all of its pages anew,
# which took half of efficientnet_b0's time at a batch of 32
_PART_BYTES = 30_000_000
_USUAL_BATCH = 8  # images the packed layout is made for, when that many fit a part


def eager_forward(backbone: Backbone) -> Forward:
    """The network as it is, sharing the backbone's weights."""
    network = backbone.feature_extractor()

    def forward(pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            features: Tensor = network(pixels)
        return features

    return forward


def folded_forward(backbone: Backbone) -> Forward:
    """Batch norm folded, channels last in memory, convolutions packed where oneDNN is there, batches cut to fit.

    A batch is run in parts whose largest value stays under 30 MB, see `_PART_BYTES`.
    """
    body = fold(backbone.feature_extractor())
    part = max(1, _PART_BYTES // measure_shapes(body, backbone.preprocess.crop))
    if can_pack():
        with torch.no_grad():
            pack(body, min(part, _USUAL_BATCH))
    body = body.to(memory_format=torch.channels_last)
    width = sum(backbone.widths)

    def forward(pixels: Tensor) -> Tensor:
        if len(pixels) == 0:
            return torch.empty(0, width)
        with torch.inference_mode():
            parts = pixels.contiguous(memory_format=torch.channels_last).tensor_split(math.ceil(len(pixels) / part))
            return torch.cat([body(some) for some in parts])

    return forward


def compiled_forward(backbone: Backbone) -> Forward:
    """The folded network through torch.compile with frozen weights; the first run compiles, 10 to 60 s.

    Raises:
        BackboneError: torch cannot compile here, for want of a C++ compiler mostly.
    """
    from torch._inductor import config

    folded = fold(backbone.feature_extractor())
    compiled = torch.compile(folded, dynamic=True)

    def forward(pixels: Tensor) -> Tensor:
        with torch.no_grad(), config.patch(freezing=True):  # freezing refuses inference mode's tensors
            features: Tensor = compiled(pixels)
        return features

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            side = backbone.preprocess.crop
            forward(torch.zeros(2, 3, side, side))
    except Exception as error:  # the compiler's own errors are of many kinds
        first = str(error).strip().splitlines()[:1]
        raise BackboneError(
            expected="a network that torch.compile takes",
            found=f"{type(error).__name__}: {first[0] if first else ''}",
            where=backbone.spec.name,
            hint="It needs a C++ compiler (g++); --engine folded needs none.",
        ) from error
    return forward


def device_forward(backbone: Backbone, device: str) -> Forward:
    """A copy of the folded network on another device, in plain float32, so that features equal the CPU's.

    Channels last on CUDA; TF32 is off while it runs: its 10-bit products would differ by 1e-3.
    """
    layout = torch.channels_last if device.startswith("cuda") else torch.contiguous_format
    body = fold(backbone.feature_extractor()).to(device=device).to(memory_format=layout)

    def forward(pixels: Tensor) -> Tensor:
        with torch.inference_mode(), full_precision():
            features: Tensor = body(pixels.to(device, non_blocking=True).contiguous(memory_format=layout))
        return features

    return forward


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Convolutions and matrix products of CUDA in plain float32 here; the settings are put back."""
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32 = products.allow_tf32 = False
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before
