"""Rules about the forward pass on images: whether it works at all, and which channels never fire."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from headstart.best_practices.examination import Examination, NotApplicableError, NotCheckedError
from headstart.best_practices.rule import Issue, register_rule
from headstart.inspection.graph import CONVOLUTIONS, WEIGHTED, Graph, GraphFollower
from headstart.wording import percent

_RELUS = ("relu", "relu6", "threshold")
_LEAST = 32  # images; with fewer, a channel for something rare seems dead
_MANY, _MOST = 0.25, 0.75  # share of a layer's channels; measured on five trained networks, see docs/doctor.md


@register_rule(
    "failing forward pass",
    "error",
    needs=("images",),
    why="A network that fails on its images, or outputs nan or infinity, predicts nothing.",
    source="measured",
    fix="Read the message: most often the number of channels, the image size, or a division by zero is the cause.",
)
def failing_forward_pass(examination: Examination) -> Iterator[Issue]:
    """A forward pass over some of the images that raises, or returns nan or infinity."""
    pixels = examination.sample_pixels()
    try:
        with torch.inference_mode():
            output = examination.network(pixels)
    except Exception as error:  # a foreign forward may raise anything
        text = (str(error).strip().splitlines() or [""])[0][:200]
        yield Issue((), f"{type(error).__name__} on images {tuple(pixels.shape)}: {text}")
        return
    if isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
        bad = int((~torch.isfinite(output.flatten(1))).any(1).sum())
        yield Issue((), f"nan or infinity in the output for {bad} of {len(pixels)} images")


@register_rule(
    "dead ReLUs",
    "advice",
    "warning",
    "error",
    needs=("images",),
    why="A channel that is zero on every image passes no gradient back and never recovers; a layer of such channels "
    "passes nothing on.",
    source="Maas, Hannun and Ng 2013, Rectifier Nonlinearities Improve Neural Network Acoustic Models, section 2",
    fix="Use a smaller learning rate, He initialisation, batch norm before the ReLU, or a leaky ReLU; check that the "
    "images are normalised. In a pretrained network these may be channels for objects that these images do not show.",
)
def dead_relus(examination: Examination) -> Iterator[Issue]:
    """Share of each ReLU's channels that are zero everywhere on at least 32 images."""
    images = 0 if examination.images is None else len(examination.images)
    if not examination.graph.find(*_RELUS):
        raise NotApplicableError("no ReLU")
    if images < _LEAST:
        raise NotCheckedError(f"{_LEAST} images or more (there are {images})")
    shares = _dead_shares(examination)
    by_severity = {
        "error": tuple(path for path, share in shares.items() if share == 1),
        "warning": tuple(path for path, share in shares.items() if _MOST <= share < 1),
        "advice": tuple(path for path, share in shares.items() if _MANY <= share < _MOST),
    }
    for severity, paths in by_severity.items():
        if paths:
            worst = percent(max(shares[path] for path in paths))
            yield Issue(paths, f"up to {worst} of a layer's channels are zero on all {images} images", severity)


def _dead_shares(examination: Examination) -> dict[str, float]:
    """Name of a ReLU → share of its channels that never fire."""
    graph = examination.graph
    relus = graph.find(*_RELUS)
    fired: dict[int, Tensor] = {}

    def note(index: int, value: Tensor) -> None:
        channels = _channel_axis(graph, index)
        alive = value.amax([axis for axis in range(value.ndim) if axis != channels]) > 0
        fired[index] = alive if index not in fired else fired[index] | alive

    for pixels in examination.batches():
        with torch.inference_mode(), GraphFollower(graph, watched=relus, on_result=note):
            examination.network(pixels)
    return {_name(graph, relus, index): 1 - float(alive.float().mean()) for index, alive in fired.items()}


def _channel_axis(graph: Graph, index: int) -> int:
    """1 for maps, vectors and sequences N×C×L, which a convolution or batch norm computed; 2 for tokens N×L×C."""
    shape, layer = graph.operations[index].shape, index
    while layer >= 0 and graph.operations[layer].function not in (*WEIGHTED, "batch_norm"):
        layer = graph.first_input(layer)
    if len(shape) != 3:
        return 1
    sequence = layer >= 0 and graph.operations[layer].function in (*CONVOLUTIONS, "batch_norm")
    return 1 if sequence and graph.operations[layer].shape[1] == shape[1] else 2  # of another size: transposed since


def _name(graph: Graph, relus: list[int], index: int) -> str:
    """The module's path, and which of its ReLUs where it runs several."""
    path = graph.operations[index].module
    own = [other for other in relus if graph.operations[other].module == path]
    return path if len(own) == 1 else f"{path} (ReLU {own.index(index) + 1} of {len(own)})"
