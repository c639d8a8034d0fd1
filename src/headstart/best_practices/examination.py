"""Examination: a network, the inputs that came with it, and what several rules measure of it only once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from headstart.backbones.weight_files import not_finite
from headstart.best_practices.drawn_weights import is_drawn
from headstart.best_practices.paired_passes import PairedPasses, run_paired_passes
from headstart.best_practices.training_pass import TrainingPass, gradients_of, run_training_pass
from headstart.errors import kind_and_line
from headstart.inspection.graph import Graph, record_graph
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel
from headstart.inspection.module_attributes import has_values
from headstart.preserve import preserve

NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)
INPUTS = {
    "images": "images",
    "optimizer": "the optimiser",
    "loss": "the loss",
    "batch": "a batch",
    "batch_size": "the batch size",
    "steps": "the number of steps",
    "file": "the classifier file",
}
"""What a rule may need besides the model → how the diagnosis names it."""

# px tried where the input size is unknown
_SIDES = (224, 32, 64, 96, 28, 256, 299, 384, 192, 240, 336, 112, 448)
_SAMPLE = 16  # images that show more than one does
_TRAINED_ON = 2  # images of the training pass, whose time grows with them
_MOST_BYTES = 4e9  # of results that a training pass may hold; two images through ResNet-152 need 0.6 GB
_TRAINED_ON_VECTORS = 3  # where batch norm sees one value per image: of two it makes +1 and -1, whatever they are


Loss = Callable[[Any, Any], Tensor]

Batch = tuple[Any, Any]
"""Inputs and targets of one training step."""


class NotCheckedError(Exception):
    """A rule cannot be checked; the text says what it needs."""


class NotApplicableError(Exception):
    """A rule is about something that is not there; the text says what."""


@dataclass(frozen=True)
class _Pass:
    graph: Graph
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Examination:
    """What a rule is given. The network is in eval mode meanwhile; `modes` says how it was before.

    Args:
        inspected: the model with its stages, classes and preprocessing.
        modes: path of a module → whether it was in train mode.
        live: paths of the modules that are in train mode after the network's own `.train()`.
        images: normalised; None, like all below: not given.
        optimizers: those that train it.
        loss: function of outputs and targets that training minimises.
        batch: inputs and targets of a training step.
        batch_size: images per training step.
        steps: of the training to come.
        file: the classifier file it was loaded from.
    """

    inspected: InspectedModel
    modes: dict[str, bool]
    live: frozenset[str]
    images: InspectedImages | None = None
    optimizers: tuple[Optimizer, ...] | None = None
    loss: Loss | None = None
    batch: Batch | None = None
    batch_size: int | None = None
    steps: int | None = None
    file: Path | None = None

    @classmethod
    def of(  # what a rule may need, each of which may be missing
        cls,
        inspected: InspectedModel,
        *,
        images: InspectedImages | None = None,
        optimizers: Sequence[Optimizer] | None = None,
        loss: Loss | None = None,
        batch: Batch | None = None,
        batch_size: int | None = None,
        steps: int | None = None,
        file: Path | None = None,
    ) -> Examination:
        """Note the modes of a network, and those that its own `.train()` would bring; they are restored."""
        network = inspected.network
        modes = {path: module.training for path, module in network.named_modules()}
        with preserve(network, weights=False):
            with suppress(NotImplementedError):  # of torch.export, which cannot
                network.train()  # its own: a frozen layer, or a class of yours, may stay in eval mode
            live = frozenset(path for path, module in network.named_modules() if module.training)
        return cls(
            inspected,
            modes,
            live,
            images=images,
            optimizers=None if optimizers is None else tuple(optimizers),
            loss=loss,
            batch=batch,
            batch_size=batch_size,
            steps=steps,
            file=file,
        )

    def missing(self, needs: Sequence[str]) -> list[str]:
        """Which of these inputs were not given, in words."""
        given = {
            "images": self.images,
            "optimizer": self.optimizers,
            "loss": self.loss,
            "batch": self.batch,
            "batch_size": self.batch_size,
            "steps": self.steps,
            "file": self.file,
        }
        return [INPUTS[need] for need in needs if given[need] is None]

    @property
    def network(self) -> nn.Module:
        """The network itself."""
        return self.inspected.network

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

    @cached_property
    def non_finite(self) -> tuple[str, ...]:
        """Names of the tensors that hold nan or infinity, but limits and masks.

        Raises:
            NotCheckedError: they have no values.
        """
        return tuple(not_finite(self.tensors))

    def affine_moved(self, path: str) -> bool | None:
        """Whether scale and shift of a normalisation differ from their initial 1 (or 0) and 0; None: it has none."""
        _ = self.tensors
        module = self.modules[path]
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if not isinstance(weight, Tensor):
            return None
        initial = bool((weight == 1).all()) or bool((weight == 0).all())
        return not (initial and (not isinstance(bias, Tensor) or bool((bias == 0).all())))

    @cached_property
    def is_untrained(self) -> bool:
        """Whether all normalisations have their initial scale and shift; a few steps of training move them."""
        moved = [self.affine_moved(path) for path, module in self.modules.items() if isinstance(module, NORMS)]
        return any(one is not None for one in moved) and not any(moved)

    @cached_property
    def looks_untrained(self) -> bool:
        """Whether all weights look like numbers just drawn, whatever scale the normalisations begin with."""
        weights = [value for name, value in self.network.named_parameters() if value.ndim > 1]
        return bool(weights) and all(is_drawn(weight) for weight in weights)

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """Parameters that require a gradient, by name."""
        return {name: value for name, value in self.network.named_parameters() if value.requires_grad}

    @property
    def graph(self) -> Graph:
        """The operations of a forward pass.

        Raises:
            NotCheckedError: it fails on every input that was tried.
        """
        return self._working_pass().graph

    @property
    def calls(self) -> Mapping[str, int] | None:
        """Path of a module → how often it runs in a forward pass; None where that is not known."""
        return None if isinstance(self._first_pass, str) else self._first_pass.graph.calls

    def sample_pixels(self, most: int = _SAMPLE) -> Tensor:
        """Some of the images, or as many of seeded noise in the shape that the network takes.

        Raises:
            NotCheckedError: the network has no values, or fails on every input.
        """
        _ = self.tensors
        if self.images is not None:
            return self.pixels_on_device(self.images.pixels[:most])
        if self._batch_pixels is not None and not says_nothing(self._batch_pixels):
            return self.pixels_on_device(self._batch_pixels[:most])
        shape = self._working_pass().shape
        return self.pixels_on_device(torch.randn(most, *shape[1:], generator=torch.Generator().manual_seed(0)))

    @property
    def _batch_pixels(self) -> Tensor | None:
        """The inputs of the batch, if they are one tensor of numbers that are no indices."""
        inputs = None if self.batch is None else self.batch[0]
        if not isinstance(inputs, Tensor) or inputs.ndim < 2 or not len(inputs):
            return None
        return inputs if inputs.is_floating_point() or inputs.ndim == 4 else None

    @property
    def training_pass(self) -> TrainingPass:
        """A forward and backward pass in train mode.

        Raises:
            NotCheckedError: the network has no values, or fails in train mode.
        """
        if isinstance(self._training_pass, str):
            raise NotCheckedError(f"a working forward pass in train mode: {self._training_pass}")
        return self._training_pass

    @cached_property
    def _training_pass(self) -> TrainingPass | str:
        pixels = self._training_pixels()
        held = sum(4 * math.prod(one.shape[1:]) * len(pixels) for one in self.graph.operations if one.from_pixels)
        if held > _MOST_BYTES:
            raise NotCheckedError(f"less memory: a training pass would hold {held / 1e9:.0f} GB")
        try:
            return run_training_pass(self.network, pixels)
        except Exception as error:  # a foreign forward may raise anything
            return kind_and_line(error)

    def _training_pixels(self) -> Tensor:
        norms = [self.graph.operations[index].shape for index in self.graph.find("batch_norm")]
        vectors = any(math.prod(shape[2:]) == 1 for shape in norms)
        return self.sample_pixels(_TRAINED_ON_VECTORS if vectors else _TRAINED_ON).detach().clone()

    @property
    def train_mode_failure(self) -> str:
        """What the network, or autograd, raises in train mode on what it takes in eval mode; empty if nothing.

        Raises:
            NotCheckedError: the network has no values, or fails in eval mode as well.
        """
        _ = self.graph
        return self._training_pass if isinstance(self._training_pass, str) else self._training_pass.failure

    def parameter(self, name: str) -> nn.Parameter:
        """A parameter by its name."""
        return self.network.get_parameter(name)

    def gradients(self, names: Sequence[str], *, opened: bool = False) -> dict[str, Tensor]:
        """Gradients of some parameters in another training pass, without those that none reaches.

        Args:
            opened: with a scale of 1 in every normalisation that begins with 0.

        Raises:
            NotCheckedError: as for `training_pass`.
        """
        _ = self.training_pass
        wanted = [name for name in names if self.parameter(name).requires_grad]
        scales = [getattr(one, "weight", None) for one in self.modules.values() if isinstance(one, NORMS)]
        closed = [one for one in scales if isinstance(one, Tensor) and opened and not bool(one.any())]
        try:
            with torch.no_grad():
                torch._foreach_add_(closed, 1.0) if closed else None
            return gradients_of(self.network, self._training_pixels(), wanted)
        finally:
            with torch.no_grad():
                torch._foreach_zero_(closed) if closed else None

    @cached_property
    def paired_passes(self) -> PairedPasses:
        """Two passes in eval mode, in which all images but the first differ.

        Raises:
            NotCheckedError: the network has no values, or fails.
        """
        pixels = self.sample_pixels(2)
        if len(pixels) < 2:
            pixels = torch.cat([pixels, pixels.flip(-1)])
        try:
            return run_paired_passes(self.network, pixels)
        except Exception as error:  # a foreign forward may raise anything
            raise NotCheckedError(f"a working forward pass: {kind_and_line(error)}") from error

    def pixels_on_device(self, pixels: Tensor) -> Tensor:
        """A copy of pixels where the network's weights are, in their precision: a network may write into its input."""
        weight = next((p for p in self.network.parameters() if p.is_floating_point()), None)
        return pixels.clone() if weight is None else pixels.to(weight.device, weight.dtype, copy=True)

    def batches(self) -> Iterator[Tensor]:
        """All images that were given, some at a time."""
        for pixels in self.images.batches() if self.images is not None else ():
            yield self.pixels_on_device(pixels)

    def _working_pass(self) -> _Pass:
        if isinstance(self._first_pass, str):
            raise NotCheckedError(f"a working forward pass: {self._first_pass}")
        return self._first_pass

    @cached_property
    def _first_pass(self) -> _Pass | str:
        """The first that works, or what the network raised on the likeliest input."""
        reason = ""
        for shape in self._shapes():
            for on_meta in (True, False):
                try:
                    return _Pass(record_graph(self.network, self._blank(shape, on_meta), on_meta=on_meta), shape)
                except NotCheckedError as error:
                    reason = reason or str(error)
                except Exception as error:  # a foreign forward may raise anything
                    reason = reason or kind_and_line(error)
        return reason or "the input shape of this network is unknown"

    def _blank(self, shape: Sequence[int], on_meta: bool) -> Tensor:
        if not on_meta:
            _ = self.tensors
            return self.pixels_on_device(torch.zeros(*shape))
        weight = next((p for p in self.network.parameters() if p.is_floating_point()), None)
        return torch.empty(*shape, device="meta", dtype=None if weight is None else weight.dtype)

    def _shapes(self) -> Iterator[tuple[int, ...]]:
        """Shapes that the network may take, the likeliest first; two images, see `record_graph`."""
        if self.images is not None:
            yield (2, *self.images.pixels.shape[1:])
        elif self._batch_pixels is not None:
            yield (2, *self._batch_pixels.shape[1:])
        elif self.inspected.preprocess is not None:
            yield (2, 3, self.inspected.preprocess.crop, self.inspected.preprocess.crop)
        else:
            config = getattr(self.network, "pretrained_cfg", None)  # of a network of timm
            if isinstance(config, dict) and "input_size" in config:
                yield (2, *config["input_size"])
            yield from _guessed_shapes(self.modules)


def says_nothing(inputs: Tensor) -> str:
    """Why nothing can be seen on the inputs of a batch; empty if something can."""
    if inputs.is_floating_point() and not bool(torch.isfinite(inputs).all()):
        return "nan or infinity in the inputs"
    same = len(inputs) > 1 and bool((inputs == inputs[:1]).all())
    return f"all {len(inputs)} inputs are the same numbers" if same else ""


def _guessed_shapes(modules: dict[str, nn.Module]) -> Iterator[tuple[int, ...]]:
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
