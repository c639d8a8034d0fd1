"""Intervals: how far a measured number may be from the true one. Wilson for shares, bootstrap for everything else.

In: counts, or a statistic over the indices of the test images. Out: Interval, with its number of images and its method.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.plain import Plain
from headstart.public_api import public_api

Indices = NDArray[np.int64]
Values = NDArray[np.float64]

_Group = TypeVar("_Group", bound=Hashable)

CONFIDENCE = 0.95  # what readers of papers expect; other levels only on request
REPEATS = 2000  # each tail of 2.5 % then rests on 50 draws: the ends are steady to 3 % of the half width


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
    low, high = _wilson_ends(successes / n, n, confidence)
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


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How images are drawn with replacement; iterating gives the indices of each sample.

    Args:
        n: number of images.
        strata: N, e.g. the class of each image; every sample keeps the number of draws per stratum.
        groups: N; images of one group are drawn together, None stands alone. With strata, a group is where its first
            image is.
        repeats: number of samples. seed: of the draws; equal seeds give equal samples.

    Raises:
        DataError: n is 0 or a length is not n.
    """

    n: int
    strata: Sequence[Hashable] | None = None
    groups: Sequence[Hashable] | None = None
    repeats: int = REPEATS
    seed: int = 0

    def __post_init__(self) -> None:
        lengths = {len(given) for given in (self.strata, self.groups) if given is not None} | {self.n}
        if self.n < 1 or len(lengths) > 1:
            found = f"lengths {sorted(lengths)}"
            raise DataError(expected="at least one image, with one stratum and one group each", found=found)

    def __iter__(self) -> Iterator[Indices]:
        rng = np.random.default_rng(self.seed)
        members = _Members(np.arange(self.n) if self.groups is None else _numbered(self.groups))
        strata = np.zeros(self.n, np.int64) if self.strata is None else _numbered(self.strata)
        layer = strata[members.first]
        layers = _Members(layer)
        sizes, starts = layers.sizes[layer], layers.starts[layer]
        for _ in range(self.repeats):
            # one uniform number per group picks a group of the same stratum: no loop over strata
            drawn = layers.order[starts + (rng.random(len(layer)) * sizes).astype(np.int64)]
            yield drawn if self.groups is None else members.of(drawn)

    def __str__(self) -> str:
        unit = "images" if self.groups is None else f"{count_groups(self.groups)} groups"
        return f"bootstrap over {unit}{'' if self.strata is None else ' within classes'}"


def bootstrap(statistic: Callable[[Indices], float], resampling: Resampling, *, recentre: bool = False) -> Interval:
    """Percentile bootstrap interval, at 95 %, of any statistic of the test images.

    Args:
        statistic: takes image indices (any number, with repeats) and gives one number.
        recentre: shift the interval by the bootstrap's own bias; for statistics such as calibration errors, which grow
            with noise, so that resampling puts the whole plain interval above the value.

    Source: Efron and Tibshirani 1993, chapter 13 (percentile interval) and 8.3 (strata, groups).
    """
    draws = np.array([statistic(index) for index in resampling])
    value = float(statistic(np.arange(resampling.n)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, (tail, 1 - tail)) - (draws.mean() - value if recentre else 0.0)
    method = f"{'recentred ' if recentre else ''}{resampling}"
    return Interval(value=value, low=float(low), high=float(high), n=resampling.n, method=method)


def accuracy_intervals(
    correct: NDArray[np.bool_], groups: Sequence[Hashable] | None = None, *, seed: int = 0
) -> tuple[Interval, Interval | None]:
    """Accuracy on test images with its Wilson interval, and with the one over groups where images come in groups.

    The one place that decides which intervals an accuracy has: the report and `compare` show the same ones.

    Args:
        correct: N, whether each prediction is. groups: N; those of one image each are no groups.

    Raises:
        DataError: no images, or not one group per image.
    """
    plain, shared = wilson(int(correct.sum()), len(correct)), shared_groups(groups)
    return plain, None if shared is None else accuracy_over_groups(correct, shared, seed=seed)


def accuracy_over_groups(correct: NDArray[np.bool_], groups: Sequence[Hashable], *, seed: int = 0) -> Interval:
    """Accuracy with an interval that treats each group (burst, duplicates, person) as one draw, by cluster bootstrap.

    Where every resample gives the same accuracy (all correct, one group), the bootstrap would claim certainty; the
    interval is then Wilson's with the groups as the only independent trials.

    Raises:
        DataError: no images, or not one group per image.
    """
    resampling = Resampling(n=len(correct), groups=groups, seed=seed)
    found = bootstrap(lambda index: float(correct[index].mean()), resampling)
    count = count_groups(groups)
    low, high = _wilson_ends(found.value, count, CONFIDENCE)
    return replace_degenerate(found, Interval(found.value, low, high, count, method=f"Wilson over {count} groups"))


def replace_degenerate(found: Interval, fallback: Interval, *, least: float = 0.0) -> Interval:
    """A bootstrap interval within [least, 1]; where all resamples agree, which would claim certainty, another one.

    Args:
        fallback: the distances of its ends from its own value are laid around the value of `found`.
    """
    low, high, method = found.low, found.high, found.method
    if high - low <= 1e-9:
        low = found.value - (fallback.value - fallback.low)
        high = found.value + (fallback.high - fallback.value)
        method = fallback.method
    return Interval(value=found.value, low=max(least, low), high=min(1.0, high), n=found.n, method=method)


def shared_groups(groups: Sequence[_Group] | None) -> Sequence[_Group] | None:
    """The groups, or None where each holds one image: then images are the draws."""
    return groups if groups is not None and count_groups(groups) < len(groups) else None


def count_groups(groups: Sequence[Hashable]) -> int:
    """How many independent draws there are: one per named group, one per None."""
    return int(_numbered(groups).max(initial=-1)) + 1


def _wilson_ends(share: float, n: int, confidence: float) -> tuple[float, float]:
    if not 0 < confidence < 1:
        raise DataError(expected="a confidence between 0 and 1", found=f"{confidence}", where="wilson")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    # rounding must not leave 1e-17 where the ends are exactly 0 and 1
    return 0.0 if share == 0 else middle - half, 1.0 if share == 1 else middle + half


def _numbered(names: Sequence[Hashable]) -> Indices:
    """A number per name, equal for equal names; each None gets its own."""
    numbers: dict[Hashable, int] = {}
    keys = (("alone", i) if name is None else ("named", name) for i, name in enumerate(names))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


class _Members:
    """Which indices carry each number, laid out so that many groups are gathered without a loop."""

    def __init__(self, numbers: Indices) -> None:
        self.order = np.argsort(numbers, kind="stable").astype(np.int64)
        self.sizes = np.bincount(numbers)
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.first = self.order[self.starts]

    def of(self, groups: Indices) -> Indices:
        """All indices of each group in turn."""
        sizes = self.sizes[groups]
        ends = np.cumsum(sizes)
        positions: Indices = np.repeat(self.starts[groups] - (ends - sizes), sizes) + np.arange(ends[-1])
        return np.asarray(self.order[positions])
