"""The gate: does a backbone's frozen knowledge beat its rivals on real images, on the same draws of few images?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.backbones.preprocess import Preprocess
from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.data.batches import pixel_batches
from headstart.data.images import ImageRules
from headstart.errors import DataError
from headstart.features.matrix import Features
from headstart.heads.regularization_path import LabelledFeatures
from headstart.heads.ridge import solve_ridge
from headstart.pretraining.patches import fit_patches, patch_features

SETS = ("hymenoptera", "rps28", "rps_photos", "cifar10_sample")
DRAWS, PER_CLASS, MOST_TEST = 20, 20, 300
CENTRES = 400  # of the rival's patches
_SMALL = Preprocess(32, 32, "bilinear", (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))  # the rivals' view, 0 … 255
_SUFFIXES = {".jpg", ".jpeg", ".png"}
Labels = NDArray[np.int64]
Draw = tuple[Labels, Labels]


@dataclass(frozen=True)
class GateSet:
    """Real images of one set: N paths, N class indices, and the draws of (training rows, test rows)."""

    name: str
    paths: tuple[Path, ...]
    labels: Labels
    draws: tuple[Draw, ...]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.labels.max()) + 1


def read_set(folder: Path, *, draws: int = DRAWS) -> GateSet:
    """A set from its folder `train`, or `test` where there is no other; the draws follow from its name alone.

    Raises:
        DataError: there is no such folder, it holds no classes, or one has too few images.
    """
    place = next((folder / part for part in ("train", "test") if (folder / part).is_dir()), None)
    if place is None:
        raise DataError(expected="a folder train or test", found="neither", where=folder)
    kinds = sorted(one for one in place.iterdir() if one.is_dir())
    if not kinds:
        raise DataError(expected="a folder for each class", found="none", where=place)
    found = [
        (path, i) for i, kind in enumerate(kinds) for path in sorted(kind.iterdir()) if path.suffix.lower() in _SUFFIXES
    ]
    labels = np.array([label for _, label in found], np.int64)
    if np.bincount(labels, minlength=len(kinds)).min() <= PER_CLASS:
        raise DataError(expected=f"more than {PER_CLASS} images of each class", found="fewer", where=place)
    rng = np.random.default_rng(list(folder.name.encode()))
    return GateSet(
        folder.name, tuple(path for path, _ in found), labels, tuple(_draw(rng, labels) for _ in range(draws))
    )


def _draw(rng: np.random.Generator, labels: Labels) -> Draw:
    order = rng.permutation(len(labels))
    training = np.concatenate([order[labels[order] == label][:PER_CLASS] for label in np.unique(labels)])
    return training, order[~np.isin(order, training)][:MOST_TEST]


def backbone_scores(images: GateSet, backbone: Backbone, *, layers: str = "auto") -> NDArray[np.float64]:
    """Test accuracy of each draw: the ridge head on the backbone's frozen features."""
    features = torch.cat([backbone.features(pixels) for pixels in _pixels(images, backbone.preprocess)])
    slices = {stage: (part.start, part.stop) for stage, part in backbone.slices.items()}
    stages = backbone.spec.choose_stages(layers)
    held = Features(features.numpy(), slices, (), ())
    return np.array([_score(held, stages, images, draw, unit=True) for draw in images.draws])


def recalibrated(images: GateSet, backbone: Backbone, most: int = 256) -> Backbone:
    """The backbone, its batch-norm statistics measured anew on images of the set, without their labels."""
    chosen = np.random.default_rng(0).permutation(len(images.paths))[:most]
    some = GateSet(images.name, tuple(images.paths[i] for i in chosen), images.labels[chosen], ())
    batches = list(_pixels(some, backbone.preprocess))
    recalibrate_batch_norm(backbone.network, lambda: batches)
    return backbone


def pixel_scores(images: GateSet) -> NDArray[np.float64]:
    """Test accuracy of each draw: the ridge head on 32×32 pixels."""
    held = _one_stage(torch.cat(list(_pixels(images, _SMALL))).flatten(1))
    return np.array([_score(held, ("all",), images, draw, unit=False) for draw in images.draws])


def patch_scores(images: GateSet, centres: int = CENTRES) -> NDArray[np.float64]:
    """Test accuracy of each draw: the ridge head on patches fitted to the draw's training images alone."""
    pixels = torch.cat(list(_pixels(images, _SMALL)))
    scores = []
    for number, (training, test) in enumerate(images.draws):
        patches = fit_patches(pixels[torch.from_numpy(training)], centres, number)
        both = np.concatenate([training, test])
        features = patch_features(pixels[torch.from_numpy(both)], patches)
        deviation, mean = torch.std_mean(features[: len(training)], 0)
        held = _one_stage((features - mean) / (deviation + 1e-6))
        local = GateSet(images.name, (), images.labels[both], ())
        draw = np.arange(len(training)), np.arange(len(training), len(both))
        scores.append(_score(held, ("all",), local, draw, unit=False))
    return np.array(scores)


def _one_stage(features: Tensor) -> Features:
    return Features(features.numpy(), {"all": (0, features.shape[1])}, (), ())


def _score(features: Features, stages: tuple[str, ...], images: GateSet, draw: Draw, *, unit: bool) -> float:
    training, test = draw
    view = features.view(training, stages, unit=unit)
    head = solve_ridge(LabelledFeatures.of(view, images.labels[training], images.classes))
    answers = (features.view(test, stages, unit=unit).array() @ head.weight + head.bias).argmax(1)
    return float((answers == images.labels[test]).mean())


def _pixels(images: GateSet, look: Preprocess) -> list[Tensor]:
    rules, workers = ImageRules(), runtime.cores()
    batches = list(pixel_batches(images.paths, look.prepare, rules=rules, batch_size=32, workers=workers))
    for batch in batches:
        for position, reason in batch.failures.items():  # left out, the rows after it would have the wrong labels
            raise DataError(expected="an image that can be read", found=reason, where=images.paths[position])
    return [look.normalise(batch.pixels) for batch in batches]
