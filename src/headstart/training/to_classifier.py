"""A trained network as a Classifier: its spec, of the catalogue or its own, its weights, and its linear head."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart import runtime
from headstart.backbones.backbone import Backbone, Provenance, build_backbone
from headstart.backbones.catalogue import SPECS, find_spec
from headstart.backbones.preprocess import Preprocess
from headstart.backbones.replace_head import in_classification_head
from headstart.backbones.spec import BackboneSpec
from headstart.classifier.card import Card
from headstart.classifier.classifier import Classifier
from headstart.errors import TrainingError
from headstart.evaluation.calibration import fit_temperature
from headstart.heads.head import Head
from headstart.preserve import preserve
from headstart.wording import counted

Matrix = NDArray[np.float64]

_TOLERANCE = 1e-3  # of the largest logit; a head that is not linear is off by its whole size


def to_classifier(
    network: nn.Module,
    preprocess: Preprocess | Mapping[str, object] | None,
    classes: Sequence[str],
    *,
    validation: tuple[Matrix, NDArray[np.int64]] | None = None,
    history: str = "",
) -> Classifier:
    """A trained network as a classifier; its scores are checked against the network's logits.

    Args:
        network: one of the catalogue, found by its tensors, or any that takes N×3×S×S pixels; with a linear
            classification head, perhaps before a log-softmax; for two classes a single logit will do.
        preprocess: how its images were prepared, or its values, see `Preprocess.from_values`; None: that of its spec.
        classes: names in the order of the labels.
        validation: M×C logits and M labels that fit the temperature; None: it is 1.
        history: how it was trained, for the card.

    Raises:
        TrainingError: the network is not in the catalogue and no preprocessing is given, or its head is not a linear
            layer on the pooled features.
        BackboneError: it does not run on images of that size, or a value of the preprocessing is not allowed.
    """
    wanted = Preprocess.from_values(preprocess) if isinstance(preprocess, Mapping) else preprocess
    spec = _spec_of(network)
    backbone = _own_backbone(network, wanted) if spec is None else _catalogue_backbone(network, spec)
    spec = backbone.spec
    weight, bias = _linear_head(network, spec, len(classes))
    backbone.weights = Provenance(history or "trained by its owner", backbone.fingerprint, spec.licence)
    backbone.preprocess = wanted or backbone.preprocess
    held_out = None if validation is None else fit_temperature(_two_columns(validation[0]), validation[1])
    temperature = 1.0 if held_out is None else held_out.value
    head = Head(
        kind="trained",
        stages=(spec.stages[-1].name,),
        weight=weight,
        bias=bias,
        temperature=temperature,
        unit=False,
    )
    _check_same(network, backbone, head)
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    card = Card.of(backbone, head, classes, versions=runtime.versions(), created=created)
    return Classifier(backbone, head, card)


def _catalogue_backbone(network: nn.Module, spec: BackboneSpec) -> Backbone:
    backbone = build_backbone(spec)
    state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items() if not _in_head(name, spec)}
    backbone.load_state(state)
    return backbone


def _own_backbone(network: nn.Module, preprocess: Preprocess | None) -> Backbone:
    """A copy of a network that the catalogue does not have; a file of it is opened with such a network, `module=`."""
    if preprocess is None:
        name = type(network).__name__
        raise TrainingError(
            expected=f"how images are prepared for {name}, which is not in the catalogue",
            found="None",
            where="to_classifier",
            hint='Give preprocess={"size": 64, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}, with the values of '
            f"your transforms. The file carries no code: open it with Classifier.load(path, module={name}(...)).",
        )
    return Backbone.from_module(copy.deepcopy(network).cpu().float(), preprocess=preprocess)


def _spec_of(network: nn.Module) -> BackboneSpec | None:
    """The spec whose network has the same tensors, apart from the classification head; None where there is none."""
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for spec in _candidates(network):
        with torch.device("meta"):
            own = build_backbone(spec).network.state_dict()
        wanted = {name: tuple(tensor.shape) for name, tensor in own.items() if not _in_head(name, spec)}
        if wanted == {name: shape for name, shape in shapes.items() if not _in_head(name, spec)}:
            return spec
    return None


def _in_head(name: str, spec: BackboneSpec) -> bool:
    return in_classification_head(name, spec) or (
        not spec.head and name.startswith("head.")
    )  # where replace_head puts one


def _candidates(network: nn.Module) -> Iterator[BackboneSpec]:
    card: Any = getattr(network, "pretrained_cfg", None)
    if isinstance(card, dict) and "architecture" in card:
        yield find_spec(f"timm:{card['architecture']}")
    yield from SPECS.values()


def _linear_head(network: nn.Module, spec: BackboneSpec, classes: int) -> tuple[Matrix, Matrix]:
    """D×C weight and C bias of the last linear layer in the classification head."""
    prefixes = [prefix for prefix in spec.head if prefix != "AuxLogits"] or ["head"]  # where replace_head puts one
    linear = [
        module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and any(f"{name}.".startswith(f"{prefix}.") for prefix in prefixes)
    ]
    wanted = (classes, 1) if classes == 2 else (classes,)
    if linear and linear[-1].out_features not in wanted and linear[-1].in_features == spec.stages[-1].width:
        raise TrainingError(
            expected=f"{counted(linear[-1].out_features, 'class name')}, one for each output of the network",
            found=f"{classes:,}",
            where="classes",
            hint="Name all of them in the order of the labels, as dataset.classes of torchvision has them.",
        )
    if not linear or linear[-1].out_features not in wanted or linear[-1].in_features != spec.stages[-1].width:
        found = f"{linear[-1].in_features} → {linear[-1].out_features}" if linear else "no linear layer there"
        raise TrainingError(
            expected=f"a linear head {spec.stages[-1].width} → {classes} at {', '.join(prefixes)}",
            found=found,
            where=spec.name,
            hint="Its last layer must be nn.Linear on N×D features; replace_head makes it in those of the catalogue.",
        )
    layer = linear[-1]
    bias = torch.zeros(layer.out_features) if layer.bias is None else layer.bias.detach()
    return _two_columns(_float64(layer.weight).T), _two_columns(_float64(bias)[None])[0]


def _two_columns(values: Matrix) -> Matrix:
    """A single logit is the score of the second class: softmax over (0, z) is the sigmoid of z."""
    return np.concatenate([np.zeros_like(values), values], axis=1) if values.shape[1] == 1 else np.asarray(values)


def _check_same(network: nn.Module, backbone: Backbone, head: Head) -> None:
    device = next(network.parameters()).device
    pixels = torch.randn(
        2, 3, backbone.preprocess.crop, backbone.preprocess.crop, generator=torch.Generator().manual_seed(0)
    )
    with preserve(network, weights=False), torch.inference_mode():
        logits = _two_columns(_float64(network.eval()(pixels.to(device))))
        stages = [backbone.features(pixels)[:, backbone.slices[stage]] for stage in head.stages]
    ours = head.scores(_float64(torch.cat(stages, 1)))
    difference = ours - logits
    difference -= difference.mean(axis=1, keepdims=True)  # a log-softmax at the end shifts all scores of an image alike
    if np.abs(difference).max() > _TOLERANCE * max(1.0, np.abs(logits).max()):
        raise TrainingError(
            expected="a network whose logits are a linear layer on its pooled features",
            found=f"logits that differ by {np.abs(difference).max():.2g}",
            where=backbone.spec.name,
            hint="Its head holds more than dropout and one linear layer, or its forward differs from the catalogue's.",
        )


def _float64(tensor: Tensor) -> Matrix:
    return np.asarray(tensor.detach().cpu().double().numpy(), dtype=np.float64)
