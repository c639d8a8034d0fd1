"""Cards in files: read, changed, and those of classifiers with flip TTA."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from headstart.backbones.flip_tta import FlipTTA
from headstart.classifier.classifier import Classifier


def stated(path: Path) -> dict[str, object]:
    """The card in a file."""
    with safe_open(path, framework="pt") as file:
        card: dict[str, object] = json.loads(file.metadata()["headstart"])
    return card


def write_card(path: Path, card: dict[str, object]) -> Path:
    """Give the file another card."""
    save_file(load_file(path), path, {"headstart": json.dumps(card)})
    return path


def change_card(path: Path, **changes: object) -> Path:
    """Change some values of the card in a file."""
    return write_card(path, {**stated(path), **changes})


def with_flips(plain: Classifier) -> Classifier:
    """The same weights, with flip TTA."""
    backbone = plain.copy().backbone
    backbone.flip_tta = FlipTTA(backbone.widths, plain.head.unit)
    return Classifier(backbone, replace(plain.head, flip_tta=True), replace(plain.card, flip_tta=True))
