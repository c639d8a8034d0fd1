"""Calibration: does 90 % sure mean right nine times in ten? Temperature, calibration errors and their noise floor.

In: logits or probabilities N×C, labels N. Out: Temperature, errors in [0, 1], bins. Confidence: that of the answer.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from headstart.errors import DataError
from headstart.evaluation.intervals import Indices, Interval, accuracy_over_groups, bootstrap, never_certain, wilson
from headstart.evaluation.metrics import brier_score, checked, checked_labels, negative_log_likelihood

Values = NDArray[np.float64]

BINS = 15  # of Guo et al. 2017, so that numbers compare with papers
FLATTEST, SHARPEST = 1e-3, 1e6  # 1/T times the spread of the logits: beyond, the answer is all alike or all certain
FLOOR_REPEATS = 2000  # the mean floor is then steady to 1 %, its 95 % quantile to 2 %


@dataclass(frozen=True)
class Temperature:
    """The number that logits are divided by, and what that bought.

    Args:
        value: T > 0; above 1 softens, below 1 sharpens.
        at_bound: no finite best value exists (the logits say nothing about the labels): take T with suspicion.
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
    """Images whose confidence is in (low, high]: how sure the model was on average, and how often it was right."""

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
    """How far confidence and accuracy are apart, with what chance alone would show.

    Args:
        ece: expected calibration error, 15 bins of equal width.
        noise_floor: the same of a perfect model; an ece below its `high` is not evidence of anything.
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
    def beyond_noise(self) -> bool:
        """Whether the error is larger than chance explains."""
        return self.ece.value > self.noise_floor.high

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
    return _softmax(z, 1 / temperature)


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> Temperature:
    """Temperature that makes held-out logits most likely, staying finite when they are all right.

    Every label shares eps = 1/(N+2) with the other classes: over N images that is one imagined mistake, without which
    separable logits would ask for T = 0. The loss is convex in 1/T; its slope has one root, found by bracketing. Logits
    times c give T times c, and the answered class never changes.

    Args:
        logits: N×C, from images that the classifier was not fitted on (or left out one at a time).
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

    Source: Guo et al. 2017, arXiv:1706.04599, section 2. Never 0 on finite data: read it beside `ece_noise_floor`.
    """
    confidence, right = _answers(probabilities, labels)
    return _error(right - confidence, _bin_of(confidence, _edges(bins)), bins)


def adaptive_calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error over bins of equal count, which do not leave most images in the last bin.

    Equal confidences stay in one bin, so that the order of the images does not matter.

    Raises:
        DataError: as in `metrics.checked`.

    Source: Nguyen and O'Connor 2015, arXiv:1508.05154, section 4.1.
    """
    confidence, right = _answers(probabilities, labels)
    edges = np.quantile(confidence, np.linspace(0, 1, bins + 1))
    return _error(right - confidence, _bin_of(confidence, edges), bins)


def reliability_bins(probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """What a reliability diagram shows, for each bin of equal width that holds an image.

    Raises:
        DataError: as in `metrics.checked`.
    """
    confidence, right = _answers(probabilities, labels)
    edges, where = _edges(bins), _bin_of(confidence, _edges(bins))
    found = []
    for number in np.unique(where):
        inside = where == number
        count, hits = int(inside.sum()), int(right[inside].sum())
        low, high = float(edges[number]), float(edges[number + 1])
        found.append(ReliabilityBin(low, high, count, float(confidence[inside].mean()), wilson(hits, count)))
    return tuple(found)


def ece_noise_floor(
    confidences: ArrayLike, *, bins: int = BINS, repeats: int = FLOOR_REPEATS, seed: int = 0
) -> NoiseFloor:
    """Expected calibration error that a perfectly calibrated model with the same confidences shows by chance.

    Draws right or wrong for every image with its confidence as the chance, and measures; falls with 1/sqrt(N).

    Args:
        confidences: N, in [0, 1].

    Raises:
        DataError: there is none, or one is out of range.
    """
    confidence = np.asarray(confidences, np.float64)
    if confidence.ndim != 1 or not len(confidence) or not ((confidence >= 0) & (confidence <= 1)).all():
        raise DataError(expected="one or more confidences in [0, 1]", found=np.array2string(confidence, threshold=6))
    rng, where = np.random.default_rng(seed), _bin_of(confidence, _edges(bins))
    draws = [_error((rng.random(len(confidence)) < confidence) - confidence, where, bins) for _ in range(repeats)]
    return NoiseFloor(float(np.mean(draws)), float(np.quantile(draws, 0.95)))


def measure_calibration(
    probabilities: ArrayLike, labels: ArrayLike, *, groups: Sequence[Hashable] | None = None, seed: int = 0
) -> Calibration:
    """All calibration numbers of one classifier on one set of test images; images of a group are resampled together.

    Raises:
        DataError: as in `metrics.checked`.
    """
    confidence, right = _answers(probabilities, labels)
    gap, where = right - confidence, _bin_of(confidence, _edges(BINS))

    def error(index: Indices) -> float:
        return _error(gap[index], where[index], BINS)

    ece = bootstrap(error, len(gap), seed=seed, groups=groups, recentre=True)
    share = accuracy_over_groups(right > 0, range(len(right)) if groups is None else groups, seed=seed)
    reach = max(share.value - share.low, share.high - share.value)  # by as much as the accuracy may move, so may a gap
    return Calibration(
        ece=never_certain(ece, reach, reach, share.method),
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
        return _fitted(centred, targets, 1.0, True)
    unit = centred / spread  # a bracket in these units holds for logits of any size
    wanted = float((targets * unit).sum())

    def slope(sharpness: float) -> float:
        return float((_softmax(unit, sharpness) * unit).sum()) - wanted

    if slope(FLATTEST) >= 0:
        return _fitted(centred, targets, spread / FLATTEST, True)
    high = 1.0
    while slope(high) < 0 and high < SHARPEST:
        high *= 2
    if slope(high) < 0:
        return _fitted(centred, targets, spread / high, True)
    sharpness = brentq(slope, FLATTEST, high, xtol=1e-14, rtol=1e-14)
    return _fitted(centred, targets, spread / sharpness, False)


def _fitted(logits: Values, targets: Values, value: float, at_bound: bool) -> Temperature:
    return Temperature(value, at_bound, len(logits), _loss(logits, targets, 1.0), _loss(logits, targets, value))


def _loss(logits: Values, targets: Values, temperature: float) -> float:
    z = logits / temperature
    z = z - z.max(axis=1, keepdims=True)
    return float((targets * (np.log(np.exp(z).sum(axis=1, keepdims=True)) - z)).sum(axis=1).mean())


def _softmax(logits: Values, sharpness: float) -> Values:
    shifted = np.exp(sharpness * (logits - logits.max(axis=1, keepdims=True)))  # N×C, at most 1: no overflow
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _checked_logits(logits: ArrayLike) -> Values:
    z = np.asarray(logits, np.float64)
    if z.ndim != 2 or z.shape[0] < 1 or z.shape[1] < 2 or not np.isfinite(z).all():
        found = f"shape {z.shape}, {(~np.isfinite(z)).sum()} not finite"
        raise DataError(expected="finite logits N×C with N >= 1 and C >= 2", found=found)
    return z


def _answers(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Values, Values]:
    """Confidence of each answer, and 1.0 where it was right."""
    p, y = checked(probabilities, labels)
    return np.minimum(p.max(axis=1), 1.0), (p.argmax(axis=1) == y).astype(np.float64)


def _edges(bins: int) -> Values:
    return np.linspace(0, 1, bins + 1)


def _bin_of(confidence: Values, edges: Values) -> Indices:
    """Number of the bin (low, high] that holds each confidence."""
    return np.searchsorted(edges[1:-1], confidence, side="left")


def _error(gap: Values, where: Indices, bins: int) -> float:
    # count/N · |mean accuracy - mean confidence| of a bin is |sum of (right - confidence)| / N
    return float(np.abs(np.bincount(where, weights=gap, minlength=bins)).sum() / len(gap))
