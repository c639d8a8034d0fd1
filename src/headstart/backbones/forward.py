"""The forward pass of a frozen network in its cheaper forms: as it is, folded, compiled, on another device."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from headstart.backbones.backbone import Backbone
from headstart.backbones.batch_norm import fold
from headstart.errors import BackboneError

Forward = Callable[[Tensor], Tensor]
"""Normalised pixels N×3×S×S float32 → features N×D float32 of all stages."""


def eager_forward(backbone: Backbone) -> Forward:
    """The network as it is, sharing the backbone's weights."""
    network = backbone.stage_network()

    def forward(pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            features: Tensor = network(pixels)
        return features

    return forward


def folded_forward(backbone: Backbone) -> Forward:
    """Batch norm folded into the layers before it, and weights and pixels laid out with channels last."""
    body = fold(backbone.stage_network()).to(memory_format=torch.channels_last)

    def forward(pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            features: Tensor = body(pixels.contiguous(memory_format=torch.channels_last))
        return features

    return forward


def compiled_forward(backbone: Backbone) -> Forward:
    """The folded network through torch.compile with frozen weights; the first run compiles, 10 to 60 s.

    Raises:
        BackboneError: torch cannot compile here, for want of a C++ compiler mostly.
    """
    from torch._inductor import config

    folded = fold(backbone.stage_network())
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
            where=backbone.row.name,
            hint="It needs a C++ compiler (g++); --engine folded needs none.",
        ) from error
    return forward


def device_forward(backbone: Backbone, device: str) -> Forward:
    """A copy of the folded network on another device, in plain float32, so that features equal the CPU's.

    Channels last on CUDA; TF32 is off while it runs: its 10-bit products would differ by 1e-3.
    """
    layout = torch.channels_last if device.startswith("cuda") else torch.contiguous_format
    body = fold(backbone.stage_network()).to(device=device).to(memory_format=layout)

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
