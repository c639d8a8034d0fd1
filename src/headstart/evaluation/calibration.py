"""Calibration: is a prediction made with 90 % confidence correct nine times in ten? Temperature, errors, noise floor.

In: logits or probabilities N×C, labels N. Out: Temperature, errors in [0, 1], bins. Confidence: that of the prediction.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import log_softmax
from scipy.special import softmax as scipy_softmax

from headstart.errors import DataError
from headstart.evaluation.intervals import (
    Indices,
    Interval,
    Resampling,
    accuracy_over_groups,
    bootstrap,
    replace_degenerate,
    wilson,
)
from headstart.evaluation.metrics import brier_score, checked, checked_labels, negative_log_likelihood

Values = NDArray[np.float64]

BINS = 15  # of Guo et al. 2017, so that numbers compare with papers
FLATTEST, SHARPEST = (
    1e-3,
    1e6,
)  # 1/T times the spread of the logits: beyond, probabilities are equal or 0 and 1
FLOOR_REPEATS = 2000  # the mean floor is then steady to 1 %, its 95 % quantile to 2 %


@dataclass(frozen=True)
class Temperature:
    """The number that logits are divided by, and how much that improves their likelihood.

    Args:
        value: T > 0; above 1 softens, below 1 sharpens.
        at_bound: no finite best value exists, since the logits say nothing about the labels.
        n: images that it was fitted on.
        nll_before, nll: mean negative log-likelihood at T = 1 and at T, against the targets of the fit.
    """

    value: float
    at_bound: bool
    n: int
    nll_before: float
    nll: float


@dataclass(frozen=True)
class NoiseFloor:
    """Calibration error that a perfectly calibrated model with these confidences would show by chance alone."""

    mean: float
    high: float  # 95 % of perfect models stay below


@dataclass(frozen=True)
class ReliabilityBin:
    """Images whose confidence is in (low, high]: their mean confidence, and their accuracy."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: Interval

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> ReliabilityBin:
        """The bin that `Evaluation.to_dict` wrote."""
        return cls(**{**saved, "accuracy": Interval.from_dict(saved["accuracy"])})


@dataclass(frozen=True)
class Calibration:
    """How far confidence and accuracy are apart, and how far they would be by chance alone.

    Args:
        ece: expected calibration error, 15 bins of equal width.
        noise_floor: the same of a perfectly calibrated model; an ece below its `high` is no evidence of miscalibration.
        adaptive_ece: the same with 15 bins of equal count.
        nll, brier: proper scores; lower is better.
        bins: the bins of `ece` that hold images.
    """

    ece: Interval
    noise_floor: NoiseFloor
    adaptive_ece: float
    nll: float
    brier: float
    bins: tuple[ReliabilityBin, ...]

    @property
    def is_miscalibrated(self) -> bool:
        """Whether the error is larger than noise explains."""
        return self.ece.value > self.noise_floor.high

    @property
    def verdict(self) -> str:
        """Whether the probabilities can be trusted, with the numbers that say so."""
        floor = self.noise_floor
        if self.is_miscalibrated:
            text = f"above noise: a perfectly calibrated model would stay below {floor.high * 100:.1f} %"
        else:
            text = f"within noise: a perfectly calibrated model would show {floor.mean * 100:.1f} %"
        return f"{text} on a test set of this size"

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Calibration:
        """The calibration that `Evaluation.to_dict` wrote."""
        ece, floor = Interval.from_dict(saved["ece"]), NoiseFloor(**saved["noise_floor"])
        bins = tuple(ReliabilityBin.from_dict(one) for one in saved["bins"])
        return cls(**{**saved, "ece": ece, "noise_floor": floor, "bins": bins})


def softmax(logits: ArrayLike, temperature: float = 1.0) -> Values:
    """Probabilities N×C of logits N×C divided by the temperature; rows sum to 1, the order within a row is kept.

    Raises:
        DataError: the logits are not N×C and finite, or the temperature is not positive and finite.
    """
    z = _checked_logits(logits)
    if not 0 < temperature < math.inf:
        raise DataError(expected="a positive, finite temperature", found=f"{temperature}")
    return np.asarray(scipy_softmax(z / temperature, axis=1))


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> Temperature:
    """Temperature that makes held-out logits most likely; finite even when all of them are correct.

    Every label shares eps = 1/(N+2) with the other classes: over N images that is one imagined error, without which
    separable logits would ask for T = 0. The loss is convex in 1/T; its slope has one root, found by bracketing. Logits
    times c give T times c, and the predicted class never changes.

    Args:
        logits: N×C, of images that the classifier was not fitted on (or left out one at a time).
        labels: N, in [0, C).

    Raises:
        DataError: shapes or labels do not fit, or a logit is not finite.

    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2, with an exact root where the public code runs an L-BFGS that
    may stop early; soft targets in the manner of Platt 1999, section 2.2.
    """
    z = _checked_logits(logits)
    n, classes = z.shape
    y = checked_labels(labels, n, classes)
    eps = 1 / (n + 2)
    targets = np.full((n, classes), eps / (classes - 1))
    targets[np.arange(n), y] = 1 - eps
    return _fit(z, targets)


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS) -> float:
    """Average gap between stated confidence and observed accuracy, in [0, 1]; 0 is perfect.

    Args:
        bins: of equal width, closed above; empty bins weigh nothing.

    Raises:
        DataError: as in `metrics.checked`.

    Source: Guo et al. 2017, arXiv:1706.04599, section 2. Never 0 on finite data: compare it with `ece_noise_floor`.
    """
    confidence, correct = _predictions(probabilities, labels)
    return _error(correct - confidence, _bin_of(confidence, _edges(bins)), bins)


def adaptive_calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error over bins of equal count, which do not leave most images in the last bin.

    Equal confidences stay in one bin, so that the order of the images does not matter.

    Raises:
        DataError: as in `metrics.checked`.

    Source: Nguyen and O'Connor 2015, arXiv:1508.05154, section 4.1.
    """
    confidence, correct = _predictions(probabilities, labels)
    edges = np.quantile(confidence, np.linspace(0, 1, bins + 1))
    return _error(correct - confidence, _bin_of(confidence, edges), bins)


def reliability_bins(probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """The bins of a reliability diagram: of equal width, those that hold an image.

    Raises:
        DataError: as in `metrics.checked`.
    """
    confidence, correct = _predictions(probabilities, labels)
    edges, bin_of = _edges(bins), _bin_of(confidence, _edges(bins))
    found = []
    for number in np.unique(bin_of):
        inside = bin_of == number
        count = int(inside.sum())
        one = ReliabilityBin(
            low=float(edges[number]),
            high=float(edges[number + 1]),
            count=count,
            confidence=float(confidence[inside].mean()),
            accuracy=wilson(int(correct[inside].sum()), count),
        )
        found.append(one)
    return tuple(found)


def ece_noise_floor(
    confidences: ArrayLike, *, bins: int = BINS, repeats: int = FLOOR_REPEATS, seed: int = 0
) -> NoiseFloor:
    """Expected calibration error that a perfectly calibrated model with the same confidences shows by chance.

    Draws correct or not for every image with its confidence as the probability, and measures; falls with 1/sqrt(N).

    Args:
        confidences: N, in [0, 1].

    Raises:
        DataError: there is none, or one is out of range.
    """
    confidence = np.asarray(confidences, np.float64)
    if confidence.ndim != 1 or not len(confidence) or not ((confidence >= 0) & (confidence <= 1)).all():
        raise DataError(expected="one or more confidences in [0, 1]", found=np.array2string(confidence, threshold=6))
    rng, bin_of = np.random.default_rng(seed), _bin_of(confidence, _edges(bins))
    draws = [_error((rng.random(len(confidence)) < confidence) - confidence, bin_of, bins) for _ in range(repeats)]
    return NoiseFloor(float(np.mean(draws)), float(np.quantile(draws, 0.95)))


def measure_calibration(
    probabilities: ArrayLike, labels: ArrayLike, *, groups: Sequence[Hashable] | None = None, seed: int = 0
) -> Calibration:
    """All calibration numbers of one classifier on one set of test images; images of a group are resampled together.

    Raises:
        DataError: as in `metrics.checked`.
    """
    confidence, correct = _predictions(probabilities, labels)
    gap, bin_of = correct - confidence, _bin_of(confidence, _edges(BINS))

    def error(index: Indices) -> float:
        return _error(gap[index], bin_of[index], BINS)

    ece = bootstrap(error, Resampling(n=len(gap), groups=groups, seed=seed), recentre=True)
    share = accuracy_over_groups(correct > 0, range(len(gap)) if groups is None else groups, seed=seed)
    reach = max(share.value - share.low, share.high - share.value)  # by as much as the accuracy may move, so may a gap
    fallback = Interval(value=0.0, low=-reach, high=reach, n=share.n, method=share.method)
    return Calibration(
        ece=replace_degenerate(ece, fallback),
        noise_floor=ece_noise_floor(confidence, seed=seed),
        adaptive_ece=adaptive_calibration_error(probabilities, labels),
        nll=negative_log_likelihood(probabilities, labels),
        brier=brier_score(probabilities, labels),
        bins=reliability_bins(probabilities, labels),
    )


def _fit(logits: Values, targets: Values) -> Temperature:
    """Temperature for targets N×C whose rows sum to 1."""
    centred = logits - logits.mean(axis=1, keepdims=True)
    spread = float(np.sqrt((centred**2).mean()))
    if spread == 0:  # equal logits give equal probabilities at any temperature
        return _fitted(centred, targets, 1.0, at_bound=True)
    unit = centred / spread  # a bracket in these units holds for logits of any size
    wanted = float((targets * unit).sum())

    def slope(sharpness: float) -> float:
        return float((scipy_softmax(sharpness * unit, axis=1) * unit).sum()) - wanted

    if slope(FLATTEST) >= 0:
        return _fitted(centred, targets, spread / FLATTEST, at_bound=True)
    high = 1.0
    while slope(high) < 0 and high < SHARPEST:
        high *= 2
    if slope(high) < 0:
        return _fitted(centred, targets, spread / high, at_bound=True)
    sharpness = brentq(slope, FLATTEST, high, xtol=1e-14, rtol=1e-14)
    return _fitted(centred, targets, spread / sharpness, at_bound=False)


def _fitted(logits: Values, targets: Values, value: float, *, at_bound: bool) -> Temperature:
    return Temperature(
        value=value,
        at_bound=at_bound,
        n=len(logits),
        nll_before=_loss(logits, targets, 1.0),
        nll=_loss(logits, targets, value),
    )


def _loss(logits: Values, targets: Values, temperature: float) -> float:
    return float(-(targets * log_softmax(logits / temperature, axis=1)).sum(axis=1).mean())


def _checked_logits(logits: ArrayLike) -> Values:
    z = np.asarray(logits, np.float64)
    if z.ndim != 2 or z.shape[0] < 1 or z.shape[1] < 2 or not np.isfinite(z).all():
        found = f"shape {z.shape}, {(~np.isfinite(z)).sum()} not finite"
        raise DataError(expected="finite logits N×C with N >= 1 and C >= 2", found=found)
    return z


def _predictions(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Values, Values]:
    """Confidence of each prediction, and 1.0 where it is correct."""
    p, y = checked(probabilities, labels)
    return np.minimum(p.max(axis=1), 1.0), (p.argmax(axis=1) == y).astype(np.float64)


def _edges(bins: int) -> Values:
    return np.linspace(0, 1, bins + 1)


def _bin_of(confidence: Values, edges: Values) -> Indices:
    """Number of the bin (low, high] that holds each confidence."""
    return np.searchsorted(edges[1:-1], confidence, side="left")


def _error(gap: Values, bin_of: Indices, bins: int) -> float:
    # count/N · |mean accuracy - mean confidence| of a bin is |sum of (correct - confidence)| / N
    return float(np.abs(np.bincount(bin_of, weights=gap, minlength=bins)).sum() / len(gap))
