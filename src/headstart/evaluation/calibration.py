"""Calibration: is a prediction made with 90 % confidence correct nine times in ten? Temperature, errors, noise floor.

In: logits or probabilities N×C, labels N. Out: Temperature, errors in [0, 1], bins. Confidence: that of the prediction.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax
from scipy.special import softmax as scipy_softmax

from headstart.errors import DataError
from headstart.evaluation.calibration_error import BinnedGaps, bin_numbers, edges_of, mid_p, true_error_interval
from headstart.evaluation.design_effect import INDEPENDENT, DesignEffect, design_effect, groups_of, numbered
from headstart.evaluation.intervals import CONFIDENCE, Indices, Interval, share_interval, wilson_ends
from headstart.evaluation.metrics import brier_score, checked, checked_labels, negative_log_likelihood

Values = NDArray[np.float64]

BINS = 15  # of Guo et al. 2017, so that numbers compare with papers
FLATTEST, SHARPEST = (
    1e-3,
    1e6,
)  # 1/T times the spread of the logits: beyond, probabilities are equal or 0 and 1
_CHI_SQUARED = 3.841459  # its 95 % quantile with one degree of freedom
_WIDEST = 16.0  # of log T from the best: an end farther off is none
REPEATS = 2000  # draws of a perfect model: the mean floor is then steady to 1 %, its 95 % quantile to 2 %
NOTABLE = 0.05  # a mean confidence that is off by more changes decisions: 95 % stated are 90 % correct
SIGNIFICANT = 0.05  # of both tests together


@dataclass(frozen=True)
class Temperature:
    """The number that logits are divided by, and how much that improves their likelihood.

    Args:
        value: T > 0; above 1 softens, below 1 sharpens.
        at_bound: no finite best value exists, since the logits say nothing about the labels.
        n: images that it was fitted on.
        nll_before, nll: mean negative log-likelihood at T = 1 and at T, against the targets of the fit.
        low, high: ends of its 95 % interval.
    """

    value: float
    at_bound: bool
    n: int
    nll_before: float
    nll: float
    low: float
    high: float

    def __str__(self) -> str:
        text = f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"
        return f"{text}, at its bound: the scores say nothing about the classes" if self.at_bound else text


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
        ece: the true expected calibration error, 15 bins of equal width: an estimate without the noise that the plain
            one adds, 0 where noise explains all of it.
        noise_floor: what the plain estimate shows of a perfectly calibrated model.
        adaptive_ece: the plain estimate with 15 bins of equal count.
        nll, brier: proper scores; lower is better.
        bins: the bins of `ece` that hold images.
        plain_ece: the plain estimate, as in papers; never 0 on finite data. None in evaluations before 0.2, whose `ece`
            holds it.
        overconfidence: mean confidence minus accuracy; below 0 is underconfident. None before 0.2.
        p_value: of a perfectly calibrated model showing as much overconfidence or calibration error, whichever is
            rarer, times 2 for looking at both. None before 0.2.
    """

    ece: Interval
    noise_floor: NoiseFloor
    adaptive_ece: float
    nll: float
    brier: float
    bins: tuple[ReliabilityBin, ...]
    plain_ece: float | None = None
    overconfidence: Interval | None = None
    p_value: float | None = None

    @property
    def is_miscalibrated(self) -> bool:
        """Whether the error is larger than noise explains."""
        if self.p_value is None:
            return self.ece.value > self.noise_floor.high
        return self.p_value < SIGNIFICANT

    @property
    def is_precise(self) -> bool:
        """Whether the mean confidence could be off by 5 points at most; otherwise no evidence says little."""
        gap = self.overconfidence
        return gap is None or max(-gap.low, gap.high) <= NOTABLE

    @property
    def verdict(self) -> str:
        """Whether the probabilities can be trusted, with the numbers that say so."""
        floor, plain = self.noise_floor, self.ece.value if self.plain_ece is None else self.plain_ece
        size = "on a test set of this size"
        if not self.is_miscalibrated:
            noise = f"within noise: a perfectly calibrated model would show {floor.mean * 100:.1f} % {size}"
        elif plain > floor.high:
            noise = f"above noise: a perfectly calibrated model would stay below {floor.high * 100:.1f} % {size}"
        else:
            noise = f"within noise {size}, but the mean confidence is off by more than noise explains"
        return noise if self.plain_ece is None else f"{plain * 100:.1f} % with its noise, {noise}"

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Calibration:
        """The calibration that `Evaluation.to_dict` wrote."""
        ece, floor = Interval.from_dict(saved["ece"]), NoiseFloor(**saved["noise_floor"])
        bins = tuple(ReliabilityBin.from_dict(one) for one in saved["bins"])
        gap = saved.get("overconfidence")
        gap = None if gap is None else Interval.from_dict(gap)
        return cls(**{**saved, "ece": ece, "noise_floor": floor, "bins": bins, "overconfidence": gap})


def softmax(logits: ArrayLike, temperature: float = 1.0) -> Values:
    """Probabilities N×C of logits N×C divided by the temperature; rows sum to 1, the order within a row is kept.

    Raises:
        DataError: the logits are not N×C and finite, or the temperature is not positive and finite.
    """
    z = _checked_logits(logits)
    if not 0 < temperature < math.inf:
        raise DataError(expected="a positive, finite temperature", found=f"{temperature}")
    return np.asarray(scipy_softmax(z / temperature, axis=1))


def fit_temperature(logits: ArrayLike, labels: ArrayLike, *, shrink: float | None = None) -> Temperature:
    """Temperature that makes held-out logits most likely; finite even when all of them are correct.

    Every label shares eps = 1/(N+2) with the other classes: over N images that is one imagined error, without which
    separable logits would ask for T = 0. The loss is convex in 1/T; its slope has one root, found by bracketing. Logits
    times c give T times c, and the predicted class never changes.

    Args:
        logits: N×C, of images that the classifier was not fitted on (or left out one at a time).
        labels: N, in [0, C).
        shrink: standard deviation of log T around 0 before any image was seen, for logits that were trained to be
            calibrated; few images then move T little from 1, many are not held back. None: T may be anything.

    Raises:
        DataError: shapes or labels do not fit, or a logit is not finite.

    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2, with an exact root where the public code runs an L-BFGS that
    may stop early; soft targets in the manner of Platt 1999, section 2.2. The interval is that of the likelihood ratio
    (Wilks 1938), with `shrink` of the penalised one.
    """
    z = _checked_logits(logits)
    n, classes = z.shape
    y = checked_labels(labels, n, classes)
    eps = 1 / (n + 2)
    targets = np.full((n, classes), eps / (classes - 1))
    targets[np.arange(n), y] = 1 - eps
    return _fit(z, targets, shrink)


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS) -> float:
    """Average gap between stated confidence and observed accuracy, in [0, 1]; 0 is perfect.

    Args:
        bins: of equal width, closed above; empty bins weigh nothing.

    Raises:
        DataError: as in `metrics.checked`.

    Source: Guo et al. 2017, arXiv:1706.04599, section 2. Never 0 on finite data: compare it with `ece_noise_floor`.
    """
    confidence, correct = _predictions(probabilities, labels)
    return _error(correct - confidence, bin_numbers(confidence, edges_of(bins)), bins)


def adaptive_calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error over bins of equal count, which do not leave most images in the last bin.

    Equal confidences stay in one bin, so that the order of the images does not matter.

    Raises:
        DataError: as in `metrics.checked`.

    Source: Nguyen and O'Connor 2015, arXiv:1508.05154, section 4.1.
    """
    confidence, correct = _predictions(probabilities, labels)
    edges = np.quantile(confidence, np.linspace(0, 1, bins + 1))
    return _error(correct - confidence, bin_numbers(confidence, edges), bins)


def reliability_bins(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS, *, groups: Sequence[Hashable] | None = None
) -> tuple[ReliabilityBin, ...]:
    """The bins of a reliability diagram: of equal width, those that hold an image; intervals over groups if given.

    Raises:
        DataError: as in `metrics.checked`.
    """
    confidence, correct = _predictions(probabilities, labels)
    edges, bin_of = edges_of(bins), bin_numbers(confidence, edges_of(bins))
    found = []
    for number in np.unique(bin_of):
        inside = bin_of == number
        count = int(inside.sum())
        one = ReliabilityBin(
            low=float(edges[number]),
            high=float(edges[number + 1]),
            count=count,
            confidence=float(confidence[inside].mean()),
            accuracy=share_interval(correct[inside] > 0, groups_of(groups, inside)),
        )
        found.append(one)
    return tuple(found)


def ece_noise_floor(confidences: ArrayLike, *, bins: int = BINS, repeats: int = REPEATS, seed: int = 0) -> NoiseFloor:
    """Expected calibration error that a perfectly calibrated model with the same confidences shows by chance.

    Draws how many images of each bin are correct, with their mean confidence as the probability, and measures; falls
    with 1/sqrt(N).

    Args:
        confidences: N, in [0, 1].

    Raises:
        DataError: there is none, or one is out of range.
    """
    confidence = np.asarray(confidences, np.float64)
    if confidence.ndim != 1 or not len(confidence) or not ((confidence >= 0) & (confidence <= 1)).all():
        raise DataError(expected="one or more confidences in [0, 1]", found=np.array2string(confidence, threshold=6))
    gaps = BinnedGaps.of(confidence, np.zeros(len(confidence)), bins)
    return _floor(gaps.calibrated(INDEPENDENT, repeats, seed))


def measure_calibration(
    probabilities: ArrayLike, labels: ArrayLike, *, groups: Sequence[Hashable] | None = None, seed: int = 0
) -> Calibration:
    """All calibration numbers of one classifier on one set of test images; images of a group are not independent.

    Raises:
        DataError: as in `metrics.checked`.
    """
    confidence, correct = _predictions(probabilities, labels)
    gaps = BinnedGaps.of(confidence, correct, BINS)
    residual = correct - confidence
    whole = design_effect(residual, groups)
    # each bin sums its own images of a group: those of one group in different bins do not add up
    cells = None if groups is None else list(zip(numbered(groups).tolist(), gaps.bin_of.tolist(), strict=True))
    within = replace(design_effect(residual, cells), groups=whole.groups)  # the groups that a reader knows
    null = gaps.calibrated(within, REPEATS, seed)
    p_values = mid_p(null, gaps.error), mid_p(np.abs(gaps.signed(whole, REPEATS, seed)), abs(float(residual.mean())))
    return Calibration(
        ece=true_error_interval(gaps, null, effect=within, seed=seed),
        noise_floor=_floor(null),
        adaptive_ece=adaptive_calibration_error(probabilities, labels),
        nll=negative_log_likelihood(probabilities, labels),
        brier=brier_score(probabilities, labels),
        bins=reliability_bins(probabilities, labels, groups=groups),
        plain_ece=gaps.error,
        overconfidence=_overconfidence(confidence, correct, whole),
        p_value=min(1.0, 2 * min(p_values)),
    )


def _overconfidence(confidence: Values, correct: Values, effect: DesignEffect) -> Interval:
    """Mean confidence minus accuracy: Wilson's ends of the accuracy, at an n with the variance of the difference."""
    n, share = len(correct), float(correct.mean())
    # two imagined images on either side, as Agresti and Coull: where all are correct, the variance is not 0
    accuracy = (correct.sum() + 2) / (n + 4)
    of_accuracy = accuracy * (1 - accuracy)
    covariance = float(((confidence - confidence.mean()) * (correct - share)).mean())
    of_difference = max(of_accuracy + float(confidence.var()) - 2 * covariance, of_accuracy / 10)
    size = n * of_accuracy / of_difference / effect.factor
    low, high = wilson_ends(share, size, effect.quantile(CONFIDENCE))
    mean = float(confidence.mean())
    return Interval(mean - share, mean - float(high), mean - float(low), n, method=effect.named("Wilson, paired", n))


def _floor(errors: Values) -> NoiseFloor:
    return NoiseFloor(float(errors.mean()), float(np.quantile(errors, 0.95)))


def _fit(logits: Values, targets: Values, shrink: float | None = None) -> Temperature:
    """Temperature for targets N×C whose rows sum to 1."""
    centred = logits - logits.mean(axis=1, keepdims=True)
    spread = float(np.sqrt((centred**2).mean()))
    if spread == 0:  # equal logits give equal probabilities at any temperature
        return _fitted(centred, targets, 1.0, at_bound=True, shrink=shrink)
    unit = centred / spread  # a bracket in these units holds for logits of any size
    wanted = float((targets * unit).sum())

    from scipy.optimize import brentq  # half a second to import, which a prediction never needs

    def slope(sharpness: float) -> float:
        likelihood = float((scipy_softmax(sharpness * unit, axis=1) * unit).sum()) - wanted
        return likelihood if shrink is None else likelihood + math.log(sharpness / spread) / sharpness / shrink**2

    if slope(FLATTEST) >= 0:
        return _fitted(centred, targets, spread / FLATTEST, at_bound=True, shrink=shrink)
    high = 1.0
    while slope(high) < 0 and high < SHARPEST:
        high *= 2
    if slope(high) < 0:
        return _fitted(centred, targets, spread / high, at_bound=True, shrink=shrink)
    sharpness = brentq(slope, FLATTEST, high, xtol=1e-14, rtol=1e-14)
    return _fitted(centred, targets, spread / sharpness, at_bound=False, shrink=shrink)


def _fitted(logits: Values, targets: Values, value: float, *, at_bound: bool, shrink: float | None) -> Temperature:
    from scipy.optimize import brentq  # half a second to import, which a prediction never needs

    n = len(logits)

    def excess(log_temperature: float) -> float:
        """Twice the loss of log-likelihood from the best temperature, less what 95 % of true ones lose."""
        lost = n * (_loss(logits, targets, math.exp(log_temperature)) - best)
        if shrink is not None:
            lost += (log_temperature**2 - math.log(value) ** 2) / (2 * shrink**2)
        return 2 * lost - _CHI_SQUARED

    best, centre = _loss(logits, targets, value), math.log(value)
    ends = []
    for sign in (-1.0, 1.0):
        reach = 0.25
        while reach < _WIDEST and excess(centre + sign * reach) < 0:
            reach *= 2
        inside = reach >= _WIDEST  # however far: the logits do not tell
        ends.append(sign * math.inf if inside else float(brentq(excess, centre, centre + sign * reach, xtol=1e-9)))
    return Temperature(
        value=value,
        at_bound=at_bound,
        n=n,
        nll_before=_loss(logits, targets, 1.0),
        nll=best,
        low=math.exp(ends[0]),
        high=math.exp(ends[1]),
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


def _error(gap: Values, bin_of: Indices, bins: int) -> float:
    # count/N · |mean accuracy - mean confidence| of a bin is |sum of (correct - confidence)| / N
    return float(np.abs(np.bincount(bin_of, weights=gap, minlength=bins)).sum() / len(gap))
