"""Rules about what a network computes on images: whether it runs at all, and which of its channels never fire."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from headstart.best_practices.examination import Examination, NotApplicableError, NotCheckedError
from headstart.best_practices.rule import Issue, rule
from headstart.inspection.graph import CONVOLUTIONS, WEIGHING, StepWatcher, Trace

_RELUS = ("relu", "relu6", "threshold")
_LEAST = 32  # images; with fewer, a channel for something rare is taken for dead
_MANY, _MOST = 0.25, 0.75  # share of a layer's channels; measured on five trained networks, see docs/doctor.md


@rule(
    "failing forward pass",
    "error",
    needs=("images",),
    why="A network that fails on the images it is for, or answers with no numbers, predicts nothing.",
    source="measured",
    fix="Read the message: mostly it is the number of channels, the side of the images, or a division by zero.",
)
def failing_forward_pass(case: Examination) -> Iterator[Issue]:
    """A forward pass over some of the images that raises, or gives nan or infinity."""
    pixels = case.some_pixels()
    try:
        with torch.inference_mode():
            output = case.network(pixels)
    except Exception as error:  # a stranger's forward may raise anything
        text = (str(error).strip().splitlines() or [""])[0][:200]
        yield Issue((), f"{type(error).__name__} on images {tuple(pixels.shape)}: {text}")
        return
    if isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
        bad = int((~torch.isfinite(output.flatten(1))).any(1).sum())
        yield Issue((), f"nan or infinity in the answers to {bad} of {len(pixels)} images")


@rule(
    "dead ReLUs",
    "advice",
    "warning",
    "error",
    needs=("images",),
    why="A channel that is zero on every image passes no gradient back and never recovers; in a layer of them nothing "
    "gets through.",
    source="Maas, Hannun and Ng 2013, Rectifier Nonlinearities Improve Neural Network Acoustic Models, section 2",
    fix="Smaller learning rate, He initialisation, batch norm before the ReLU, or a leaky ReLU; check that the images "
    "are normalised. In a pretrained network: channels for things that are not in these images.",
)
def dead_relus(case: Examination) -> Iterator[Issue]:
    """Share of each ReLU's channels that are zero everywhere on at least 32 images."""
    images = 0 if case.images is None else len(case.images)
    if not case.trace.of(*_RELUS):
        raise NotApplicableError("no ReLU")
    if images < _LEAST:
        raise NotCheckedError(f"{_LEAST} images or more (there are {images})")
    shares = _dead_shares(case)
    kinds = {
        "error": tuple(path for path, share in shares.items() if share == 1),
        "warning": tuple(path for path, share in shares.items() if _MOST <= share < 1),
        "advice": tuple(path for path, share in shares.items() if _MANY <= share < _MOST),
    }
    for severity, paths in kinds.items():
        if paths:
            worst = max(shares[path] for path in paths)
            yield Issue(paths, f"up to {worst:.0%} of a layer's channels are zero on all {images} images", severity)


def _dead_shares(case: Examination) -> dict[str, float]:
    """Where a ReLU runs → share of its channels that never fire."""
    trace = case.trace
    relus = trace.of(*_RELUS)
    fired: dict[int, Tensor] = {}

    def look(place: int, value: Tensor) -> None:
        channels = _axis_of_channels(trace, place)
        alive = value.amax([axis for axis in range(value.ndim) if axis != channels]) > 0
        fired[place] = alive if place not in fired else fired[place] | alive

    for pixels in case.batches():
        with torch.inference_mode(), StepWatcher(trace, relus, look):
            case.network(pixels)
    return {_name(trace, relus, place): 1 - float(alive.float().mean()) for place, alive in fired.items()}


def _axis_of_channels(trace: Trace, place: int) -> int:
    """1 for maps, vectors and rows N×C×L, which a convolution or batch norm made; 2 for tokens N×L×C."""
    shape, made = trace.steps[place].shape, place
    while made >= 0 and trace.steps[made].function not in (*WEIGHING, "batch_norm"):
        made = trace.source(made)
    if len(shape) != 3:
        return 1
    rows = made >= 0 and trace.steps[made].function in (*CONVOLUTIONS, "batch_norm")
    return 1 if rows and trace.steps[made].shape[1] == shape[1] else 2  # of another size: turned since


def _name(trace: Trace, relus: list[int], place: int) -> str:
    """The module's path, and which of its ReLUs where it runs several."""
    path = trace.steps[place].module
    those = [other for other in relus if trace.steps[other].module == path]
    return path if len(those) == 1 else f"{path} (ReLU {those.index(place) + 1} of {len(those)})"
