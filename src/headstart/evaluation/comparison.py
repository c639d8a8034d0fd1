"""Compare: is one classifier better than another, or do these images not tell?

In: the Outcomes of two runs on their test images. Out: Comparison, with a verdict that claims no more than it can.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from headstart.errors import DataError
from headstart.evaluation.intervals import (
    Interval,
    accuracy_over_groups,
    add_intervals,
    bootstrap,
    count_groups,
    never_certain,
    wilson,
)

Right = NDArray[np.bool_]


@dataclass(frozen=True)
class Outcomes:
    """What one run answered on its test images.

    Args:
        keys: N, the same for the same image in both runs: the hash of its content. A repeated key pairs in order.
        labels, predicted: N, true and answered class names.
        classes: names that the classifier can answer, in any order.
        groups: N, images of one group (burst, duplicates) are not independent; None stands alone.
    """

    keys: tuple[str, ...]
    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    classes: tuple[str, ...]
    groups: tuple[str | None, ...] | None = None


@dataclass(frozen=True)
class Comparison:
    """How two runs differ on the images that both were tested on.

    Args:
        a, b: accuracy of each on the images compared.
        difference: accuracy of B minus that of A, in [-1, 1].
        paired: whether the runs share test images; if not, each was measured on its own.
        n: images compared in pairs, 0 if not paired.
        only_a_right, only_b_right: images that one of the two got right.
        p: chance of such a split, or a more uneven one, if both were equally good (exact McNemar); None if not paired.
        left_out: images of A or B that were not compared: in one run only, or with another true class in the other.
    """

    a: Interval
    b: Interval
    difference: Interval
    paired: bool
    n: int
    only_a_right: int
    only_b_right: int
    p: float | None
    left_out: int

    @property
    def verdict(self) -> str:
        """One sentence: which one is better, or that these images cannot show it."""
        d = self.difference
        images = f"these {self.n} images" if self.paired else f"{self.a.n} and {self.b.n} different images"
        size = f"{abs(d.value) * 100:.1f} points"
        if self.is_significant:
            low, high = sorted((abs(d.low), abs(d.high)))
            winner, loser = ("B", "A") if d.value > 0 else ("A", "B")
            return f"{winner} is better than {loser} by {size} [{low * 100:.1f}, {high * 100:.1f}] on {images}."
        return f"No difference that {images} can show: B - A is {_points(d)}."

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves out 0 and, in pairs, McNemar's test agrees at 5 %."""
        d = self.difference
        return (d.low > 0 or d.high < 0) and (self.p is None or self.p < 0.05)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "verdict": self.verdict,
            "difference": self.difference.to_dict(),
            "a": self.a.to_dict(),
            "b": self.b.to_dict(),
            "paired": self.paired,
            "n": self.n,
            "only_a_right": self.only_a_right,
            "only_b_right": self.only_b_right,
            "p": self.p,
            "left_out": self.left_out,
        }

    def __str__(self) -> str:
        lines = [
            self.verdict,
            f"A  {self.a}",
            f"B  {self.b}",
            f"B - A  {_points(self.difference)}  {self.difference.method}",
        ]
        if self.p is not None:
            lines.append(
                f"only A right {self.only_a_right}, only B right {self.only_b_right}, McNemar p = {self.p:.3g}"
            )
        else:
            lines.append("The two runs share no test image, so the luck of the draw is in the difference.")
        if self.left_out:
            lines.append(f"{self.left_out} images were not compared: in one run only, or with another true class.")
        return "\n".join(lines)


def compare(a: Outcomes, b: Outcomes, *, seed: int = 0) -> Comparison:
    """Difference between two runs: in pairs on the images common to both, else between their two accuracies.

    In pairs: bootstrap over images (over groups where images come in groups) and McNemar's exact test. Without a common
    image: Newcombe's interval from each run's own.

    Args:
        seed: of the bootstrap.

    Raises:
        DataError: a run has no images or lists of unequal length, or the two know different classes.

    Source: McNemar 1947, Psychometrika 12:153, as a binomial test; Newcombe 1998, Statistics in Medicine 17:873.
    """
    _check(a, "A")
    _check(b, "B")
    if set(a.classes) != set(b.classes):
        odd = sorted(set(a.classes) ^ set(b.classes))
        found = f"{', '.join(map(repr, odd[:5]))} in one run only"
        raise DataError(expected="the same classes in both runs", found=found, hint="Compare runs on the same classes.")
    in_a, in_b = _places(a), _places(b)
    common = [(i, in_b[key]) for key, i in in_a.items() if key in in_b and a.labels[i] == b.labels[in_b[key]]]
    if not common:
        return _unpaired(a, b, seed)
    first, second = (np.array(places) for places in zip(*common, strict=True))
    groups = a.groups or b.groups
    together = [groups[i] for i in (first if a.groups else second)] if groups else None
    left_out = len(a.keys) + len(b.keys) - 2 * len(common)
    return _paired(_right(a)[first], _right(b)[second], together, left_out, seed)


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided McNemar p: twice the smaller binomial tail of the discordant images at 1/2, at most 1."""
    return float(min(1.0, 2 * bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def _paired(a: Right, b: Right, groups: Sequence[Hashable] | None, left_out: int, seed: int) -> Comparison:
    gain = b.astype(np.float64) - a
    only_a, only_b = int((gain < 0).sum()), int((gain > 0).sum())
    found = bootstrap(lambda index: float(gain[index].mean()), len(gain), seed=seed, groups=groups)
    return Comparison(
        a=wilson(int(a.sum()), len(a)),
        b=wilson(int(b.sum()), len(b)),
        difference=_never_equal(found, len(gain) if groups is None else count_groups(groups)),
        paired=True,
        n=len(gain),
        only_a_right=only_a,
        only_b_right=only_b,
        p=mcnemar(only_a, only_b),
        left_out=left_out,
    )


def _unpaired(a: Outcomes, b: Outcomes, seed: int) -> Comparison:
    first, second = _accuracy(a, seed), _accuracy(b, seed)
    difference = add_intervals([second, first], [1, -1], "Newcombe, different images")
    return Comparison(first, second, difference, False, 0, 0, 0, None, 0)


def _accuracy(one: Outcomes, seed: int) -> Interval:
    right = _right(one)
    return accuracy_over_groups(right, one.groups, seed=seed) if one.groups else wilson(int(right.sum()), len(right))


def _never_equal(found: Interval, draws: int) -> Interval:
    """Two runs that answer alike on a few images may still differ on the next: then as much as 0 of n allows."""
    reach = wilson(0, draws).high
    return never_certain(found, reach, reach, f"Wilson: 0 of {draws} differ from the rest", least=-1.0)


def _places(run: Outcomes) -> dict[tuple[str, int], int]:
    """Index of each image by its key and how often that key came before."""
    seen: dict[str, int] = {}
    places = {}
    for place, key in enumerate(run.keys):
        seen[key] = seen.get(key, 0) + 1
        places[key, seen[key]] = place
    return places


def _right(run: Outcomes) -> Right:
    return np.array([true == answer for true, answer in zip(run.labels, run.predicted, strict=True)], np.bool_)


def _check(run: Outcomes, name: str) -> None:
    lengths = {len(run.keys), len(run.labels), len(run.predicted), len(run.groups or run.keys)}
    if len(lengths) > 1 or not run.keys:
        found = f"lengths {sorted(lengths)}"
        raise DataError(
            expected="one label and one answer for each of 1 or more images", found=found, where=f"run {name}"
        )


def _points(difference: Interval) -> str:
    return f"{difference.value * 100:+.1f} points [{difference.low * 100:+.1f}, {difference.high * 100:+.1f}]"
