"""Rules about the places of an image: they stay apart from the channels, and all of them reach the output."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from headstart.best_practices.examination import Examination, NotApplicableError, NotCheckedError
from headstart.best_practices.rule import Issue, register_rule
from headstart.errors import kind_and_line
from headstart.hooks import place_output_hook
from headstart.inspection.graph import tensors_in

_RESHAPES = ("view", "reshape")
_SHORTEST = 8  # px of an image whose quarters mean something
_STRENGTH = 3.0  # of the noise in a quarter, in standard deviations of normalised pixels
_SAME, _OTHER = 1e-6, 1e-3  # of the largest output: rounding, and a change that is none


@register_rule(
    "channels and places exchanged",
    "warning",
    why="A reshape reads numbers in their order: from channels × places to places × channels it mixes both, so that no "
    "row stands for a place any more. Attention and means then compare what does not belong together.",
    source="torch.Tensor.reshape; torch.transpose",
    fix="Maps to tokens: x.flatten(2).transpose(1, 2). Tokens to maps: x.transpose(1, 2).reshape(n, c, h, w). Heads of "
    "attention: x.transpose(1, 2).reshape(n, t, -1).",
)
def channels_and_places(examination: Examination) -> Iterator[Issue]:
    """Reshapes between shapes that only a transpose leads to; where two axes are of one size nobody can know."""
    graph = examination.graph
    found = [graph.operations[index] for index in sorted(graph.used) if graph.operations[index].function in _RESHAPES]
    found = [one for one in found if _exchanges(one.input_shape, one.shape)]
    if found:
        before, after = ("×".join(map(str, shape)) for shape in (found[0].input_shape, found[0].shape))
        places = tuple(dict.fromkeys(one.module for one in found))
        yield Issue(places, f"reshapes that should be transposes: {len(found)}, first {before} to {after}")


def _exchanges(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """N×C×H×W or N×C×L to N×places×C, N×places×C to N×C×H×W, or N×heads×T×D to N×T×(heads·D)."""
    if len(before) < 3 or len(after) < 3 or before[0] != after[0] or 1 in before[1:] or 1 in after[1:]:
        return False
    if len(after) == 3 and len(before) in (3, 4):
        first, second = before[1], math.prod(before[2:])
        tokens = after[1:] == (second, first) and first not in (second, before[-1])
        heads = len(before) == 4 and after[1:] == (before[2], before[1] * before[3]) and before[1] != before[2]
        return tokens or heads
    maps = len(before) == 3 and len(after) == 4 and before[1] != before[2] and after[1] != after[3]
    return maps and after[1] == before[2] and after[2] * after[3] == before[1]


@register_rule(
    "part of the image unused",
    "warning",
    why="What the output does not depend on cannot be learnt: an index that takes one place leaves out the rest of "
    "the image.",
    source="measured: an image, and the same with noise in its first and in its last quarter",
    fix="Use all places: x.mean((2, 3)), or a pooling layer.",
)
def part_unused(examination: Examination) -> Iterator[Issue]:
    """Noise in the upper left quarter and in the lower right one: the output changes for one and not for the other."""
    if _recurrent(examination):
        raise NotApplicableError("recurrent layers, which forget")
    image = examination.sample_pixels(1)[:1]
    if image.ndim != 4 or min(image.shape[2:]) < _SHORTEST or not image.is_floating_point():
        raise NotApplicableError("its input is no image")
    found = _output(examination, _with_noise(image))
    if found is None or not found.ndim or len(found) != 3 or not bool(torch.isfinite(found).all()):
        return
    rows = found.double().reshape(len(found), -1)
    changes = ((rows[1:] - rows[0]).abs().amax(1) / rows.abs().max().clamp(min=1e-30)).tolist()
    if min(changes) <= _SAME and max(changes) >= _OTHER:
        named = ("upper left", "lower right")[changes.index(min(changes))]
        yield Issue((), f"the {named} quarter of an image changes nothing in the output")


@register_rule(
    "first step of a recurrent layer",
    "warning",
    why="A recurrent layer reads one step after another: its first result has seen the first step alone, its last one "
    "all of them.",
    source="torch.nn.GRU; torch.nn.LSTM; measured: noise in its first result and in its last one",
    fix="Use the last step: output[:, -1] with batch_first=True, else output[-1]; or the mean of all steps.",
)
def first_step(examination: Examination) -> Iterator[Issue]:
    """A recurrent layer in one direction whose first result reaches the output of the network, and whose last not."""
    layers = _recurrent(examination)
    if not layers:
        raise NotApplicableError("no recurrent layers")
    pixels = examination.sample_pixels(2)[:2]
    plain, repeated = _output(examination, pixels), _output(examination, pixels)
    if plain is None or repeated is None or not torch.equal(plain, repeated):
        return  # another rule's
    found = []
    for path, layer in layers.items():
        if not layer.bidirectional and examination.graph.calls.get(path) == 1:
            changed = [_output(examination, pixels, (layer, step)) for step in (0, -1)]
            first, last = (one is not None and not torch.equal(one, plain) for one in changed)
            found += [path] if first and not last else []
    if found:
        yield Issue(tuple(found), f"layers of which the first step is used and the last is not: {len(found)}")


def _recurrent(examination: Examination) -> dict[str, nn.RNNBase]:
    return {path: one for path, one in examination.modules.items() if isinstance(one, nn.RNNBase)}


def _output(examination: Examination, pixels: Tensor, noisy: tuple[nn.RNNBase, int] | None = None) -> Tensor | None:
    """The first tensor of what the network gives; `noisy`: a recurrent layer and the step whose result is changed.

    Raises:
        NotCheckedError: the network fails.
    """
    try:
        with torch.inference_mode(False), torch.no_grad(), ExitStack() as after:
            if noisy is not None:
                layer, step = noisy
                hook = place_output_hook(layer, lambda _, __, result: _shifted(result, step, layer.batch_first))
                after.callback(hook.remove)
            return next(tensors_in(examination.network(pixels.clone())), None)
    except Exception as error:  # a foreign forward may raise anything
        raise NotCheckedError(f"a working forward pass: {kind_and_line(error)}") from error


def _shifted(result: Any, step: int, batch_first: bool) -> Any:
    """What a recurrent layer gives, with another number at one of several steps; its state stays."""
    steps, *state = result
    axis = 1 if batch_first else 0
    if not isinstance(steps, Tensor) or steps.ndim != 3 or steps.shape[axis] < 2:
        return result  # packed, or of one sequence
    steps = steps.clone()
    steps.select(axis, step).add_(torch.linspace(-1, 1, steps.shape[-1]).to(steps))
    return (steps, *state)


def _with_noise(image: Tensor) -> Tensor:
    """3×C×H×W: an image, and the same with noise in its first and in its last quarter."""
    images, height, width = image.repeat(3, 1, 1, 1), image.shape[2] // 2, image.shape[3] // 2
    noise = _STRENGTH * torch.randn(image.shape[1:], generator=torch.Generator().manual_seed(0)).to(image)
    images[1, :, :height, :width] = noise[:, :height, :width]
    images[2, :, height:, width:] = noise[:, height:, width:]
    return images
