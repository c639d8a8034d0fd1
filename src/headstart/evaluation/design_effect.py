"""Design effect: images of one group (burst, duplicates, person) are not independent, so n of them say less than n.

In: how much each image moves a statistic, and the groups. Out: DesignEffect, with which intervals use an effective n.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from headstart.errors import DataError

Indices = NDArray[np.int64]
Values = NDArray[np.float64]

_Group = TypeVar("_Group", bound=Hashable)

FEW_GROUPS = 10  # below, the variance between groups rests on so little that an interval is only a rough guide
_FEW_DF = 5.5  # below, Student's t widens an interval by a quarter or more, and the count alone does not explain it


@dataclass(frozen=True)
class DesignEffect:
    """By how much groups widen an interval: n images count as n / factor, and the quantile is that of Student's t.

    Args:
        factor: variance with these groups over that of as many independent images; at least 1.
        df: degrees of freedom of that estimate; infinite where nothing was estimated.
        groups: number of independent draws; 0 where each image is one.
    """

    factor: float = 1.0
    df: float = np.inf
    groups: int = 0

    def quantile(self, confidence: float) -> float:
        """Two-sided quantile: 1.96 at 95 % for independent images, larger for few groups.

        Raises:
            DataError: the confidence is not in (0, 1).
        """
        if not 0 < confidence < 1:
            raise DataError(expected="a confidence between 0 and 1", found=f"{confidence}", where="interval")
        tail = (1 + confidence) / 2
        return float(ndtri(tail) if np.isinf(self.df) else stdtrit(self.df, tail))

    def named(self, method: str, n: int) -> str:
        """`Wilson` alone, or `Wilson, 153 images in 12 groups count as 31`, and Student's t where few groups decide."""
        if not self.groups:
            return method
        images = "1 image" if n == 1 else f"{n:,} images"
        groups = "1 group" if self.groups == 1 else f"{self.groups:,} groups"
        few = f", Student's t with {self.df:.0f} degrees of freedom" if self.df < _FEW_DF else ""
        return f"{method}, {images} in {groups} count as {max(1, round(n / self.factor)):,}{few}"


INDEPENDENT = DesignEffect()


def design_effect(influence: Values, groups: Sequence[Hashable] | None) -> DesignEffect:
    """Design effect of a statistic that is a sum over images, by the jackknife over groups.

    Its degrees of freedom follow from how evenly the groups contribute: five groups of which one makes all errors say
    less than five that share them. Where the estimate is below 1, images count as independent; where no image moves the
    statistic (all correct), those of a group stand or fall together.

    Args:
        influence: N, how much each image moves the statistic; centred here. groups: N; None: each image is one.

    Source: Kish 1965, Survey Sampling, section 8.2; variance and its degrees of freedom as in Bell and McCaffrey 2002,
        Survey Methodology 28:169 (jackknife), and Pan and Wall 2002, Statistics in Medicine 21:1429.
    """
    if groups is None:
        return INDEPENDENT
    number = numbered(groups)
    sizes = np.bincount(number).astype(np.float64)
    n, count = len(number), len(sizes)
    largest = float((sizes**2).sum() / n)  # all images of a group stand or fall together
    centred = influence - influence.mean()
    total = float((centred**2).sum())
    if count < 2 or total <= 1e-24 * n:
        return DesignEffect(largest, np.inf, count)
    sums = np.bincount(number, weights=centred) / (1 - sizes / n)
    between = float((sums**2).sum())
    factor = (count - 1) / count * between / (total * n / (n - 1))
    if factor <= 1:
        return DesignEffect(1.0, np.inf, count)
    contributing = between**2 / float(
        (sums**4).sum()
    )  # of the groups: all where they contribute evenly, 1 where one does
    df = min(2 / max(1 / contributing - 1 / count, 1e-9), n / largest - 1, count - 1)
    return DesignEffect(min(factor, largest), max(df, 1.0), count)


def shared_groups(groups: Sequence[_Group] | None) -> Sequence[_Group] | None:
    """The groups, or None where each holds one image: then images are the draws."""
    return groups if groups is not None and count_groups(groups) < len(groups) else None


def groups_of(groups: Sequence[_Group] | None, chosen: NDArray[np.bool_]) -> list[_Group] | None:
    """The groups of the chosen images."""
    return None if groups is None else [group for group, keep in zip(groups, chosen.tolist(), strict=True) if keep]


def count_groups(groups: Sequence[Hashable]) -> int:
    """How many independent draws there are: one per named group, one per None."""
    return int(numbered(groups).max(initial=-1)) + 1


def numbered(groups: Sequence[Hashable]) -> Indices:
    """A number per group from 0, equal for equal names; each None gets its own."""
    numbers: dict[Hashable, int] = {}
    keys = (("alone", i) if name is None else ("named", name) for i, name in enumerate(groups))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
