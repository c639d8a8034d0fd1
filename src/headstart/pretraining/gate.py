"""The quality gate: accuracy of frozen features and of baselines on real images, on the same few-shot draws."""

from __future__ import annotations

from collections.abc import Sequence
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
from headstart.features.matrix import Features, FeatureView
from headstart.heads.regularization_path import LabelledFeatures
from headstart.heads.ridge import solve_ridge
from headstart.pretraining.patches import fit_patches, patch_features

SETS = ("hymenoptera", "rps28", "rps_photos", "cifar10_sample")
DRAWS, PER_CLASS, MOST_TEST = 20, 20, 300
CENTRES = 400  # of the patch baseline
_SMALL = Preprocess(  # input of the baselines, 0 … 255
    resize=32, crop=32, interpolation="bilinear", mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255)
)
_SUFFIXES = {".jpg", ".jpeg", ".png"}
Labels = NDArray[np.int64]
Draw = tuple[Labels, Labels]


@dataclass(frozen=True)
class GateSet:
    """Real images of one set: N paths, N class indices, and the draws of (training indices, test indices)."""

    name: str
    paths: tuple[Path, ...]
    labels: Labels
    draws: tuple[Draw, ...]

    def labels_of(self, draw: Draw) -> Draw:
        """Labels of a draw's training images, and of its test images."""
        return self.labels[draw[0]], self.labels[draw[1]]


def read_set(folder: Path, *, draws: int = DRAWS) -> GateSet:
    """A set from its folder `train`, or `test` if there is none; the draws depend on its name alone.

    Raises:
        DataError: there is no such folder, it holds no classes, or one has too few images.
    """
    root = next((folder / split for split in ("train", "test") if (folder / split).is_dir()), None)
    if root is None:
        raise DataError(expected="a folder train or test", found="neither", where=folder)
    classes = sorted(one for one in root.iterdir() if one.is_dir())
    if not classes:
        raise DataError(expected="a folder for each class", found="none", where=root)
    found = [
        (path, label)
        for label, images in enumerate(classes)
        for path in sorted(images.iterdir())
        if path.suffix.lower() in _SUFFIXES
    ]
    labels = np.array([label for _, label in found], np.int64)
    if np.bincount(labels, minlength=len(classes)).min() <= PER_CLASS:
        raise DataError(expected=f"more than {PER_CLASS} images of each class", found="fewer", where=root)
    rng = np.random.default_rng(list(folder.name.encode()))
    return GateSet(
        name=folder.name,
        paths=tuple(path for path, _ in found),
        labels=labels,
        draws=tuple(_draw(rng, labels) for _ in range(draws)),
    )


def _draw(rng: np.random.Generator, labels: Labels) -> Draw:
    order = rng.permutation(len(labels))
    training = np.concatenate([order[labels[order] == label][:PER_CLASS] for label in np.unique(labels)])
    return training, order[~np.isin(order, training)][:MOST_TEST]


def backbone_scores(images: GateSet, backbone: Backbone, *, layers: str = "auto") -> NDArray[np.float64]:
    """Test accuracy of each draw: the ridge head on the backbone's frozen features."""
    features = torch.cat([backbone.features(pixels) for pixels in _pixels(images, backbone.preprocess)])
    slices = {stage: (columns.start, columns.stop) for stage, columns in backbone.slices.items()}
    stages = backbone.spec.choose_stages(layers)
    found = Features(features.numpy(), slices, (), ())
    return np.array(
        [_accuracy([found.view(half, stages) for half in draw], images.labels_of(draw)) for draw in images.draws]
    )


def recalibrated(images: GateSet, backbone: Backbone, most: int = 256) -> Backbone:
    """The backbone with batch-norm statistics re-estimated on images of the set, without their labels."""
    chosen = np.random.default_rng(0).permutation(len(images.paths))[:most]
    some = GateSet(images.name, tuple(images.paths[i] for i in chosen), images.labels[chosen], ())
    batches = list(_pixels(some, backbone.preprocess))
    recalibrate_batch_norm(backbone.network, lambda: batches)
    return backbone


def pixel_scores(images: GateSet) -> NDArray[np.float64]:
    """Test accuracy of each draw: the ridge head on 32×32 pixels."""
    found = torch.cat(_pixels(images, _SMALL)).flatten(1)
    return np.array([_accuracy([_view(found[half]) for half in draw], images.labels_of(draw)) for draw in images.draws])


def patch_scores(images: GateSet, centres: int = CENTRES) -> NDArray[np.float64]:
    """Test accuracy of each draw: the ridge head on patches fitted to the draw's training images alone."""
    pixels, scores = torch.cat(_pixels(images, _SMALL)), []
    for number, draw in enumerate(images.draws):
        patches = fit_patches(pixels[draw[0]], centres, number)
        features = [patch_features(pixels[half], patches) for half in draw]
        deviation, mean = torch.std_mean(features[0], 0)
        views = [_view((half - mean) / (deviation + 1e-6)) for half in features]
        scores.append(_accuracy(views, images.labels_of(draw)))
    return np.array(scores)


def _view(features: Tensor) -> FeatureView:
    """All columns of a matrix N×D, as they are."""
    one_stage = Features(features.numpy(), {"all": (0, features.shape[1])}, (), ())
    return one_stage.view(np.arange(len(features)), ("all",), unit=False)


def _accuracy(views: Sequence[FeatureView], labels: Draw) -> float:
    """Test accuracy of a ridge head fitted to the training images; each pair is training, test."""
    training, test = views
    head = solve_ridge(LabelledFeatures.of(training, labels[0], int(labels[0].max()) + 1))
    predicted = (test.array() @ head.weight + head.bias).argmax(1)
    return float((predicted == labels[1]).mean())


def _pixels(images: GateSet, preprocess: Preprocess) -> list[Tensor]:
    rules, workers = ImageRules(), runtime.cores()
    batches = list(pixel_batches(images.paths, preprocess.prepare, rules=rules, batch_size=32, workers=workers))
    for batch in batches:
        for position, reason in batch.failures.items():  # left out, the rows after it would have the wrong labels
            raise DataError(expected="an image that can be read", found=reason, where=images.paths[position])
    return [preprocess.normalise(batch.pixels) for batch in batches]
