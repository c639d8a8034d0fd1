"""Forward passes of a backbone for inference: eager, folded, compiled, on another device."""

from __future__ import annotations

import contextlib
import copy
import math
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, fx

from headstart.backbones.backbone import Backbone
from headstart.engines.fold import fold
from headstart.engines.packed import can_pack, measure_shapes, pack
from headstart.errors import BackboneError, kind_and_line

Forward = Callable[[Tensor], Tensor]
"""Normalised pixels N×3×S×S float32 → features N×D float32 of all stages."""

# glibc returns every block above 32 MiB to the kernel at once; each use of one then pays for all its pages again, which
# took half of efficientnet_b0's time at a batch of 32
_CHUNK_BYTES = 30_000_000
_USUAL_BATCH = 8  # images the packed layout is made for, when that many fit a chunk


def eager_forward(backbone: Backbone) -> Forward:
    """The network itself, in eval mode, sharing the backbone's weights."""
    return backbone.plain_features


def folded_forward(backbone: Backbone, *, chunk_bytes: int = _CHUNK_BYTES, packed: bool = True) -> Forward:
    """Batch norm folded, channels last in memory, convolutions packed where torch has oneDNN, batches in chunks.

    Args:
        chunk_bytes: no value of the graph becomes larger; a batch runs in chunks for it.
        packed: False leaves the convolutions as they are.

    Raises:
        BackboneError: the network cannot be traced.
    """
    body = fold(backbone.inference)
    chunk = max(1, chunk_bytes // measure_shapes(body, backbone.preprocess.crop))
    if packed and can_pack():
        with torch.no_grad():
            pack(body, min(chunk, _USUAL_BATCH))
    body = body.to(memory_format=torch.channels_last)
    width = sum(backbone.widths)

    def forward(pixels: Tensor) -> Tensor:
        if len(pixels) == 0:
            return torch.empty(0, width)
        with torch.inference_mode():
            chunks = pixels.contiguous(memory_format=torch.channels_last).tensor_split(math.ceil(len(pixels) / chunk))
            return torch.cat([body(some) for some in chunks])

    return forward


def compiled_forward(backbone: Backbone) -> Forward:
    """The folded network through torch.compile with frozen weights; the first run compiles, 10 to 60 s.

    Raises:
        BackboneError: torch cannot compile here, mostly because there is no C++ compiler.
    """
    from torch._inductor import config

    folded = fold(backbone.inference)
    compiled = torch.compile(folded, dynamic=True)

    def forward(pixels: Tensor) -> Tensor:
        with torch.no_grad(), config.patch(freezing=True):  # freezing refuses inference mode's tensors
            features: Tensor = compiled(pixels)
        return features

    _first_run(forward, backbone)
    return forward


def _first_run(forward: Forward, backbone: Backbone) -> None:
    """Let torch compile, which it does when a function is first called."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            side = backbone.preprocess.crop
            forward(torch.zeros(2, 3, side, side))
    except Exception as error:  # the compiler's own errors are of many kinds
        raise BackboneError(
            expected="a network that torch.compile takes",
            found=kind_and_line(error),
            where=backbone.spec.name,
            hint="It needs a C++ compiler (g++); --engine folded needs none, nor does --engine eager on a GPU.",
        ) from error


def device_forward(
    backbone: Backbone, device: str, *, dtype: torch.dtype = torch.float32, compiled: bool = False
) -> Forward:
    """A copy of the network on another device, folded if it can be; in float32 its features equal the CPU's.

    Channels last on CUDA; TF32 is off while it runs: its 10-bit products would differ by 1e-3.

    Args:
        dtype: the network computes in; its features are float32.
        compiled: through torch.compile: on a GPU, what lies between the convolutions is half of the time.

    Raises:
        BackboneError: torch cannot compile here.
    """
    layout = torch.channels_last if device.startswith("cuda") else torch.contiguous_format
    inference = backbone.inference
    body = fold(inference) if isinstance(inference.body, fx.GraphModule) else copy.deepcopy(inference.body)
    body = body.to(device=device, dtype=dtype).to(memory_format=layout)
    run = torch.compile(body, dynamic=True) if compiled else body

    def forward(pixels: Tensor) -> Tensor:
        with torch.inference_mode(), full_precision():
            features: Tensor = run(pixels.to(device, dtype, non_blocking=True).contiguous(memory_format=layout))
        return features.float()

    if compiled:
        _first_run(forward, backbone)
    return forward


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Inside, CUDA computes convolutions and matrix products in plain float32; the settings are restored."""
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32 = products.allow_tf32 = False
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before
