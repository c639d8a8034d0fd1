"""The classifier file: one .safetensors with the backbone's tensors, the head's tensors and the card as metadata."""

from __future__ import annotations

import uuid
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from headstart.backbones.backbone import Backbone, Provenance, build_backbone
from headstart.backbones.catalogue import row_of
from headstart.backbones.preprocess import Preprocess
from headstart.classifier.card import Card
from headstart.classifier.head import Head
from headstart.errors import BackboneError, ClassifierError

_KEY = "headstart"


def write_classifier(path: Path, tensors: dict[str, torch.Tensor], card: Card) -> Path:
    """Write tensors and card; the file appears at once and whole.

    Raises:
        ClassifierError: the folder cannot be written, or the disk is full.
    """
    part = path.with_name(f".{path.name}-{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        save_file(plain, part, {_KEY: card.to_json()})
        part.replace(path)
    except (OSError, SafetensorError) as error:
        raise ClassifierError(
            expected="to write the classifier", found=str(error), where=path, hint="Choose another folder with --out."
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return path


def read_classifier(path: Path) -> tuple[Backbone, Head, Card]:
    """Read and check a classifier file.

    Raises:
        ClassifierError: the file is missing, no classifier, damaged, newer, or its tensors do not fit its card.
    """
    card, tensors = _read(path)
    head = _head(card, tensors, path)
    state = {key.removeprefix("backbone."): value for key, value in tensors.items() if key.startswith("backbone.")}
    try:
        backbone = build_backbone(row_of(card.backbone))
        backbone.load_state(state, Provenance.from_dict(card.weights))
        backbone.preprocess = Preprocess.from_dict(card.preprocess)  # as measured, whatever the row says by now
        width = sum(backbone.row.stage(name).width for name in card.stages)
    except BackboneError as error:
        raise ClassifierError(
            expected=error.expected, found=error.found, where=path, hint=error.hint or "The file is damaged."
        ) from error
    if width != len(head.weight):
        raise _damaged(f"a head for {width} features", f"one for {len(head.weight)}", path)
    return backbone, head, card


def _read(path: Path) -> tuple[Card, dict[str, torch.Tensor]]:
    if path.is_dir() and (path / "classifier.safetensors").is_file():
        path = path / "classifier.safetensors"  # the folder of a run is as good as its file
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
                    hint="Weights alone are given to `headstart train --weights FILE`.",
                )
            card = Card.from_json(text, path)
            return card, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged("a whole classifier file", str(error), path) from error


def _head(card: Card, tensors: dict[str, torch.Tensor], path: Path) -> Head:
    weight, bias = tensors.get("head.weight"), tensors.get("head.bias")
    count = len(card.classes)
    if weight is None or bias is None or weight.ndim != 2 or weight.shape[1] != count or bias.shape != (count,):
        found = {key: tuple(value.shape) for key, value in tensors.items() if key.startswith("head.")}
        raise _damaged(f"a head for {count} classes", str(found), path)
    if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
        raise _damaged("finite numbers in the head", "nan or infinite", path)
    stages = card.stages
    return Head(card.head, stages, weight.double().numpy(), bias.double().numpy(), float(card.temperature))


def _damaged(expected: str, found: str, path: Path) -> ClassifierError:
    return ClassifierError(
        expected=expected, found=found, where=path, hint="The file is damaged or cut off: copy it again, or train anew."
    )
