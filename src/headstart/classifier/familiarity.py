"""Familiarity: how far an image is from the training images, and from which distance on it is unlike all of them.

In: features N×D of one stage, with labels, groups and names. Out: Familiarity, which travels in the classifier file.

The distance is one minus the 5th largest cosine to the training rows: on three sets of other images it told them apart
with an AUROC of 0.994, the confidence of the softmax with 0.74. Near classes are near chance for every such score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.conformal import conformal_quantile
from headstart.features.matrix import FeatureView
from headstart.heads.cross_validation import group_folds
from headstart.wording import counted, percent

Rows = NDArray[np.float32]
Values = NDArray[np.float64]
Labels = NDArray[np.int64]

FALSE_REJECTS = 0.05  # at 1 % a single odd training image sets the threshold of 243
NEIGHBOURS = 5  # one close image may be chance; with few images of a class more would reach into others
MOST_BANK = 2_000  # rows: 5 MB at D = 1,280, and a millisecond for each prediction
BANK, RESIDUAL = "bank", "residual"
_LEAST_REJECTED = 10.0  # training images beyond the threshold: fewer, and single odd images decide where it lies
_MOST_ROWS = 20_000  # that are clustered or compared: more move no quantile by a tenth of a per cent
_COMPONENTS = 64  # of the residual; a quarter of the images or of the features where these are fewer
_LEAST_DISTANCE = 1e-3  # float16 rounds away half of it
_SHORTEST = np.float32(1e-12)  # a row below this length stays as it is
_ITERATIONS = 5  # of k-means: later ones move few rows
_AT_ONCE = 2048  # images that are compared with the bank: 16 MB of cosines with 2,000 rows
MOST_DISTANCES = 2_000  # kept for the percentile
_FOLDED = "found by folds of whole groups"


class Measured(NamedTuple):
    """Distances of n images, and the row of the bank that is most similar to each; None without a bank."""

    distances: Rows
    nearest: Labels | None


@dataclass(frozen=True)
class Familiarity:
    """What a classifier keeps of its training images to recognise others like them.

    Args:
        kind: `bank`: rows of training images, or centres of them; `residual`: principal components, no rows.
        stage: whose features are compared, each scaled to unit length.
        rows: bank: M×D, unit length, rounded to float16; residual: K×D orthonormal components.
        mean: residual: D, of the unit features; bank: None.
        names: bank: M, of the image that is, or is closest to, each row; residual: empty.
        distances: sorted, of held-out training images; what percentiles are read from. Perhaps empty.
        rate: share of familiar images that the threshold rejects. threshold: None where `reason` says why not.
        images, groups: held-out images behind the threshold, and independent ones among them.
    """

    kind: str
    stage: str
    rows: Rows
    mean: Rows | None
    names: tuple[str, ...]
    distances: Rows
    rate: float
    threshold: float | None
    images: int
    groups: int
    reason: str = ""

    @property
    def neighbours(self) -> int:
        """The cosine that counts is the so many-th largest."""
        return min(NEIGHBOURS, len(self.rows))

    @cached_property
    def _columns(self) -> Rows:
        return np.ascontiguousarray(self.rows.T)

    @property
    def training_mean(self) -> Values:
        """D, the mean of the training features at unit length; of a bank of centres the mean of these."""
        rows = self.rows.mean(axis=0, dtype=np.float64) if self.mean is None else self.mean
        return np.asarray(rows, dtype=np.float64)

    @property
    def training_images(self) -> int:
        """How many images that mean is of."""
        return max(len(self.names), self.images, 1)

    def measure(self, features: NDArray[np.floating] | FeatureView) -> Measured:
        """How far n images are from the training images.

        Args:
            features: n×D of the stage, scaled or not, or a view of them, which is read in blocks.
        """
        count = features.shape[0]
        distances, nearest = np.empty(count, dtype=np.float32), np.empty(count, dtype=np.int64)
        for i in range(0, count, _AT_ONCE):
            some = slice(i, min(i + _AT_ONCE, count))
            unit = unit_rows(_rows(features, np.arange(i, some.stop)))
            if self.mean is not None:
                centred = unit - self.mean
                residual = centred - (centred @ self._columns) @ self.rows
                distances[some] = np.sqrt(np.square(residual).sum(axis=1))
                continue
            cosines = unit @ self._columns  # n×M
            distances[some], nearest[some] = _distances(cosines, self.neighbours), cosines.argmax(axis=1)
        return Measured(distances, None if self.mean is not None else nearest)

    def percentile(self, distance: float) -> float | None:
        """How many of 100 held-out training images are at least as far away; None where none were held out."""
        count = len(self.distances)
        if not count:
            return None
        farther = count - int(np.searchsorted(self.distances, distance, side="left"))
        return 100 * (1 + farther) / (count + 1)

    def is_familiar(self, distance: float) -> bool | None:
        """Whether the distance is within the threshold; None without one."""
        return None if self.threshold is None else bool(distance <= self.threshold)

    @property
    def summary(self) -> str:
        """What an image is compared with, and what the threshold rests on, in a sentence."""
        kept = f"{counted(len(self.rows), 'row')} of training features" if self.names else "no training image"
        held = f"{counted(self.images, 'held-out training image')}"
        if self.threshold is None:
            return f"Unfamiliar images are not rejected: {self.reason}"
        return (
            f"Distance above {self.threshold:.3f} is unfamiliar, {percent(self.rate)} of {held} are; {kept} in the file"
        )


@dataclass(frozen=True)
class FamiliarImages:
    """Images to be familiar with; nothing is copied before their features are asked for.

    Args:
        features: N×D of one stage, or a view of them.
        labels: N. groups: N of any numbers. names: N.
    """

    features: NDArray[np.floating] | FeatureView
    labels: Labels
    groups: Labels
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: NDArray[np.integer]) -> FamiliarImages:
        """Some of them, by their rows."""
        view = self.features
        features = view.take(np.asarray(chosen)) if isinstance(view, FeatureView) else view[chosen]
        return FamiliarImages(features, self.labels[chosen], self.groups[chosen], [self.names[i] for i in chosen])

    def values(self) -> NDArray[np.floating]:
        """N×D, the features of these images, in memory."""
        return self.features.raw() if isinstance(self.features, FeatureView) else self.features


def fit_familiarity(
    images: FamiliarImages,
    *,
    stage: str,
    rate: float = FALSE_REJECTS,
    bank: bool = True,
    held_out: FamiliarImages | None = None,
    seed: int = 0,
) -> Familiarity:
    """Keep training images, and set the threshold by images that are not among those they are compared with.

    Each training image is compared with those of other groups: leaving one group out with at most 2,000 rows, else in
    five folds of whole groups. Above 2,000 rows the bank holds centres of k-means, class by class.

    Args:
        rate: share of familiar images that may be called unfamiliar. Without a threshold where it is less than ten of
            the independent images, of which single odd ones would decide.
        bank: whether rows of training features may be in the file; else principal components are.
        held_out: images that a fine-tuned network was not trained on; it has drawn the others closer together, so that
            these alone set the threshold. None: the network was not trained on any.
        seed: of the choice of rows where there are more than 20,000.
    """
    rng = np.random.default_rng(seed)
    if len(images) > _MOST_ROWS:
        images = images.take(np.sort(rng.choice(len(images), _MOST_ROWS, replace=False)))
    images = replace(images, features=unit_rows(images.values()))
    components = min(_COMPONENTS, len(images) // 4, images.values().shape[1] // 4)
    kept = _keep_bank(images, stage, rng) if bank else _keep_components(images, stage, components)
    if held_out is not None:
        distances, groups = kept.measure(held_out.values()).distances, held_out.groups
        reason = " that the fine-tuned network was not trained on"
    else:
        distances, groups, reason = *_left_out(images, kept, components, rng), ""
    count, distances = len(np.unique(groups)), np.sort(distances)
    kept = replace(kept, distances=_thinned(distances), rate=rate, images=len(distances), groups=count)
    if not can_set(rate, count):
        need = int(np.ceil(_LEAST_REJECTED / rate - 1e-9)) - 1
        need_words = f"a threshold at {rate * 100:.3g} % needs {need:,} independent images{reason}"
        return replace(kept, reason=f"{need_words}, and there are {count:,}")
    if distances[-1] < _LEAST_DISTANCE:
        return replace(kept, reason="the features of the training images are all the same")
    return replace(kept, threshold=conformal_quantile(distances.astype(np.float64), rate))


def leave_group_out_distances(images: FamiliarImages, rows: Rows | None = None) -> Rows:
    """N distances, each image to those of other groups; infinite where there is no other group.

    Args:
        rows: N×D, what the others are compared as; None: their own features.
    """
    unit = unit_rows(images.values())
    cosines = unit @ (unit if rows is None else rows).T
    cosines[images.groups[:, None] == images.groups] = -np.inf
    return distances_in(cosines, min(NEIGHBOURS, len(images)))


def distances_in(cosines: Rows, k: int) -> Rows:
    """Distances N of cosines N×M, of which some are -inf: those that do not count; infinite where none counts."""
    ranked = -np.partition(-cosines, k - 1, axis=1)[:, :k]  # k largest in any order
    others = np.isfinite(ranked)
    far = np.where(others, ranked, np.inf).min(axis=1)
    return np.asarray(np.where(others.any(axis=1), np.clip(1 - far, 0, None), np.inf), dtype=np.float32)


def can_set(rate: float, groups: int) -> bool:
    """Whether so many independent images are enough for a threshold at this rate of false rejects."""
    return rate * (groups + 1) >= _LEAST_REJECTED - 1e-9


def unit_rows(features: NDArray[np.floating]) -> Rows:
    """Rows at unit length, float32; a row of zeros stays zero."""
    rows = np.asarray(features, dtype=np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    unit: Rows = rows / np.maximum(length, _SHORTEST)[:, None]
    return unit


def _rows(features: NDArray[np.floating] | FeatureView, chosen: Labels) -> NDArray[np.floating]:
    return features.take(chosen).raw() if isinstance(features, FeatureView) else features[chosen]


def _distances(cosines: Rows, k: int) -> Rows:
    """One minus the k-th largest cosine of each row, at least 0."""
    last = cosines.shape[1] - k
    return np.maximum(1 - np.partition(cosines, last, axis=1)[:, last], 0)


def _left_out(
    images: FamiliarImages, kept: Familiarity, components: int, rng: np.random.Generator
) -> tuple[Rows, Labels]:  # what is compared with what, and how
    """Distances of training images to others, and their groups; those without any other group are left out."""
    if len(np.unique(images.groups)) < 2:
        return _none(), images.groups[:0]
    if kept.kind == BANK and len(images) <= MOST_BANK:
        found = leave_group_out_distances(images, kept.rows)
        return found[np.isfinite(found)], images.groups[np.isfinite(found)]
    distances = np.empty(len(images), dtype=np.float32)
    for others, held in _folds(images):
        fold = images.take(others)
        part = _keep_bank(fold, "", rng) if kept.kind == BANK else _keep_components(fold, "", components)
        distances[held] = part.measure(images.values()[held]).distances
    return distances, images.groups


def _folds(images: FamiliarImages) -> Iterator[tuple[Labels, Labels]]:
    folds = group_folds(images.labels, images.groups)
    for fold in range(int(folds.max()) + 1):
        yield np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)


def _keep_bank(images: FamiliarImages, stage: str, rng: np.random.Generator) -> Familiarity:
    """The rows themselves, or centres of them, class by class as many as its share."""
    rows, names = images.values(), tuple(images.names)
    if len(images) > MOST_BANK:
        centres, closest = [], list[int]()
        for label in np.unique(images.labels):
            own = np.flatnonzero(images.labels == label)
            count = max(1, round(MOST_BANK * len(own) / len(images)))
            found = spherical_k_means(images.values()[own], count, rng)
            centres.append(found)
            closest += own[(images.values()[own] @ found.T).argmax(axis=0)].tolist()
        rows, names = np.concatenate(centres), tuple(images.names[i] for i in closest)
    return _kept(BANK, stage, rows.astype(np.float16).astype(np.float32), names=names)


def _keep_components(images: FamiliarImages, stage: str, count: int) -> Familiarity:
    """The mean and the first principal components; the rest of an image is its distance.

    Source: Wang et al. 2022 (ViM), arXiv:2203.10807, the residual alone.
    """
    mean = images.values().mean(axis=0, dtype=np.float64)
    centred = images.values().astype(np.float64) - mean
    if len(centred) < centred.shape[1]:
        spectrum, vectors = np.linalg.eigh(centred @ centred.T)
        components = vectors[:, ::-1][:, :count].T @ centred
        components /= np.sqrt(np.maximum(spectrum[::-1][:count, None], 1e-12))
    else:
        components = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :count].T
    return _kept(RESIDUAL, stage, components.astype(np.float32), mean=mean.astype(np.float32))


def _kept(kind: str, stage: str, rows: Rows, *, mean: Rows | None = None, names: tuple[str, ...] = ()) -> Familiarity:
    return Familiarity(
        kind=kind,
        stage=stage,
        rows=np.ascontiguousarray(rows),
        mean=mean,
        names=names,
        distances=_none(),
        rate=FALSE_REJECTS,
        threshold=None,
        images=0,
        groups=0,
    )


def spherical_k_means(rows: Rows, count: int, rng: np.random.Generator) -> Rows:
    """At most `count` centres of unit length, each the mean direction of the rows that are closest to it.

    Source: Dhillon and Modha 2001; Lloyd's iterations from rows drawn at random.
    """
    if count >= len(rows):
        return rows
    centres = rows[np.sort(rng.choice(len(rows), count, replace=False))]
    for _ in range(_ITERATIONS):
        nearest = (rows @ centres.T).argmax(axis=1)
        order = np.argsort(nearest, kind="stable")
        used, starts = np.unique(nearest[order], return_index=True)
        moved = unit_rows(np.add.reduceat(rows[order], starts, axis=0))
        centres = centres.copy()  # a centre without rows stays
        centres[used] = moved
    return centres


def _thinned(distances: Rows) -> Rows:
    """At most 2,000 of them, evenly, the first and the last among them."""
    if len(distances) <= MOST_DISTANCES:
        return distances
    chosen: Rows = distances[np.linspace(0, len(distances) - 1, MOST_DISTANCES).round().astype(np.int64)]
    return chosen


def _none() -> Rows:
    return np.empty(0, dtype=np.float32)
