"""What a classifier's doubts are worth: familiar images that are rejected, foreign ones noticed, sets that hold.

In: familiarity, prediction sets, images. Out: TrustEvaluation, plain values and sentences for terminal and report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classifier.familiarity import (
    MOST_BANK,
    NEIGHBOURS,
    FamiliarImages,
    Familiarity,
    can_set,
    distances_in,
    unit_rows,
)
from headstart.errors import shown
from headstart.evaluation.conformal import (
    ERROR_RATE,
    ConformalSets,
    SetCoverage,
    conformal_quantile,
    least_images,
    measure_sets,
)
from headstart.evaluation.design_effect import shared_groups
from headstart.evaluation.intervals import Interval, share_interval
from headstart.features.matrix import FeatureView
from headstart.plain import Plain
from headstart.wording import NBSP, listed, percent

_MOST_CLASSES = 60  # left out in turn: two seconds with 2,000 images
_MISSED = 0.5  # of which more images than this pass unnoticed


@dataclass(frozen=True)
class Noticed(Plain):
    """Foreign images of one kind, and the share of them that is called unfamiliar."""

    name: str
    share: Interval


@dataclass(frozen=True)
class TrustEvaluation(Plain):
    """How familiarity and prediction sets do.

    Args:
        rate: of false rejects, as stated. reason: why there is no threshold; empty: there is one.
        false_rejects: share of the test images that are called unfamiliar.
        left_out_classes: each class with a threshold and a bank of the other classes alone, as if it came along later.
        foreign: pictures that headstart draws.
        sets: of the test images. error_rate: as stated. no_sets: why there are none.
        fine_tuned: whether the network was trained on the classes that are left out, which makes them easier to notice.
    """

    rate: float
    reason: str
    false_rejects: Interval | None = None
    left_out_classes: tuple[Noticed, ...] = ()
    foreign: tuple[Noticed, ...] = ()
    sets: SetCoverage | None = None
    error_rate: float = ERROR_RATE
    no_sets: str = ""
    fine_tuned: bool = False

    @property
    def sentences(self) -> tuple[str, ...]:
        """The numbers in words: familiarity, what would be noticed, what would not, prediction sets."""
        return tuple(filter(None, (self._familiarity, self._left_out, self._missed, self._foreign, self._sets)))

    @property
    def _familiarity(self) -> str:
        if self.reason:
            return f"Unfamiliar images are not rejected: {self.reason}."
        if self.false_rejects is None:
            return ""
        found, stated = self.false_rejects, f"{self.rate * 100:.3g}{NBSP}%"
        off = ""
        if found.low > self.rate:
            off = " More than stated: the test images differ from the training images."
        return f"Of the test images {_share(found)} are called unfamiliar (stated: {stated}).{off}"

    @property
    def _left_out(self) -> str:
        if self.reason or self.false_rejects is None:
            return ""
        if not self.left_out_classes:
            why = "leaving out one of the known classes would leave too few images or classes"
            return f"Whether a new class would be noticed is not measured: {why}."
        ranked = sorted(self.left_out_classes, key=lambda one: -one.share.value)
        shares = [f"{shown(one.name)} {percent(one.share.value)}" for one in ranked]
        best = " (with a network that was trained on them: an upper bound)" if self.fine_tuned else ""
        return f"If a new class came along, as each of these with the others alone{best}: noticed {_few(shares)}."

    @property
    def _missed(self) -> str:
        missed = [one.name for one in self.left_out_classes if one.share.value < _MISSED]
        if not missed:
            return ""
        return f"Images like {listed(missed, 5)} would mostly be answered with another class: too close to tell apart."

    @property
    def _foreign(self) -> str:
        if not self.foreign:
            return ""
        return f"Of drawn pictures: {_few([f'{one.name} {percent(one.share.value)}' for one in self.foreign])} noticed."

    @property
    def _sets(self) -> str:
        if self.no_sets:
            return f"No prediction sets: {self.no_sets}."
        if self.sets is None:
            return ""
        s, band = self.sets, self.sets.band
        return (
            f"Prediction sets hold the true class for {_share(s.coverage)} of the test images (stated: "
            f"{(1 - self.error_rate) * 100:.3g}{NBSP}%; expected from as many held-out images: {percent(band.low)} to "
            f"{percent(band.high)}), {s.mean_size:.2f} classes on average; {percent(s.alone)} name one class alone."
        )

    @property
    def rows(self) -> list[tuple[str, Interval]]:
        """Kind of image → share that is noticed, as a table shows it."""
        return [(one.name, one.share) for one in (*self.left_out_classes, *self.foreign)]


NO_SETS = (
    f"prediction sets at {(1 - ERROR_RATE) * 100:.0f}{NBSP}% need {least_images(ERROR_RATE)} "
    "independent held-out images"
)
"""Why there are none, where too few images are held out."""


@dataclass(frozen=True)
class TrustImages:
    """What both are measured on.

    Args:
        trained: of which each class is left out in turn. tested: test images. probabilities: T×C, of `tested`.
        foreign: kind of picture → its features of the stage.
    """

    trained: FamiliarImages
    tested: FamiliarImages
    probabilities: NDArray[np.float64]
    foreign: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)


def evaluate_trust(
    familiarity: Familiarity | None,
    conformal: ConformalSets | None,
    images: TrustImages,
    *,
    classes: Sequence[str],
    seed: int,
) -> TrustEvaluation:
    """Measure both on the test images, on each class left out in turn, and on foreign pictures.

    Args:
        classes: C names, by label. seed: of the choice of 2,000 training images, where there are more.
    """
    tested, groups = images.tested, [str(group) for group in images.tested.groups]
    rate, reason = (0.0, "") if familiarity is None else (familiarity.rate, familiarity.reason)
    found = TrustEvaluation(rate, reason)
    if familiarity is not None and familiarity.threshold is not None:
        (rejected,) = notice(familiarity, {"test": tested.features}, groups)
        left_out = leave_classes_out(images.trained, classes, rate=familiarity.rate, seed=seed)
        foreign = notice(familiarity, images.foreign)
        found = replace(found, false_rejects=rejected.share, left_out_classes=left_out, foreign=foreign)
    if conformal is not None:
        sets = measure_sets(conformal, images.probabilities, tested.labels, groups=shared_groups(groups))
        found = replace(found, sets=sets, error_rate=conformal.error_rate)
    return found


def notice(
    familiarity: Familiarity,
    images: Mapping[str, NDArray[np.floating] | FeatureView],
    groups: Sequence[str] | None = None,
) -> tuple[Noticed, ...]:
    """The share of each kind of images that the threshold calls unfamiliar; empty without one.

    Args:
        images: kind → features n×D of the stage. groups: of the images, where there is one kind.
    """
    if familiarity.threshold is None:
        return ()
    found = []
    for name, features in images.items():
        beyond = familiarity.measure(features).distances > familiarity.threshold
        found.append(Noticed(name, share_interval(beyond, groups)))
    return tuple(found)


def leave_classes_out(
    images: FamiliarImages, classes: Sequence[str], *, rate: float, seed: int = 0
) -> tuple[Noticed, ...]:
    """For each class: which share of its images is unfamiliar to a bank and a threshold of the other classes alone.

    At most 2,000 images and 60 classes; a class is left away where the others are too few for a threshold.

    Args:
        images: training images. classes: C names, by label. rate: of false rejects.
    """
    if len(images) > MOST_BANK:
        chosen = np.random.default_rng(seed).choice(len(images), MOST_BANK, replace=False)
        images = images.take(np.sort(chosen))
    unit = unit_rows(images.values())
    cosines = unit @ unit.T
    cosines[images.groups[:, None] == images.groups] = -np.inf
    found = []
    for label in np.unique(images.labels)[:_MOST_CLASSES]:
        own, rest = np.flatnonzero(images.labels == label), np.flatnonzero(images.labels != label)
        distances = distances_in(cosines[np.ix_(rest, rest)], min(NEIGHBOURS, len(rest)))
        known = np.isfinite(distances)
        if not can_set(rate, len(np.unique(images.groups[rest[known]]))):
            continue
        threshold = conformal_quantile(distances[known].astype(np.float64), rate)
        beyond = distances_in(cosines[np.ix_(own, rest)], min(NEIGHBOURS, len(rest))) > threshold
        groups = [str(group) for group in images.groups[own]]
        found.append(Noticed(classes[int(label)], share_interval(beyond, groups)))
    return tuple(found)


def _share(interval: Interval) -> str:
    return f"{percent(interval.value)} [{interval.low * 100:.1f}, {interval.high * 100:.1f}]"


def _few(parts: Sequence[Any]) -> str:
    """The first and the last of a ranked list."""
    return ", ".join(parts) if len(parts) <= 6 else f"{', '.join(parts[:3])} … {', '.join(parts[-3:])}"
