"""Intervals: how far a measured number may be from the truth. Wilson for shares, bootstrap for everything else.

In: counts, or a statistic over the indices of the test images. Out: Interval, with its number of images and its method.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError

Indices = NDArray[np.int64]
Values = NDArray[np.float64]

CONFIDENCE = 0.95  # what readers of papers expect; other levels only on request
REPEATS = 2000  # each tail of 2.5 % then rests on 50 draws: the ends are steady to 3 % of the half width


@dataclass(frozen=True, eq=False)
class Interval:
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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a value of nan becomes None."""
        value = None if math.isnan(self.value) else self.value
        return {"value": value, "low": self.low, "high": self.high, "n": self.n, "method": self.method}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Interval:
        """The interval that `to_dict` wrote."""
        value = math.nan if saved["value"] is None else float(saved["value"])
        return cls(value, float(saved["low"]), float(saved["high"]), int(saved["n"]), str(saved["method"]))

    def __str__(self) -> str:
        value = "not measured" if math.isnan(self.value) else f"{self.value * 100:.1f} %"
        return f"{value} [{self.low * 100:.1f}, {self.high * 100:.1f}]"

    def __eq__(self, other: object) -> bool:  # by what is written, since nan is not equal to itself
        return isinstance(other, Interval) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(tuple(self.to_dict().values()))


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson score interval of a share: right also for few images and near 0 or 1.

    Args:
        successes: how many of the n were right, in [0, n].
        n: number tried; 0 gives a value of nan between 0 and 1, for nothing is known.
        confidence: in (0, 1).

    Raises:
        DataError: the counts or the confidence are out of range.

    Source: Wilson 1927, Journal of the American Statistical Association 22:209; no continuity correction.
    """
    if not 0 <= successes <= n:
        raise DataError(expected="0 <= successes <= n", found=f"{successes} of {n}", where="wilson")
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 0, "Wilson")
    low, high = _wilson_ends(successes / n, n, confidence)
    return Interval(successes / n, low, high, n, "Wilson")


def add_intervals(parts: Sequence[Interval], weights: Sequence[float], method: str) -> Interval:
    """Interval of a weighted sum of independent shares, from the interval of each; `weights` (1, -1) is a difference.

    The distances to the ends add like standard deviations.

    Source: Newcombe 1998, Statistics in Medicine 17:873, method 10 (difference of two Wilson intervals); any weights
    by Zou and Donner 2008, Statistics in Medicine 27:1693.
    """
    value = sum(weight * part.value for weight, part in zip(weights, parts, strict=True))
    below = above = 0.0
    for weight, part in zip(weights, parts, strict=True):
        down, up = part.value - part.low, part.high - part.value
        if weight < 0:
            down, up = up, down
        below, above = below + (weight * down) ** 2, above + (weight * up) ** 2
    return Interval(value, value - math.sqrt(below), value + math.sqrt(above), sum(part.n for part in parts), method)


def bootstrap(
    statistic: Callable[[Indices], float],
    n: int,
    *,
    repeats: int = REPEATS,
    seed: int = 0,
    strata: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
    recentre: bool = False,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Percentile bootstrap interval of any statistic of the test images.

    Args:
        statistic: takes image indices (any number, with repeats) and gives one number.
        n: number of images.
        strata, groups: as in `resamples`.
        recentre: shift the interval by the bootstrap's own bias; for statistics such as calibration errors, which grow
            with noise, so that resampling puts the whole plain interval above the value.

    Raises:
        DataError: n is 0 or a length is not n.

    Source: Efron and Tibshirani 1993, chapter 13 (percentile interval) and 8.3 (strata, groups).
    """
    draws = np.array([statistic(index) for index in resamples(n, repeats, seed, strata=strata, groups=groups)])
    value = float(statistic(np.arange(n)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, (tail, 1 - tail)) - (draws.mean() - value if recentre else 0.0)
    unit = f"{count_groups(groups)} groups" if groups is not None else "images"
    method = f"{'recentred ' if recentre else ''}bootstrap over {unit}{' within classes' if strata is not None else ''}"
    return Interval(value, float(low), float(high), n, method)


def resamples(
    n: int,
    repeats: int,
    seed: int,
    *,
    strata: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
) -> Iterator[Indices]:
    """Indices of `repeats` samples drawn with replacement from n images.

    Args:
        strata: N, e.g. the class of each image; every sample keeps the number of draws per stratum.
        groups: N; images of one group are drawn together, None stands alone. With strata, a group is where its first
            image is.

    Raises:
        DataError: n is 0 or a length is not n.
    """
    lengths = {len(given) for given in (strata, groups) if given is not None} | {n}
    if n < 1 or len(lengths) > 1:
        found = f"lengths {sorted(lengths)}"
        raise DataError(expected="at least one image, with one stratum and one group each", found=found)
    rng = np.random.default_rng(seed)
    members = _Members(_numbered(groups) if groups is not None else np.arange(n))
    layer = _numbered(strata)[members.first] if strata is not None else np.zeros(len(members.first), np.int64)
    layers = _Members(layer)
    sizes, starts = layers.sizes[layer], layers.starts[layer]
    for _ in range(repeats):
        # one uniform number per group picks a group of the same stratum: no loop over strata
        drawn = layers.order[starts + (rng.random(len(layer)) * sizes).astype(np.int64)]
        yield drawn if groups is None else members.of(drawn)


def accuracy_over_groups(right: NDArray[np.bool_], groups: Sequence[Hashable], *, seed: int = 0) -> Interval:
    """Accuracy with an interval that treats each group (burst, duplicates, person) as one draw, by cluster bootstrap.

    Where every resample gives the same accuracy (all right, one group), the bootstrap would claim certainty; the answer
    is then Wilson's with the groups as the only independent trials.

    Raises:
        DataError: no images, or not one group per image.
    """
    found = bootstrap(lambda index: float(right[index].mean()), len(right), seed=seed, groups=groups)
    count = count_groups(groups)
    low, high = _wilson_ends(found.value, count, CONFIDENCE)
    return never_certain(found, found.value - low, high - found.value, f"Wilson over {count} groups")


def never_certain(found: Interval, below: float, above: float, method: str, *, least: float = 0.0) -> Interval:
    """A bootstrap interval within [least, 1]; where all resamples agree, which would claim certainty, another one.

    Args:
        below, above, method: of the other interval: distances of its ends from the value, and how they were found.
    """
    low, high = found.low, found.high
    if high - low <= 1e-9:
        low, high = found.value - below, found.value + above
    else:
        method = found.method
    return Interval(found.value, max(least, low), min(1.0, high), found.n, method)


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
    keys = (("alone", place) if name is None else ("named", name) for place, name in enumerate(names))
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
        places: Indices = np.repeat(self.starts[groups] - (ends - sizes), sizes) + np.arange(ends[-1])
        return np.asarray(self.order[places])
