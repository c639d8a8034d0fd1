"""Calibration error: what a perfect model shows by chance, and which true errors would show what is observed.

In: confidence and correctness of N images, in bins. Out: simulated errors, an interval of the true error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.design_effect import DesignEffect
from headstart.evaluation.intervals import CONFIDENCE, Indices, Interval

Values = NDArray[np.float64]

_NOISE, _SCALES = 500, 60  # draws, and true errors tried: the ends are then steady to a twentieth of the interval


def edges_of(bins: int) -> Values:
    """Ends of bins of equal width."""
    return np.linspace(0, 1, bins + 1)


def bin_numbers(confidence: Values, edges: Values) -> Indices:
    """Number of the bin (low, high] that holds each confidence."""
    return np.searchsorted(edges[1:-1], confidence, side="left")


@dataclass(frozen=True, eq=False)
class BinnedGaps:
    """The B bins that hold images.

    Args:
        counts, confidence, accuracy: B. bin_of: N, the place of each image among them.
    """

    counts: Values
    confidence: Values
    accuracy: Values
    bin_of: Indices

    @classmethod
    def of(cls, confidence: Values, correct: Values, bins: int) -> BinnedGaps:
        """Bins of equal width."""
        _, bin_of = np.unique(bin_numbers(confidence, edges_of(bins)), return_inverse=True)
        counts = np.bincount(bin_of).astype(np.float64)
        sums = (np.bincount(bin_of, weights=values) for values in (confidence, correct))
        mean_confidence, accuracy = (total / counts for total in sums)
        return cls(counts, np.minimum(mean_confidence, 1.0), accuracy, bin_of)

    @property
    def weights(self) -> Values:
        """B, share of the images in each bin."""
        return np.asarray(self.counts / self.counts.sum())

    @property
    def error(self) -> float:
        """Expected calibration error of these images."""
        return float(self.weights @ np.abs(self.accuracy - self.confidence))

    def calibrated(self, effect: DesignEffect, repeats: int, seed: int) -> Values:
        """Calibration errors that a perfectly calibrated model would show, R."""
        return np.abs(self._drawn(effect, repeats, seed)) @ self.weights

    def signed(self, effect: DesignEffect, repeats: int, seed: int) -> Values:
        """Accuracies minus mean confidence that a perfectly calibrated model would show, R."""
        return self._drawn(effect, repeats, seed) @ self.weights

    def _drawn(self, effect: DesignEffect, repeats: int, seed: int) -> Values:
        """R×B gaps of a perfectly calibrated model."""
        rng = np.random.default_rng(seed)
        sizes = self.counts / _factors(effect, repeats, rng)  # an effective n rounded up or down, right on average
        trials = np.maximum(1, np.floor(sizes + rng.random((repeats, len(self.counts))))).astype(np.int64)
        return np.asarray(rng.binomial(trials, self.confidence) / trials - self.confidence)


def mid_p(null: Values, observed: float) -> float:
    """Share of draws above the observed value; those equal to it count half."""
    tolerance = 1e-9
    return float((null > observed + tolerance).mean() + (np.abs(null - observed) <= tolerance).mean() / 2)


def true_error_interval(gaps: BinnedGaps, null: Values, *, effect: DesignEffect, seed: int) -> Interval:
    """The true calibration error: which ones would show an error like the observed one.

    The plain estimate adds noise to every bin and never subtracts any. So for each possible true error we ask how large
    the plain estimate would be, and keep the true errors for which the observed one lies within 95 %; the value is the
    one for which it lies in the middle. Which bins make the true error is not known: for the lower end and the value
    it is those that show more than noise, for the upper end all bins alike, too high or too low,
    which shows least.
    """
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((_NOISE, len(gaps.counts))) * np.sqrt(_factors(effect, _NOISE, rng))
    search = _Search(gaps, noise)
    observed = gaps.error
    typical = max(observed, float(np.median(null)))  # less than a perfect model usually shows is luck, not evidence
    shown = gaps.accuracy - gaps.confidence
    noise_variance = effect.factor * gaps.confidence * (1 - gaps.confidence) / gaps.counts
    # shrunk as by James and Stein: gaps that noise explains are no profile
    kept = np.maximum(0.0, 1 - noise_variance / np.maximum(shown**2, 1e-24))
    profile = shown * kept if kept.any() else np.where(np.arange(len(shown)) == np.abs(shown).argmax(), shown, 0.0)
    tail = (1 - CONFIDENCE) / 2
    value = low = 0.0
    if observed > 0:
        value = search.error_where(profile, observed, 0.5)
        low = 0.0 if mid_p(null, observed) >= tail else search.error_where(profile, observed, 1 - tail)
    alike = [search.error_where(sign * np.ones(len(shown)), typical, tail) for sign in (-1.0, 1.0)]
    high = max(*alike, value)
    n = int(gaps.counts.sum())
    return Interval(value, min(low, value), high, n, method=effect.named("inverted simulation", n))


@dataclass(frozen=True, eq=False)
class _Search:
    """What plain errors true ones would show.

    Args:
        noise: R×B standard normal numbers, larger where groups make the bins less certain.
    """

    gaps: BinnedGaps
    noise: Values

    def error_where(self, profile: Values, observed: float, quantile: float) -> float:
        """True error at which the observed one is this quantile of what is shown; 0 where none is that small."""
        gaps = self.gaps
        scales = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, _SCALES)]) / max(np.abs(profile).max(), 1e-9)
        accuracy = np.clip(gaps.confidence + scales[:, None] * profile, 0.0, 1.0)  # S×B
        true = np.abs(accuracy - gaps.confidence) @ gaps.weights
        # half an imagined image of the stated confidence: an accuracy of 1 on three images is not certain
        smooth = (accuracy * gaps.counts + 0.5 * gaps.confidence) / (gaps.counts + 0.5)
        spread = np.sqrt(smooth * (1 - smooth) / gaps.counts)
        shown = np.abs((accuracy - gaps.confidence)[:, None] + self.noise * spread[:, None]) @ gaps.weights  # S×R
        shown = np.quantile(shown, quantile, axis=1)
        return float(np.interp(observed, np.maximum.accumulate(shown), true, left=0.0))


def _factors(effect: DesignEffect, repeats: int, rng: np.random.Generator) -> Values:
    """R×1 design effects: the estimate, with its own uncertainty, which is what makes a normal variable Student's t."""
    if np.isinf(effect.df):
        return np.full((repeats, 1), effect.factor)
    return np.asarray(effect.factor * effect.df / rng.chisquare(effect.df, (repeats, 1)))
