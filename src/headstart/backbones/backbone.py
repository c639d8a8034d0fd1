"""Backbone: a network with its weights and its preprocessing, seen as a source of features by named stage."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from headstart.backbones.catalogue import find_spec
from headstart.backbones.feature_extractor import FeatureExtractor
from headstart.backbones.flip_tta import FlipTTA
from headstart.backbones.preprocess import Preprocess
from headstart.backbones.replace_head import in_classification_head
from headstart.backbones.spec import BackboneSpec
from headstart.backbones.weight_files import tensor_hash
from headstart.backbones.weights import load_weights
from headstart.download import Note, Progress
from headstart.errors import BackboneError

_NAMED = 8  # tensors listed in an error
_LEAST_SIDE = 32  # px; of less most networks make one place of nothing


@dataclass(frozen=True)
class Provenance:
    """Where the weights of a backbone are from: for people, for the cache, for whoever ships the classifier."""

    source: str
    sha256: str
    licence: str

    def to_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return {"source": self.source, "sha256": self.sha256, "licence": self.licence}


class Backbone:
    """A network in eval mode, all gradients off, with the row it was built from.

    Attributes:
        row: what the catalogue knows of it.
        network: the whole network, its own top included.
        preprocess: how images are brought to it.
        weights: where its weights are from.
        has_top: whether the top has weights too, so that `top_logits` means something.
        mirror: how its features take in mirror images, for a classifier that answers with both; None: not at all.
    """

    def __init__(self, spec: BackboneSpec, network: nn.Module, weights: Provenance) -> None:
        self.spec = spec
        self.network = network.eval().requires_grad_(False)
        self.preprocess = Preprocess.of(spec)
        self.weights = weights
        self.has_pretrained_head = False
        self.flip_tta: FlipTTA | None = None

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages in forward order; the last is also called `pooled`."""
        return tuple(stage.name for stage in self.spec.stages)

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers per image of each stage."""
        return tuple(stage.width for stage in self.spec.stages)

    @property
    def slices(self) -> dict[str, slice]:
        """Where each stage lies in the features of all stages."""
        ends = [sum(self.widths[: i + 1]) for i in range(len(self.widths))]
        return {name: slice(end - w, end) for name, w, end in zip(self.stages, self.widths, ends, strict=True)}

    def take_size(self, side: int) -> None:
        """Take images of another size from now on; a classifier made of it keeps that.

        Args:
            side: of the square that the network gets, px, from 32.

        Raises:
            BackboneError: the network cannot take it, as a transformer with learnt positions.
        """
        refused = BackboneError(
            expected=f"a side from {_LEAST_SIDE} px that {self.spec.name} takes",
            found=f"{side} px",
            where="size",
            hint=f"Its weights were trained with {self.preprocess.crop} px.",
        )
        if side < _LEAST_SIDE:
            raise refused
        try:
            self.features(torch.zeros(1, 3, side, side))
        except (RuntimeError, AssertionError) as error:
            raise refused from error
        self.preprocess = self.preprocess.at(side)

    def feature_extractor(self, stages: Sequence[str] | None = None) -> FeatureExtractor:
        """The network from pixels to the features of some stages (default: all), sharing these weights.

        Raises:
            BackboneError: there is no such stage.
        """
        names = self.stages if stages is None else stages
        return FeatureExtractor(self.network, [self.spec.stage(name) for name in names])

    @torch.inference_mode()
    def features(self, pixels: Tensor) -> Tensor:
        """Features N×D of pixels N×3×S×S: every stage, pooled and raw, side by side; see `slices`.

        With `mirror` they are means over each image and its mirror image; engines and the cache follow it too.
        """
        body = self._all_stages.body  # one file less to step through
        features: Tensor = body(pixels) if self.flip_tta is None else self.flip_tta.features(body, pixels)
        return features

    @torch.inference_mode()
    def pretrained_logits(self, pixels: Tensor) -> Tensor:
        """Logits of the network's own classes, for instance ImageNet's.

        Raises:
            BackboneError: the weights came without a top.
        """
        if not self.has_pretrained_head:
            raise BackboneError(
                expected="a backbone with its own top",
                found="none in the weights",
                where=self.spec.name,
                hint=f"These weights ({self.weights.source}) hold the features only.",
            )
        logits: Tensor = self.network(pixels)
        return logits

    def state(self) -> dict[str, Tensor]:
        """Tensors of the backbone by name, weights and buffers, without the top; not copies."""
        return {
            name: tensor
            for name, tensor in self.network.state_dict().items()
            if not in_classification_head(name, self.spec)
        }

    def load_state(self, state: Mapping[str, Tensor], weights: Provenance | None = None) -> None:
        """Copy weights into the network; the top is loaded when all of it is there and fits.

        Raises:
            BackboneError: a backbone tensor is missing, unexpected or of the wrong shape; the first eight are named.
        """
        own = self.network.state_dict()
        _check_names(own, state, self.spec)
        top = {name for name in own if in_classification_head(name, self.spec)}
        self.has_pretrained_head = bool(top) and all(_fits(name, own, state) for name in top)
        taken = {name: state[name] for name in own if name in state and (self.has_pretrained_head or name not in top)}
        self.network.load_state_dict(taken, strict=False)
        self.weights = weights or self.weights

    def child_of(self, name: str) -> str:
        """Path of the first module of a stage, for `freeze`; a module's own path stands for itself.

        Raises:
            BackboneError: there is neither a stage nor a module of that name.
        """
        modules: list[str] = [path for path, _ in self.network.named_modules() if path]
        if name in modules:
            return name
        place = self.spec.stages.index(self.spec.stage(name))
        if place == 0:
            return modules[0]
        before = self.spec.stages[place - 1]
        if before.side == "input":
            return before.module
        inside = [i for i, path in enumerate(modules) if path == before.module or path.startswith(before.module + ".")]
        return modules[inside[-1] + 1]

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the backbone's weights and buffers, without the top, whatever file they came in."""
        return tensor_hash(self.state())

    @cached_property
    def _all_stages(self) -> FeatureExtractor:
        return self.feature_extractor()


def load_backbone(
    name: str,
    *,
    weights: str | None = None,
    offline: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
    note: Note | None = None,
) -> Backbone:
    """A backbone by its name in the catalogue, with weights.

    The row `random` draws its weights from the seed; its batch-norm statistics are then to be
    estimated (`recalibrate`).

    Args:
        weights: file or URL; None: the row's own source.
        progress, note: as for `load_weights`.

    Raises:
        BackboneError: the name is unknown, or the weights cannot be had or do not fit.
    """
    spec = find_spec(name)
    backbone = build_backbone(spec, seed=seed)
    if not spec.pretrained and weights is None:
        source = f"drawn from seed {seed}"
        backbone.weights = Provenance(source, backbone.fingerprint, spec.licence)
        return backbone
    loaded = load_weights(spec, weights, offline=offline, progress=progress, note=note)
    backbone.load_state(loaded.state, Provenance(loaded.source, loaded.sha256, loaded.licence))
    return backbone


def build_backbone(spec: BackboneSpec, *, seed: int = 0) -> Backbone:
    """The network of a row with weights drawn from a seed, to be loaded with `load_state`; nothing is fetched."""
    module, _, function = spec.builder.partition(":")
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they are
        torch.manual_seed(seed)
        network: nn.Module = getattr(importlib.import_module(module), function)(**dict(spec.options))
    return Backbone(spec, network, Provenance(f"drawn from seed {seed}", "", spec.code_licence))


def _fits(name: str, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> bool:
    return name.endswith("num_batches_tracked") or (name in state and state[name].shape == own[name].shape)


def _check_names(own: Mapping[str, Tensor], state: Mapping[str, Tensor], spec: BackboneSpec) -> None:
    wanted = [
        name for name in own if not in_classification_head(name, spec) and not name.endswith("num_batches_tracked")
    ]
    faults = {
        "missing": [name for name in wanted if name not in state],
        "unexpected": [name for name in state if name not in own and not in_classification_head(name, spec)],
        "of another shape": [
            f"{name} {tuple(state[name].shape)} not {tuple(own[name].shape)}"
            for name in own
            if name in state and not in_classification_head(name, spec) and state[name].shape != own[name].shape
        ],
    }
    found = "; ".join(f"{len(names)} {kind}: {_first(names)}" for kind, names in faults.items() if names)
    if found:
        raise BackboneError(
            expected=f"the tensors of {spec.name}",
            found=found,
            where="weights",
            hint="These are weights of another network, or their names were changed. See `headstart backbones`.",
        )


def _first(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
