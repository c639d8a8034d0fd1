"""Is an augmentation safe? Held-out images, transformed, predicted by heads that saw neither them nor their group.

In: features of images and of their transformed copies. Out: TransformCheck. A transform that moves images of one class
to one other class changes what they show: a flipped left arrow is a right arrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.design_effect import shared_groups
from headstart.evaluation.intervals import CONFIDENCE, Interval, accuracy_intervals, points, wilson
from headstart.evaluation.paired import paired_difference
from headstart.features.matrix import FeatureView
from headstart.heads.cross_validation import group_folds
from headstart.heads.regularization_path import LabelledFeatures, Labels, Matrix
from headstart.heads.ridge import solve_ridge
from headstart.plain import Plain

WORST = 10  # images kept of each transform


@dataclass(frozen=True, kw_only=True)
class Flow(Plain):
    """Images of one class that are predicted as one other class.

    Args:
        images, of: how many of how many, when transformed. untransformed: how many before. limit: share that chance
            allows for the untransformed images.
    """

    true: str
    predicted: str
    images: int
    of: int
    untransformed: int
    limit: float

    def __str__(self) -> str:
        return f"{self.true} → {self.predicted}: {self.images} of {self.of}, untransformed {self.untransformed}"


@dataclass(frozen=True, kw_only=True)
class MovedImage(Plain):
    """An image whose transformed copy is predicted worse: its index, class, prediction, and by how much the score of
    its class fell behind that of the best other class.
    """

    index: int
    name: str
    true: str
    predicted: str
    drop: float


@dataclass(frozen=True, kw_only=True)
class TransformCheck(Plain):
    """What one transform does to the images.

    Args:
        verdict: `unsafe`: it moves images of one class to one other; `harmful`: accuracy falls beyond doubt; `useful`:
            no harm, and features move farther than to the next image; `harmless`: no harm, and they hardly move.
        accuracy: of the transformed images. before: of the untransformed ones. change: between the two, in pairs.
        movement: median distance of an image's features from those of its copy, in units of the median distance
            between an image and the most similar one of another group.
        flows: those beyond what chance allows, the largest first. worst: at most ten images.
    """

    name: str
    verdict: str
    accuracy: float
    before: Interval
    change: Interval
    movement: float
    flows: tuple[Flow, ...]
    worst: tuple[MovedImage, ...]

    @property
    def reason(self) -> str:
        """Why, a clause."""
        if self.verdict == "unsafe":
            return str(self.flows[0])
        change = f"accuracy {points(self.change)}"
        if self.verdict == "harmful":
            return change
        return f"{change}, features move {self.movement:.1f} times as far as to the next image"


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """The images of a check: N labels, groups and names; names of the C classes."""

    labels: Labels
    groups: Labels
    names: Sequence[str]
    classes: Sequence[str]


def check_transforms(
    original: FeatureView, transformed: Mapping[str, FeatureView], images: LabelledImages
) -> list[TransformCheck]:
    """Check transforms by what they do to held-out images, in folds of whole groups.

    Args:
        original: N×D features. transformed: name → N×D features of the same images after the transform.

    Raises:
        DataError: there are too few groups to hold some out.
    """
    folds = group_folds(images.labels, images.groups)
    before = np.empty((len(images.labels), len(images.classes)))
    after = {name: np.empty_like(before) for name in transformed}
    for fold in range(int(folds.max()) + 1):
        train, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        data = LabelledFeatures.of(
            original.take(train), images.labels[train], len(images.classes), groups=images.groups[train]
        )
        path = solve_ridge(data)
        before[held] = original.take(held).array() @ path.weight + path.bias
        for name, view in transformed.items():
            after[name][held] = view.take(held).array() @ path.weight + path.bias
    rows = original.array()
    near = _nearest_distance(rows, images.groups)
    return [
        _check(name, before, after[name], images, moved=(_moved(rows, view.array()) / near), tests=len(transformed))
        for name, view in transformed.items()
    ]


def _check(  # six: one transform of several, on the same images
    name: str, before: Matrix, after: Matrix, images: LabelledImages, *, moved: float, tests: int
) -> TransformCheck:
    labels = images.labels
    first, second = before.argmax(axis=1), after.argmax(axis=1)
    gain = (second == labels).astype(np.int64) - (first == labels)
    groups = shared_groups(images.groups.tolist())
    change = paired_difference(gain, groups).difference
    accuracy, over_groups = accuracy_intervals(first == labels, groups)
    flows = _flows(first, second, images, tests=tests)
    if flows:
        verdict = "unsafe"
    elif change.high < 0:
        verdict = "harmful"
    else:
        verdict = "useful" if moved > 1 else "harmless"
    return TransformCheck(
        name=name,
        verdict=verdict,
        accuracy=float((second == labels).mean()),
        before=over_groups or accuracy,
        change=change,
        movement=moved,
        flows=tuple(flows),
        worst=tuple(_worst(before, after, images)),
    )


def _flows(first: Labels, second: Labels, images: LabelledImages, *, tests: int) -> list[Flow]:
    """Flows from one class to another beyond the upper end of Wilson's interval of the untransformed images.

    The interval holds for all transforms and pairs of classes together (Bonferroni).
    """
    count, found = len(images.classes), []
    level = 1 - (1 - CONFIDENCE) / (tests * count * max(count - 1, 1))
    for true in range(count):
        own = images.labels == true
        for other in range(count):
            if other == true or not own.any():
                continue
            n, was, now = int(own.sum()), int((first[own] == other).sum()), int((second[own] == other).sum())
            limit = wilson(was, n, level).high
            if now / n > limit:
                found.append(
                    Flow(
                        true=images.classes[true],
                        predicted=images.classes[other],
                        images=now,
                        of=n,
                        untransformed=was,
                        limit=limit,
                    )
                )
    return sorted(found, key=lambda flow: -flow.images / flow.of)


def _worst(before: Matrix, after: Matrix, images: LabelledImages) -> list[MovedImage]:
    """Images that were predicted correctly and whose transformed copies are not, the largest fall first."""
    drop = _margin(before, images.labels) - _margin(after, images.labels)
    lost = (before.argmax(axis=1) == images.labels) & (after.argmax(axis=1) != images.labels)
    order = [int(i) for i in np.argsort(-drop, kind="stable") if lost[i]][:WORST]
    return [
        MovedImage(
            index=i,
            name=images.names[i],
            true=images.classes[images.labels[i]],
            predicted=images.classes[int(after[i].argmax())],
            drop=float(drop[i]),
        )
        for i in order
    ]


def _margin(scores: Matrix, labels: Labels) -> NDArray[np.float64]:
    """N: score of the own class minus the best other one."""
    rows = np.arange(len(labels))
    others = scores.copy()
    others[rows, labels] = -np.inf
    return np.asarray(scores[rows, labels] - others.max(axis=1))


def _moved(rows: Matrix, moved: Matrix) -> float:
    return float(np.median(np.linalg.norm(rows - moved, axis=1)))


def _nearest_distance(rows: Matrix, groups: Labels) -> float:
    """Median distance to the most similar image of another group."""
    squared = np.square(rows).sum(axis=1)
    distances = squared[:, None] + squared - 2 * rows @ rows.T
    distances[groups[:, None] == groups] = np.inf
    nearest = np.sqrt(distances.min(axis=1).clip(1e-24))
    return float(np.median(nearest[np.isfinite(nearest)]))
