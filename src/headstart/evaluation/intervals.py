"""Intervals: how far a measured number may be from the true one. Score intervals for shares, Student's t for means.

In: counts, or a value for each test image, and groups. Out: Interval, with its number of images and its method.
`benchmarks/coverage.py` checks by simulation that 95 % intervals cover the true value in 95 % of cases.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from headstart.errors import DataError
from headstart.evaluation.design_effect import INDEPENDENT, design_effect, shared_groups
from headstart.plain import Plain
from headstart.public_api import public_api
from headstart.wording import with_sign

Indices = NDArray[np.int64]
Values = NDArray[np.float64]

CONFIDENCE = 0.95  # what readers of papers expect; other levels only on request
_IMAGINED = 2.0  # images that each class shares with all: by simulation, fewer cover too rarely with 5 images a class


@dataclass(frozen=True, eq=False)
class Interval(Plain):
    """A measured value with the range in which the true one plausibly lies.

    Args:
        value: a share in [0, 1] or a difference of shares in [-1, 1]; nan where there was nothing to measure.
        low, high: the two ends, in the value's unit.
        n: images that it rests on.
        method: how the ends were found, in a few words.
    """

    value: float
    low: float
    high: float
    n: int
    method: str

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Interval:
        """The interval that `to_dict` wrote."""
        return cls(**{**saved, "value": math.nan if saved["value"] is None else saved["value"]})

    def __str__(self) -> str:
        value = "not measured" if math.isnan(self.value) else f"{self.value * 100:.1f} %"
        return f"{value} [{self.low * 100:.1f}, {self.high * 100:.1f}]"

    def __eq__(self, other: object) -> bool:  # by what is written, since nan is not equal to itself
        return isinstance(other, Interval) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(tuple(self.to_dict().values()))


def points(difference: Interval) -> str:
    """`+1.3 points [-2.6, +5.3]`: a difference of shares with its sign."""
    value, ends = signed(difference, digits=1, scale=100).split(" ", 1)
    return f"{value} points {ends}"


def signed(difference: Interval, *, digits: int, scale: float = 1.0) -> str:
    """`+0.013 [-0.026, +0.053]`; what rounds to zero is `+0.000`, from below too."""
    ends = (difference.value, difference.low, difference.high)
    value, low, high = (with_sign(each * scale, digits) for each in ends)
    return f"{value} [{low}, {high}]"


@public_api
def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson score interval of a share: correct also for few images and near 0 or 1.

    Args:
        successes: how many of the n, in [0, n].
        n: number of trials; 0 gives a value of nan between 0 and 1, for nothing is known.
        confidence: in (0, 1).

    Raises:
        DataError: the counts or the confidence are out of range.

    Source: Wilson 1927, Journal of the American Statistical Association 22:209; no continuity correction.
    """
    if not 0 <= successes <= n:
        raise DataError(expected="0 <= successes <= n", found=f"{successes} of {n}", where="wilson")
    if n == 0:
        return Interval(value=math.nan, low=0.0, high=1.0, n=0, method="Wilson")
    low, high = wilson_ends(successes / n, n, INDEPENDENT.quantile(confidence))
    return Interval(value=successes / n, low=low, high=high, n=n, method="Wilson")


def add_intervals(shares: Sequence[Interval], weights: Sequence[float], method: str) -> Interval:
    """Interval of a weighted sum of independent shares, from the interval of each; `weights` (1, -1) is a difference.

    The distances to the ends add like standard deviations.

    Source: Newcombe 1998, Statistics in Medicine 17:873, method 10 (difference of two Wilson intervals); any weights
    by Zou and Donner 2008, Statistics in Medicine 27:1693.
    """
    value = sum(weight * share.value for weight, share in zip(weights, shares, strict=True))
    below = above = 0.0
    for weight, share in zip(weights, shares, strict=True):
        down, up = share.value - share.low, share.high - share.value
        if weight < 0:
            down, up = up, down
        below, above = below + (weight * down) ** 2, above + (weight * up) ** 2
    return Interval(
        value=value,
        low=value - math.sqrt(below),
        high=value + math.sqrt(above),
        n=sum(share.n for share in shares),
        method=method,
    )


def accuracy_intervals(
    correct: NDArray[np.bool_], groups: Sequence[Hashable] | None = None
) -> tuple[Interval, Interval | None]:
    """Accuracy on test images with its Wilson interval, and with the one over groups where images come in groups.

    The one place that decides which intervals an accuracy has: the report and `compare` show the same ones.

    Args:
        correct: N, whether each prediction is. groups: N; those of one image each are no groups.

    Raises:
        DataError: no images, or not one group per image.
    """
    plain, shared = share_interval(correct), shared_groups(groups)
    return plain, None if shared is None else share_interval(correct, shared)


def share_interval(
    hits: NDArray[np.bool_] | Values, groups: Sequence[Hashable] | None = None, *, confidence: float = CONFIDENCE
) -> Interval:
    """Share of images for which something holds, with Wilson's interval; with groups at the effective n.

    Args:
        hits: N; of an image that was asked several times, the share of its answers, for which the interval is too wide
            rather than too narrow. groups: N; images of one group are not independent, None stands alone.

    Raises:
        DataError: not one group per image.

    Source: Wilson 1927 (see `wilson`); effective n: Korn and Graubard 1998, Survey Methodology 24:193, with Wilson's
        ends as advised by Dean and Pagano 2015, Journal of Survey Statistics and Methodology 3:484.
    """
    n = len(hits)
    if groups is not None and len(groups) != n:
        found = f"lengths {sorted({n, len(groups)})}"
        raise DataError(expected="one group for each image", found=found)
    if not n:
        return wilson(0, 0)
    effect = design_effect(np.asarray(hits, np.float64), groups)
    share = float(np.mean(hits))
    low, high = wilson_ends(share, n / effect.factor, effect.quantile(confidence))
    return Interval(share, low, high, n, method=effect.named("Wilson", n))


def picked_share_interval(hits: NDArray[np.bool_], groups: Sequence[Hashable] | None = None, *, among: int) -> Interval:
    """The lowest of several shares, with an interval that allows for having been picked.

    Each of the C intervals would have to hold at 1 - 0.05/C (Bonferroni). So far out Wilson's tails are several times
    too heavy on 20 images, and Clopper and Pearson's are not; with groups at the effective n.

    Args:
        hits: N, of the picked share. groups: N, as in `share_interval`. among: how many shares there were, C.

    Source: Clopper and Pearson 1934, Biometrika 26:404; with groups: Korn and Graubard 1998, Survey Methodology 24:193.
    """
    if among < 2:
        return share_interval(hits, groups)
    effect, tail = design_effect(np.asarray(hits, np.float64), groups), (1 - CONFIDENCE) / 2 / among
    confidence = 1 - 2 * tail
    n = len(hits) / effect.factor * (INDEPENDENT.quantile(confidence) / effect.quantile(confidence)) ** 2
    share = float(np.mean(hits))
    low = 0.0 if share == 0 else float(betaincinv(n * share, n * (1 - share) + 1, tail))
    high = 1.0 if share == 1 else float(betaincinv(n * share + 1, n * (1 - share), 1 - tail))
    method = effect.named("Clopper-Pearson", len(hits))
    return Interval(share, low, high, len(hits), method=f"{method}, lowest of {among} classes")


def mean_share_interval(
    hits: NDArray[np.bool_],
    strata: Indices,
    groups: Sequence[Hashable] | None = None,
    *,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Mean over strata of the share of hits in each, such as balanced accuracy over classes, with its score interval.

    The ends are where the score test just rejects, as Wilson's are for one share; the other shares are the most likely
    ones with that mean. They are found along the multiplier of the constraint: no search for the shares is needed.

    Args:
        hits: N. strata: N numbers. groups: N, as in `share_interval`.

    Source: Martín Andrés, Álvarez Hernández and Herranz Tejedor 2011, Statistical Methods in Medical Research 20:369
        (score interval of a linear combination of shares).
    """
    _, stratum, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    found = np.bincount(stratum, weights=hits)
    shares = found / sizes
    effect = design_effect((hits - shares[stratum]) / sizes[stratum], groups)
    n, z = sizes / effect.factor, effect.quantile(confidence)
    value = float(shares.mean())
    # a stratum without errors is not certain: for its variance, the share of all is seen on so many further images
    pooled = (found.sum() + 0.5) / (sizes.sum() + 1)
    prior = _IMAGINED / effect.factor
    counts, smoothed = found / effect.factor + prior * pooled, n + prior

    def at(multiplier: float) -> tuple[float, float]:
        """Mean of the most likely shares, and their variance's root."""
        likely = _constrained(counts, smoothed, multiplier)
        return float(likely.mean()), math.sqrt(float((likely * (1 - likely) / n).sum())) / len(n)

    from scipy.optimize import brentq  # half a second to import, which a prediction never needs

    def end(sign: float) -> float:
        def excess(multiplier: float) -> float:
            mean, error = at(sign * multiplier)
            return sign * (value - mean) - z * error

        low = high = float(n.max())
        while excess(high) < 0:
            high *= 2
        while excess(-low) > 0:
            low *= 2
        return at(sign * float(brentq(excess, -low, high, xtol=1e-9 * high, rtol=1e-12)))[0]

    low = 0.0 if value == 0 else end(1.0)
    high = 1.0 if value == 1 else end(-1.0)
    method = effect.named("score", len(hits))
    return Interval(value, low, high, len(hits), method=f"{method}, {len(n)} classes")


def macro_f1_interval(predicted: Indices, labels: Indices, groups: Sequence[Hashable] | None = None) -> Interval:
    """Macro F1 of the classes that occur among the labels, with Wilson's interval at the effective n.

    The effective n is that of a share with the variance of macro F1 by the delta method, in which each class has one
    imagined image, so that a class without errors is not certain; Student's t says how few images make the variance.

    Args:
        predicted, labels: N numbers of classes. groups: N, as in `share_interval`.

    Source: Takahashi et al. 2022, Applied Intelligence 52:4961 (delta method for macro F1); Satterthwaite 1946,
        Biometrics Bulletin 2:110 (degrees of freedom).
    """
    # two at least: with images of the first class alone, all of them found, there is still one that they could be
    width, n = max(int(max(predicted.max(), labels.max())) + 1, 2), len(labels)
    confusion = (
        np.bincount(labels * width + predicted, minlength=width * width).reshape(width, width).astype(np.float64)
    )
    support = confusion.sum(axis=1)
    present = support > 0
    value = _f1(confusion)[present].mean()
    accuracy = (np.trace(confusion) + 0.5) / (n + 1)
    imagined = np.full((width, width), (1 - accuracy) / max(width - 1, 1))
    np.fill_diagonal(imagined, accuracy)
    seen = confusion + imagined * present[:, None]
    slope = np.where(present, -_f1(seen) / np.maximum(seen.sum(axis=0) + seen.sum(axis=1), 1e-12), 0.0)
    influence = slope[:, None] + slope  # C×C: of an image of the class in this row, predicted as that of this column
    influence[np.diag_indices(width)] += np.where(
        present, 2 / np.maximum(seen.sum(axis=0) + seen.sum(axis=1), 1e-12), 0.0
    )
    influence -= ((seen * influence).sum(axis=1) / np.maximum(seen.sum(axis=1), 1e-12))[:, None]
    influence /= present.sum()
    by_class = (seen * influence**2).sum(axis=1)
    variance = float(by_class.sum() * seen.sum() / n)
    smooth = float(_f1(seen)[present].mean())
    df = float(by_class.sum() ** 2 / (by_class[present] ** 2 / support[present]).sum())
    effect = design_effect(influence[labels, predicted], groups)
    effect = replace(effect, df=min(df, effect.df))
    size = smooth * (1 - smooth) / variance / effect.factor
    low, high = wilson_ends(float(value), size, effect.quantile(CONFIDENCE))
    return Interval(float(value), low, high, n, method=effect.named("delta method", n))


def mean_interval(
    values: Values, groups: Sequence[Hashable] | None = None, *, folds: int = 0, confidence: float = CONFIDENCE
) -> Interval:
    """Mean of N numbers with Student's t interval; with groups, their variance is that between groups (jackknife).

    Args:
        folds: K, of values that were measured in a cross-validation: its trainings share images, so that their luck
            does not average out, and the variance is 1 + K/(K-1) times that of independent values; 0: none.

    Raises:
        DataError: there are no values.

    Source: `folds`: Nadeau and Bengio 2003, Machine Learning 52:239, section 4.
    """
    n = len(values)
    if not n:
        raise DataError(expected="at least one value", found="none")
    effect = design_effect(values, groups)
    mean = float(np.mean(values))
    half = math.inf
    if n > 1:
        error = float(np.std(values, ddof=1)) * math.sqrt(
            effect.factor / n * (1 + folds / (folds - 1) if folds > 1 else 1)
        )
        half = replace(effect, df=min(effect.df, n - 1)).quantile(confidence) * error
    return Interval(mean, mean - half, mean + half, n, method=effect.named("Student's t", n))


def _f1(confusion: Values) -> Values:
    """F1 of each class, 0 where it neither occurs nor is predicted."""
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    return np.asarray(2 * np.diag(confusion) / np.maximum(total, 1e-12))


def _constrained(counts: Values, n: Values, multiplier: float) -> Values:
    """Most likely shares of binomial counts of n under a constraint on their mean, given its Lagrange multiplier."""
    # the root in [0, 1] of  multiplier·r² - (n + multiplier)·r + counts = 0,  in the form without cancellation
    if multiplier < 0:
        return 1 - _constrained(n - counts, n, -multiplier)
    total = n + multiplier
    return np.asarray(2 * counts / (total + np.sqrt(np.maximum(total**2 - 4 * multiplier * counts, 0.0))))


def wilson_ends(share: float, n: float, z: float) -> tuple[float, float]:
    """Ends of Wilson's interval; n may be a fraction, as an effective n is, and z any quantile."""
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    # rounding must not leave 1e-17 where the ends are exactly 0 and 1
    return 0.0 if share == 0 else middle - half, 1.0 if share == 1 else middle + half
