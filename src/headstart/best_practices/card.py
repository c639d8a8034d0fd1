"""Rules about what a card says: image size and normalisation of the weights, and the format of a classifier file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from headstart.backbones.preprocess import Preprocess
from headstart.best_practices.examination import Examination, NotCheckedError
from headstart.best_practices.rule import Issue, register_rule
from headstart.classifier.card import FORMAT, LATER, MAX_BYTES, Card
from headstart.untrusted import parse_object

_CLOSE = 1e-3  # of a mean or standard deviation in [0, 1]: a quarter of a grey level
_OPTIONAL = tuple(LATER)  # entries of a card that are written only where they say something
_OUTSIDE = 0.05  # in units of normalised pixels; bicubic resizing overshoots before it is rounded, not after


@dataclass(frozen=True)
class _Expected:
    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@register_rule(
    "preprocessing differs from the spec",
    "warning",
    "advice",
    why="The weights were trained on images of this size and normalisation; others shift the input of every layer.",
    source="Touvron et al. 2019, arXiv:1906.06423 (size); headstart.backbones.catalogue (normalisation)",
    fix="Use the backbone's own preprocess. A larger size can be intended: then measure its effect.",
)
def preprocessing_differs(examination: Examination) -> Iterator[Issue]:
    """The preprocessing of a Backbone or Classifier against that of its spec in the catalogue."""
    own, backbone = examination.inspected.preprocess, examination.inspected.backbone
    if own is None or backbone is None:
        raise NotCheckedError("a card: a Classifier or a Backbone")
    spec = Preprocess.of(backbone.spec)
    if not (_close(own.mean, spec.mean) and _close(own.std, spec.std)):
        yield Issue((), f"mean {own.mean} std {own.std}; the spec has {spec.mean} {spec.std}", "warning")
    ours, theirs = ((one.resize, one.crop, one.interpolation, one.fit) for one in (own, spec))
    if ours != theirs:
        yield Issue((), f"resize, crop, interpolation, fit {ours}; the spec has {theirs}", "advice")


@register_rule(
    "images do not match the card",
    "error",
    "warning",
    needs=("images",),
    why="Pixels on another scale than in training give plausible but wrong predictions.",
    source="fastai issue 3716, keras issue 14950; headstart.backbones.preprocess",
    fix="Preprocess images with the network's own preprocess: prepare, then normalise.",
)
def images_do_not_match(examination: Examination) -> Iterator[Issue]:
    """Size and range of the pixels against what the card's mean and std allow."""
    expected, images = _expected(examination), examination.images
    if images is None:
        return
    pixels = images.pixels
    if pixels.shape[1] != len(expected.mean):
        yield Issue((), f"{pixels.shape[1]} channels; the card has {len(expected.mean)}", "error")
        return
    if tuple(pixels.shape[2:]) != (expected.side, expected.side):
        sides = "×".join(map(str, pixels.shape[2:]))
        yield Issue((), f"images of {sides} px; the card says {expected.side}", "warning")
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (expected.mean, expected.std))
    grey = pixels.float() * std + mean  # what they were before, in [0, 1]
    low, high = float(pixels.min()), float(pixels.max())
    below, above = float((-grey).clamp_min(0).div(std).max()), float((grey - 1).clamp_min(0).div(std).max())
    if max(below, above) > _OUTSIDE:
        yield Issue((), f"pixels from {low:.2f} to {high:.2f}, outside what the card's normalisation gives", "error")
    elif low >= 0 and high <= 1 and min(expected.mean) > 0.1:
        yield Issue((), f"pixels from {low:.2f} to {high:.2f}: they seem not normalised", "warning")


def _expected(examination: Examination) -> _Expected:
    """The card of a Classifier or Backbone; of a network of timm, the configuration that timm gave it."""
    own = examination.inspected.preprocess
    if own is not None:
        return _Expected(own.crop, own.mean, own.std)
    config = getattr(examination.network, "pretrained_cfg", None)
    if not isinstance(config, dict) or not {"input_size", "mean", "std"} <= config.keys():
        raise NotCheckedError("a card: a Classifier, a Backbone, or a network of timm")
    return _Expected(int(config["input_size"][-1]), tuple(config["mean"]), tuple(config["std"]))


def _close(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(abs(a - b) < _CLOSE for a, b in zip(one, other, strict=True))


@register_rule(
    "outdated classifier file",
    "advice",
    needs=("file",),
    why="Missing entries are filled in by convention; a later headstart may not know these conventions any more.",
    source="headstart.classifier.card",
    fix="Write the file again: Classifier.load(path).save(path); predictions stay the same.",
)
def outdated_classifier_file(examination: Examination) -> Iterator[Issue]:
    """Entries that today's cards have and the one in the file lacks."""
    assert examination.file is not None  # needed, see above
    values = _card_values(examination.file)
    missing = [field.name for field in fields(Card) if field.name not in {*values, *_OPTIONAL}]
    if missing:
        yield Issue((), f"entries that the card lacks: {', '.join(missing)}")


def _card_values(file: Path) -> dict[str, object]:
    path = file / "classifier.safetensors" if file.is_dir() else file
    try:
        with safe_open(path, framework="pt") as opened:
            text = (opened.metadata() or {}).get("headstart", "")
        values = parse_object(text, most=MAX_BYTES)
    except (SafetensorError, OSError, ValueError) as error:
        raise NotCheckedError(f"a classifier file that can be read: {error}") from error
    if values.get("format") != FORMAT:
        raise NotCheckedError("a classifier file of headstart")
    return values
