"""How many more images, and of which class: a learning curve measured on nested subsets of cached features.

In: features, labels and groups of the training images. Out: LearningCurve. A head is solved on each subset; images in
it are predicted without their group, the others directly, so that every size is measured on the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from headstart.advice.curve_fit import Forecast, forecast
from headstart.advice.nested import beginning, nested_order
from headstart.evaluation.design_effect import numbered, shared_groups
from headstart.evaluation.intervals import CONFIDENCE, Interval, mean_interval, points, share_interval, signed
from headstart.evaluation.paired import paired_difference
from headstart.features.matrix import FeatureView
from headstart.heads.regularization_path import LabelledFeatures, Labels
from headstart.heads.ridge import solve_ridge
from headstart.plain import Plain
from headstart.progress import OnProgress, no_progress
from headstart.wording import percent

HORIZON = (1.5, 2.0, 4.0)  # times as many images; beyond four times no forecast covered the truth often enough
_SIZES, _DRAWS = 7, 3  # 7 sizes from an eighth of the images to all, three draws of each but the last: 19 heads
_BOOTSTRAP = 200
_MOST_CLASSES = 12  # measured one by one: those with the most errors; three heads each
_WORTH = 0.01  # of accuracy: less than a point is not worth four times the images

Wrong = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class CurvePoint(Plain):
    """The error measured with so many training images, with its 95 % interval; shares in [0, 1]."""

    images: int
    error: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ClassGain(Plain):
    """What the images of one class are worth.

    Args:
        name: of the class. images: it has in training.
        gain: balanced accuracy, the mean recall of all classes, with all its images minus that with half of them, in
            pairs; the interval holds for all classes together.
    """

    name: str
    images: int
    gain: Interval

    @property
    def is_certain(self) -> bool:
        """Whether its images gained something beyond doubt."""
        return self.gain.low > 0

    @property
    def gained(self) -> str:
        """The gain and its interval in points, without the word."""
        return signed(self.gain, digits=1, scale=100)


@dataclass(frozen=True, kw_only=True)
class LearningCurve(Plain):
    """A measured learning curve, its forecasts, and the classes by what their images are worth.

    Args:
        images: training images. accuracy: of images predicted without their group, with all of them.
        points: smallest size first. forecasts: at 1.5, 2 and 4 times as many images of every class.
        gains: of the classes, the largest first. chance: share of the largest class.
    """

    images: int
    accuracy: Interval
    chance: float
    points: tuple[CurvePoint, ...]
    forecasts: tuple[Forecast, ...]
    gains: tuple[ClassGain, ...]

    @property
    def verdict(self) -> str:
        """`more-images`, `maybe`, `not-the-limit`, `no-mistakes`, or `nothing-learnt`."""
        error, twice, far = self.points[-1].error, self.forecasts[1], self.forecasts[-1]
        if self.accuracy.low <= self.chance:
            return "nothing-learnt"
        if not error:
            return "no-mistakes"
        if error - far.error < _WORTH:
            return "not-the-limit"
        return "more-images" if twice.high < error else "maybe"

    @property
    def summary(self) -> str:
        """What the curve says, a few sentences."""
        now, (_, twice, far) = self.points[-1], self.forecasts
        ahead = f"{_band(twice)} with {twice.images:,} images, {_band(far)} with {far.images:,} (90 % bands)"
        text = f"With {self.images:,} training images the error is {_band(now)}"
        if self.verdict == "nothing-learnt":
            return f"{text}, no less beyond doubt than that of always naming the largest class: check the labels first."
        if self.verdict == "no-mistakes":
            return (
                f"{text}: none of them is wrong when its group is left out, so that nothing can be seen to help. Test "
                "the classifier on images from elsewhere."
            )
        if self.verdict == "not-the-limit":
            return f"{text}; the forecast is {ahead}. The images are not the limit: try another backbone."
        words = "More images help" if self.verdict == "more-images" else "More images may help"
        text += f". {words}: the forecast is {ahead}, all classes growing alike."
        first = self.gains[0] if self.gains else None
        if first is not None and first.is_certain:
            gain = f"{points(first.gain)} of balanced accuracy"
            text += f" Images of {first.name} are worth most: the second half of them gained {gain}."
        elif self.gains:
            text += " No class stands out: add images of all."
        return text

    def to_dict(self) -> dict[str, object]:
        """The fields as plain values, with `verdict` and `summary`."""
        return super().to_dict() | {"verdict": self.verdict, "summary": self.summary}


def measure_learning_curve(
    view: FeatureView,
    labels: Labels,
    groups: Labels,
    *,
    names: Sequence[str],
    seed: int = 0,
    progress: OnProgress = no_progress,
) -> LearningCurve:
    """Measure the curve of a ridge head, forecast it, and find what the images of each class are worth.

    Args:
        view: N×D features. labels, groups: N. names: of the classes. progress: called with (heads solved, heads).

    Raises:
        DataError: there are too few groups to leave one out.
    """
    classes = _classes_to_measure(labels, len(names))
    heads = Heads(view, labels, groups, classes=len(names), progress=progress, others=len(classes) * _DRAWS)
    counts, wrong = _measured(heads, seed)
    samples = _bootstrap(wrong, groups, seed=seed)
    full = heads.wrong(np.arange(len(labels)))
    gains = [_gain(heads, full, label, name=names[label], seed=seed, among=len(classes)) for label in classes]
    shares = np.bincount(labels, minlength=len(names)) / len(labels)
    shared = shared_groups(groups.tolist())
    accuracy = share_interval(~full, shared)
    errors = [share_interval(of_size, shared) for of_size in wrong.mean(axis=0)]  # of each image over the draws
    ahead = forecast(counts, samples, [round(times * len(labels)) for times in HORIZON], seed=seed)
    if not full.any():  # no sample of images without a mistake has one: their band would be 0 wide
        ahead = tuple(replace(one, high=max(one.high, 1 - accuracy.low)) for one in ahead)
    return LearningCurve(
        images=len(labels),
        accuracy=accuracy,
        chance=float(shares.max()),
        points=tuple(
            CurvePoint(images=round(count), error=error.value, low=error.low, high=error.high)
            for count, error in zip(counts, errors, strict=True)
        ),
        forecasts=ahead,
        gains=tuple(sorted(gains, key=lambda gain: -gain.gain.value)),
    )


@dataclass
class Heads:
    """Heads solved on subsets of the same N images, and which images each gets wrong.

    Args:
        view: N×D features. labels, groups: N. others: heads that will be solved besides those of the curve.
    """

    view: FeatureView
    labels: Labels
    groups: Labels
    classes: int
    progress: OnProgress = no_progress
    others: int = 0
    done: int = 0

    @cached_property
    def sizes(self) -> list[int]:
        """Sizes of the curve, ascending; the smallest has several images of each class."""
        count = len(self.labels)
        smallest = min(max(count / 8, 4 * self.classes), count)
        return sorted({round(size) for size in np.geomspace(smallest, count, _SIZES)})

    def wrong(self, rows: Labels) -> Wrong:
        """N: whether each image is predicted wrongly by a head that was solved on these rows without its group."""
        rows = np.sort(rows)
        data = LabelledFeatures.of(self.view.take(rows), self.labels[rows], self.classes, groups=self.groups[rows])
        path = solve_ridge(data)
        predicted = np.empty(len(self.labels), dtype=np.int64)
        predicted[rows] = path.held_scores.argmax(axis=1)
        rest = np.setdiff1d(np.arange(len(self.labels)), rows)
        for block, x in self.view.take(rest).blocks():
            predicted[rest[block]] = (x @ path.weight + path.bias).argmax(axis=1)
        self.done += 1
        self.progress(self.done, (len(self.sizes) - 1) * _DRAWS + 2 + self.others)
        return np.asarray(predicted != self.labels)


def gain_of_second_half(heads: Heads, wrong: Wrong, *, seed: int = 0) -> Interval | None:
    """Held-out accuracy with all images minus that with half of them, in pairs: two heads, a cheap hint at the curve.

    Args:
        wrong: N, whether the head of all images is wrong on each without its group.

    Returns:
        None where half of the images are fewer than four a class, or one group.
    """
    if len(wrong) < 8 * heads.classes:
        return None
    lost = np.zeros(len(wrong))
    for draw in range(2):
        order = nested_order(heads.labels, heads.groups, seed=seed + draw)
        half = beginning(order, heads.groups, len(order) // 2)
        if len(np.unique(heads.groups[half])) < 2:
            return None
        lost += heads.wrong(half).astype(np.float64) - wrong
    return _mean_gain(lost / 2, heads.groups)


def measure_errors(heads: Heads, *, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """K mean sizes, and R×K errors: those measured, then bootstrap samples of them; what `forecast` takes."""
    counts, wrong = _measured(heads, seed)
    return counts, _bootstrap(wrong, heads.groups, seed=seed)


def _measured(heads: Heads, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """K mean sizes, and B×K×N: whether each image is wrong by the head of each draw and size."""
    labels, groups = heads.labels, heads.groups
    orders = [nested_order(labels, groups, seed=seed + draw) for draw in range(_DRAWS)]
    smaller = [[beginning(order, groups, size) for size in heads.sizes[:-1]] for order in orders]
    full = heads.wrong(np.arange(len(labels)))
    wrong = np.array([[*(heads.wrong(rows) for rows in draw), full] for draw in smaller], dtype=np.float64)  # B×K×N
    counts = [np.mean([len(draw[k]) for draw in smaller]) for k in range(len(heads.sizes) - 1)]
    return np.array([*counts, len(labels)]), wrong


def _classes_to_measure(labels: Labels, classes: int) -> list[int]:
    """The classes with the most images that may be worth something: all of them, or the largest few."""
    counts = np.bincount(labels, minlength=classes)
    order = np.argsort(-counts, kind="stable")
    return [int(label) for label in order[:_MOST_CLASSES] if counts[label] >= 4]


def _bootstrap(wrong: NDArray[np.float64], groups: Labels, *, seed: int) -> NDArray[np.float64]:
    """R×K mean errors: the measured one, then those of drawn groups of images and drawn subsets."""
    rng, number = np.random.default_rng(seed), numbered(groups.tolist())
    count = int(number.max()) + 1
    found = [wrong.mean(axis=(0, 2))]
    for _ in range(_BOOTSTRAP):
        weights = np.bincount(rng.integers(count, size=count), minlength=count)[number]  # N
        drawn = wrong[rng.integers(len(wrong), size=len(wrong))].mean(axis=0)  # K×N
        found.append(drawn @ weights / weights.sum())
    return np.array(found)


def _gain(  # six: which images, which class, and how its interval is read
    heads: Heads, full: Wrong, label: int, *, name: str, seed: int, among: int
) -> ClassGain:
    """Balanced accuracy with all images of a class minus that with half of its groups."""
    own = np.flatnonzero(heads.labels == label)
    others = np.flatnonzero(heads.labels != label)
    lost = np.zeros(len(full))
    for draw in range(_DRAWS):
        order = nested_order(heads.labels[own], heads.groups[own], seed=seed + draw)
        half = own[beginning(order, heads.groups[own], len(own) // 2)]
        lost += heads.wrong(np.concatenate([others, half])).astype(np.float64) - full
    counts = np.bincount(heads.labels, minlength=heads.classes)
    weights = len(full) / np.count_nonzero(counts) / counts[heads.labels]  # each class counts alike
    gain = _mean_gain(lost * weights / _DRAWS, heads.groups)
    # the class is picked as the best of several: each interval holds at 1 - 0.05 / C (Bonferroni)
    wider = float(ndtri(1 - (1 - CONFIDENCE) / 2 / among) / ndtri((1 + CONFIDENCE) / 2))
    ends = (gain.value - wider * (gain.value - gain.low), gain.value + wider * (gain.high - gain.value))
    return ClassGain(name=name, images=len(own), gain=Interval(gain.value, *ends, gain.n, method=gain.method))


def _mean_gain(gains: NDArray[np.float64], groups: Labels) -> Interval:
    """Mean gain of images; where none gained or lost, the interval of so many pairs that are alike, which is not 0."""
    shared = shared_groups(groups.tolist())
    return mean_interval(gains, shared) if gains.any() else paired_difference(gains, shared).difference


def _band(found: CurvePoint | Forecast) -> str:
    return f"{percent(found.error)} [{found.low * 100:.1f}, {found.high * 100:.1f}]"
