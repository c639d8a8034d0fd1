"""A trained network as a Classifier: its spec in the catalogue, its weights, its last linear layer as the head."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
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

Matrix = NDArray[np.float64]

_TOLERANCE = 1e-3  # of the largest logit; a head that is not linear is off by its whole size


def to_classifier(
    network: nn.Module,
    preprocess: Preprocess | None,
    classes: Sequence[str],
    *,
    validation: tuple[Matrix, NDArray[np.int64]] | None = None,
    history: str = "",
) -> Classifier:
    """A trained network as a classifier; its scores are checked against the network's logits.

    Args:
        network: one of the catalogue, found by its tensors, with a linear classification head; for two classes a single
            logit will do.
        preprocess: how its images were prepared; None: that of its spec.
        classes: names in the order of the labels.
        validation: M×C logits and M labels that fit the temperature; None: it is 1.
        history: how it was trained, for the card.

    Raises:
        TrainingError: the network is not in the catalogue, or its head is not a linear layer on the pooled features.
    """
    spec = _spec_of(network)
    weight, bias = _linear_head(network, spec, len(classes))
    backbone = build_backbone(spec)
    state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items() if not _in_head(name, spec)}
    backbone.load_state(state)
    backbone.weights = Provenance(history or "trained by its owner", backbone.fingerprint, spec.licence)
    backbone.preprocess = preprocess or backbone.preprocess
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
    created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    card = Card.of(backbone, head, classes, versions=runtime.versions(), created=created)
    return Classifier(backbone, head, card)


def _spec_of(network: nn.Module) -> BackboneSpec:
    """The spec whose network has the same tensors, apart from the classification head."""
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for spec in _candidates(network):
        with torch.device("meta"):
            own = build_backbone(spec).network.state_dict()
        wanted = {name: tuple(tensor.shape) for name, tensor in own.items() if not _in_head(name, spec)}
        if wanted == {name: shape for name, shape in shapes.items() if not _in_head(name, spec)}:
            return spec
    raise TrainingError(
        expected="a network of the catalogue with a new classification head",
        found=type(network).__name__,
        where="to_classifier",
        hint="A classifier file carries no code, so it must know the network: `headstart backbones` lists them.",
    )


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
    prefixes = [prefix for prefix in spec.head if prefix != "AuxLogits"] or ["head"]
    linear = [
        module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and any(f"{name}.".startswith(f"{prefix}.") for prefix in prefixes)
    ]
    wanted = (classes, 1) if classes == 2 else (classes,)
    if not linear or linear[-1].out_features not in wanted or linear[-1].in_features != spec.stages[-1].width:
        found = f"{linear[-1].in_features} → {linear[-1].out_features}" if linear else "no linear layer there"
        raise TrainingError(
            expected=f"a linear head {spec.stages[-1].width} → {classes} at {', '.join(prefixes)}",
            found=found,
            where=spec.name,
            hint="replace_head(network, spec, classes) makes such a head.",
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
    if np.abs(ours - logits).max() > _TOLERANCE * max(1.0, np.abs(logits).max()):
        raise TrainingError(
            expected="a network whose logits are a linear layer on its pooled features",
            found=f"logits that differ by {np.abs(ours - logits).max():.2g}",
            where=backbone.spec.name,
            hint="Its head holds more than dropout and one linear layer, or its forward differs from the catalogue's.",
        )


def _float64(tensor: Tensor) -> Matrix:
    return np.asarray(tensor.detach().cpu().double().numpy(), dtype=np.float64)
