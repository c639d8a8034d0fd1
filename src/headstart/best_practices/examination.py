"""Case: a network under examination, what was handed in with it, and what several rules measure of it only once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from headstart.inspection.graph import Trace, record
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel
from headstart.inspection.module_attributes import has_values
from headstart.preserve import preserve

NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)

# px tried where nobody says what the network takes
_SIDES = (224, 32, 64, 96, 28, 256, 299, 384, 192, 240, 336, 112, 448)
_SOME = 16  # images that show more than one does


class NotCheckedError(Exception):
    """A rule cannot tell; the text says what it lacks."""


class NotApplicableError(Exception):
    """A rule is about something that is not there; the text says what."""


@dataclass(frozen=True)
class _Pass:
    trace: Trace
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Examination:
    """What the rules look at. The network is in eval mode while they do; how it was found is in `modes`.

    Args:
        modes: path of a module → whether it was in train mode.
        live: paths of the modules that are in train mode after the network's own `.train()`.
        optimizers: those that train it; None where none was handed in.
        batch_size: images in a step of training. steps: of the training to come.
        file: the classifier file it was loaded from.
    """

    subject: InspectedModel
    modes: dict[str, bool]
    live: frozenset[str]
    images: InspectedImages | None = None
    optimizers: tuple[Optimizer, ...] | None = None
    batch_size: int | None = None
    steps: int | None = None
    file: Path | None = None

    @property
    def network(self) -> nn.Module:
        """The network itself."""
        return self.subject.network

    @cached_property
    def modules(self) -> dict[str, nn.Module]:
        """Path → module, the network's own first."""
        return dict(self.network.named_modules())

    @cached_property
    def batch_norms(self) -> dict[str, _BatchNorm]:
        """Path → batch norm, of any dimension."""
        return {path: module for path, module in self.modules.items() if isinstance(module, _BatchNorm)}

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers by name.

        Raises:
            NotCheckedError: they have no values.
        """
        found = {**dict(self.network.named_parameters()), **dict(self.network.named_buffers())}
        if not all(has_values(value) for value in found.values()):
            raise NotCheckedError("weights with values: this network has shapes only")
        return found

    def affine_moved(self, path: str) -> bool | None:
        """Whether scale and shift of a normalisation are no longer 1 (or 0, so begun) and 0; None: it has none."""
        _ = self.tensors
        module = self.modules[path]
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if not isinstance(weight, Tensor):
            return None
        begun = bool((weight == 1).all()) or bool((weight == 0).all())
        return not (begun and (not isinstance(bias, Tensor) or bool((bias == 0).all())))

    @cached_property
    def is_untrained(self) -> bool:
        """Whether all normalisations have the scales and shifts they begin with; a few steps of training move them."""
        moved = [self.affine_moved(path) for path, module in self.modules.items() if isinstance(module, NORMS)]
        return any(one is not None for one in moved) and not any(moved)

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """Parameters that ask for a gradient, by name."""
        return {name: value for name, value in self.network.named_parameters() if value.requires_grad}

    @property
    def trace(self) -> Trace:
        """What the network calls in a forward pass.

        Raises:
            NotCheckedError: it runs on none of the inputs tried.
        """
        found = self._first_pass
        if isinstance(found, str):
            raise NotCheckedError(f"a forward pass that works: {found}")
        return found.trace

    @property
    def calls(self) -> Mapping[str, int] | None:
        """Path of a module → how often it runs in a forward pass; None where that is not known."""
        return None if isinstance(self._first_pass, str) else self._first_pass.trace.calls

    def some_pixels(self, most: int = _SOME) -> Tensor:
        """Some of the images, or as many of seeded noise in the shape that the network takes.

        Raises:
            NotCheckedError: the network has no values, or runs on nothing.
        """
        _ = self.tensors
        if self.images is not None:
            return self.pixels_on_device(self.images.pixels[:most])
        found = self._first_pass
        if isinstance(found, str):
            raise NotCheckedError(f"a forward pass that works: {found}")
        noise = torch.randn(most, *found.shape[1:], generator=torch.Generator().manual_seed(0))
        return self.pixels_on_device(noise)

    def pixels_on_device(self, pixels: Tensor) -> Tensor:
        """Pixels where the network's weights are, in their precision."""
        weight = next((p for p in self.network.parameters() if p.is_floating_point()), None)
        return pixels if weight is None else pixels.to(weight.device, weight.dtype)

    def batches(self) -> Iterator[Tensor]:
        """All images handed in, some at a time."""
        for pixels in self.images.batches() if self.images is not None else ():
            yield self.pixels_on_device(pixels)

    @cached_property
    def _first_pass(self) -> _Pass | str:
        """The first that works, or what the network raised on the likeliest input."""
        said = ""
        for shape in self._shapes():
            for on_meta in (True, False):
                try:
                    return _Pass(record(self.network, self._blank(shape, on_meta), on_meta=on_meta), shape)
                except NotCheckedError as error:
                    said = said or str(error)
                except Exception as error:  # a stranger's forward may raise anything
                    text = (str(error).strip().splitlines() or [""])[0][:160]
                    said = said or f"{type(error).__name__}: {text}"
        return said or "no input is known that it takes"

    def _blank(self, shape: Sequence[int], on_meta: bool) -> Tensor:
        if not on_meta:
            _ = self.tensors
            return self.pixels_on_device(torch.zeros(*shape))
        weight = next((p for p in self.network.parameters() if p.is_floating_point()), None)
        return torch.empty(*shape, device="meta", dtype=None if weight is None else weight.dtype)

    def _shapes(self) -> Iterator[tuple[int, ...]]:
        """Shapes that the network may take, the likeliest first; two images, so that one is not taken for all."""
        if self.images is not None:
            yield (2, *self.images.pixels.shape[1:])
        elif self.subject.preprocess is not None:
            yield (2, 3, self.subject.preprocess.crop, self.subject.preprocess.crop)
        else:
            given = getattr(self.network, "pretrained_cfg", None)  # of a network that timm made
            if isinstance(given, dict) and "input_size" in given:
                yield (2, *given["input_size"])
            yield from _guessed(self.modules)


def _guessed(modules: dict[str, nn.Module]) -> Iterator[tuple[int, ...]]:
    first = next((m for m in modules.values() if isinstance(m, (nn.Conv2d, nn.Linear, nn.Conv1d))), None)
    if isinstance(first, nn.Linear):
        yield (2, first.in_features)
        side = round((first.in_features / 3) ** 0.5), round(first.in_features**0.5)
        yield from (shape for shape in ((2, 3, side[0], side[0]), (2, 1, side[1], side[1])))
    elif isinstance(first, nn.Conv1d):
        yield from ((2, first.in_channels, side) for side in _SIDES)
    else:
        channels = first.in_channels if first is not None else 3
        yield from ((2, channels, side, side) for side in _SIDES)
        norm = next((m for m in modules.values() if isinstance(m, _BatchNorm)), None)
        if norm is not None:
            yield (2, norm.num_features, 8, 8)
            yield (2, norm.num_features)


def examination_of(
    subject: InspectedModel,
    *,
    images: InspectedImages | None,
    optimizers: tuple[Optimizer, ...] | None,
    batch_size: int | None,
    steps: int | None,
    file: Path | None,
) -> Examination:
    """Note in which modes a network is and which its own `.train()` would bring; they are put back."""
    network = subject.network
    modes = {path: module.training for path, module in network.named_modules()}
    with preserve(network, weights=False):
        network.train()  # its own: a frozen part, or a class of the user's, may answer by staying in eval mode
        live = frozenset(path for path, module in network.named_modules() if module.training)
    return Examination(subject, modes, live, images, optimizers, batch_size, steps, file)
