"""Rules about the images against the card: the side and the normalisation that the weights were trained with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from headstart.backbones.preprocess import Preprocess
from headstart.best_practices.examination import Examination, NotCheckedError
from headstart.best_practices.rule import Issue, rule

_CLOSE = 1e-3  # of a mean or deviation in [0, 1]: a quarter of a grey level
_OUTSIDE = 0.05  # in units of normalised pixels; bicubic resizing overshoots before it is rounded, not after


@dataclass(frozen=True)
class _Wanted:
    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@rule(
    "preprocessing differs from the row",
    "warning",
    "advice",
    why="The weights were trained on images of this size and normalisation; other ones shift every layer behind.",
    source="Touvron et al. 2019, arXiv:1906.06423 (size); headstart.backbones.catalogue (normalisation)",
    fix="Use the backbone's own preprocess. A larger side can be meant: then measure it.",
)
def preprocessing_differs(case: Examination) -> Iterator[Issue]:
    """The preprocessing that a Backbone or Classifier carries against that of its catalogue row."""
    own, backbone = case.subject.preprocess, case.subject.backbone
    if own is None or backbone is None:
        raise NotCheckedError("a card: a Classifier or a Backbone")
    row = Preprocess.of(backbone.spec)
    if not (_alike(own.mean, row.mean) and _alike(own.std, row.std)):
        yield Issue((), f"mean {own.mean} std {own.std}; the row has {row.mean} {row.std}", "warning")
    ours, theirs = ((one.resize, one.crop, one.interpolation, one.fit) for one in (own, row))
    if ours != theirs:
        yield Issue((), f"resize, crop, interpolation, fit {ours}; the row has {theirs}", "advice")


@rule(
    "images do not fit the card",
    "error",
    "warning",
    needs=("images",),
    why="Pixels of another scale than the weights were trained with give plausible, wrong answers.",
    source="fastai issue 3716, keras issue 14950; headstart.backbones.preprocess",
    fix="Bring images to the network with its own preprocess: prepare, then normalise.",
)
def images_do_not_fit(case: Examination) -> Iterator[Issue]:
    """Side and range of the pixels against what the card's mean and std allow."""
    wanted, images = _wanted(case), case.images
    if images is None:
        return
    pixels = images.pixels
    if pixels.shape[1] != len(wanted.mean):
        yield Issue((), f"{pixels.shape[1]} channels; the card has {len(wanted.mean)}", "error")
        return
    if tuple(pixels.shape[2:]) != (wanted.side, wanted.side):
        sides = "×".join(map(str, pixels.shape[2:]))
        yield Issue((), f"images of {sides} px; the card says {wanted.side}", "warning")
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (wanted.mean, wanted.std))
    grey = pixels.float() * std + mean  # what they were before, in [0, 1]
    low, high = float(pixels.min()), float(pixels.max())
    outside = float((-grey).clamp_min(0).div(std).max()), float((grey - 1).clamp_min(0).div(std).max())
    if max(outside) > _OUTSIDE:
        yield Issue((), f"pixels from {low:.2f} to {high:.2f}, which the card's normalisation cannot give", "error")
    elif low >= 0 and high <= 1 and min(wanted.mean) > 0.1:
        yield Issue((), f"pixels from {low:.2f} to {high:.2f}: they look as if they were not normalised", "warning")


def _wanted(case: Examination) -> _Wanted:
    """Of a Classifier or Backbone its own; of a network that timm made, the one timm gave it."""
    own = case.subject.preprocess
    if own is not None:
        return _Wanted(own.crop, own.mean, own.std)
    given = getattr(case.network, "pretrained_cfg", None)
    if not isinstance(given, dict) or not {"input_size", "mean", "std"} <= given.keys():
        raise NotCheckedError("a card: a Classifier, a Backbone, or a network of timm")
    return _Wanted(int(given["input_size"][-1]), tuple(given["mean"]), tuple(given["std"]))


def _alike(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(abs(a - b) < _CLOSE for a, b in zip(one, other, strict=True))
