"""The classifier file: one .safetensors with the tensors of backbone and head, and the card as metadata; no code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from headstart.backbones.backbone import Backbone, Provenance, build_backbone
from headstart.backbones.catalogue import REGISTERED, find_spec
from headstart.backbones.flip_tta import FlipTTA
from headstart.backbones.preprocess import Preprocess
from headstart.classifier.card import Card
from headstart.errors import BackboneError, ClassifierError
from headstart.files import FOR_OUT, atomic_write, make_folder

Matrix = NDArray[np.float64]

_KEY = "headstart"


def write_classifier(path: Path, tensors: dict[str, torch.Tensor], card: Card) -> Path:
    """Write tensors and card; the file appears whole or not at all.

    Raises:
        ClassifierError: the folder cannot be written, or the disk is full.
    """
    expected = "to write the classifier"
    make_folder(path.parent, expected=expected, kind=ClassifierError)
    plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    with atomic_write(path, expected=expected, hint=FOR_OUT, kind=ClassifierError) as part:
        try:
            save_file(plain, part, {_KEY: card.to_json()})
        except SafetensorError as error:
            raise ClassifierError(expected=expected, found=str(error), where=path, hint=FOR_OUT) from error
    return path


def read_classifier(path: Path, module: nn.Module | None = None) -> tuple[Backbone, Card, Matrix, Matrix]:
    """Read and check a classifier file: backbone, card, and the head's weight D×C and bias C.

    Args:
        module: the network of a classifier that was made on a user's module; it gets the weights of the file.

    Raises:
        ClassifierError: the file is missing, no classifier, damaged, newer, its tensors do not fit its card, or the
            module is missing or another.
    """
    card, tensors = _read(path)
    weight, bias = _head(card, tensors, path)
    state = {key.removeprefix("backbone."): value for key, value in tensors.items() if key.startswith("backbone.")}
    try:
        backbone = _backbone_of(card, module, path)
        backbone.load_state(state, Provenance(*(card.weights.get(key, "") for key in ("source", "sha256", "licence"))))
        backbone.preprocess = Preprocess.from_dict(card.preprocess)  # as measured, whatever the spec says by now
        backbone.flip_tta = FlipTTA(backbone.widths, card.unit) if card.flip_tta else None
        width = sum(backbone.spec.stage(name).width for name in card.stages)
    except BackboneError as error:
        raise ClassifierError(
            expected=error.expected, found=error.found, where=path, hint=error.hint or "The file is damaged."
        ) from error
    if width != len(weight):
        raise _damaged(f"a head for {width} features", f"one for {len(weight)}", path)
    return backbone, card, weight, bias


def _backbone_of(card: Card, module: nn.Module | None, path: Path) -> Backbone:
    """The card's backbone with any weights: built by its name, or on the module that the card describes."""
    if not card.module or (module is None and card.backbone in REGISTERED):
        if module is not None:
            raise ClassifierError(
                expected="no module, since headstart builds this network itself",
                found=type(module).__name__,
                where=path,
                hint=f"It is {card.backbone}: leave out module=.",
            )
        return build_backbone(find_spec(card.backbone))
    if module is None:
        name, parameters = card.module["class"], card.module["parameters"] / 1e6
        raise ClassifierError(
            expected=f"the network of this classifier: {card.module['package']}.{name}, {parameters:.3g} M parameters",
            found="no module",
            where=path,
            hint=f"Pass one: Classifier.load(path, module={name}(...)). Or register a function that makes it as "
            f"{card.backbone!r} with register_backbone.",
        )
    preprocess = Preprocess.from_dict(card.preprocess)
    return Backbone.from_module(module, preprocess=preprocess, stages=card.module_stages, name=card.backbone)


def _read(path: Path) -> tuple[Card, dict[str, torch.Tensor]]:
    if path.is_dir() and (path / "classifier.safetensors").is_file():
        path = path / "classifier.safetensors"  # the folder of a run stands for its classifier
    if not path.is_file():
        raise ClassifierError(
            expected="a classifier file", found="no such file", where=path, hint="Make one with: headstart train FOLDER"
        )
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
            if text is None:
                raise ClassifierError(
                    expected="a classifier of headstart",
                    found="a safetensors file without headstart's card",
                    where=path,
                    hint="A file of weights alone goes to `headstart train --weights FILE`.",
                )
            card = Card.from_json(text, path)
            return card, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged("a complete classifier file", str(error), path) from error


def _head(card: Card, tensors: dict[str, torch.Tensor], path: Path) -> tuple[Matrix, Matrix]:
    weight, bias = tensors.get("head.weight"), tensors.get("head.bias")
    count = len(card.classes)
    if weight is None or bias is None or weight.ndim != 2 or weight.shape[1] != count or bias.shape != (count,):
        found = {key: tuple(value.shape) for key, value in tensors.items() if key.startswith("head.")}
        raise _damaged(f"a head for {count} classes", str(found), path)
    if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
        raise _damaged("finite numbers in the head", "nan or infinite", path)
    return weight.double().numpy(), bias.double().numpy()


def _damaged(expected: str, found: str, path: Path) -> ClassifierError:
    return ClassifierError(
        expected=expected,
        found=found,
        where=path,
        hint="The file is damaged or cut off: copy it again, or retrain.",
    )
