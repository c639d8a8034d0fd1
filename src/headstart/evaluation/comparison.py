"""Comparison: is one classifier better than another, or can these images not show it?

In: the predictions of two runs on their test images. Out: Comparison, whose verdict claims no more than it can.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.evaluation.design_effect import FEW_GROUPS, count_groups, shared_groups
from headstart.evaluation.intervals import Indices, Interval, accuracy_intervals, add_intervals, points
from headstart.evaluation.paired import is_significant, paired_difference
from headstart.plain import Plain

Correct = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class RunPredictions:
    """The predictions of one run on its N test images.

    Args:
        keys: N, the same for the same image in both runs: the hash of its content. A repeated key pairs in order.
        labels, predicted: N, names of the true and of the predicted class.
        classes: names that the classifier can predict, in any order.
        groups: N, images of one group (burst, duplicates) are not independent; None stands alone.
    """

    keys: tuple[str, ...]
    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    classes: tuple[str, ...]
    groups: tuple[str | None, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison(Plain):
    """How two runs differ on the images that both were tested on.

    Args:
        difference: accuracy of B minus that of A, in [-1, 1].
        a, b: accuracy of each on the images compared, with the interval that its report shows.
        a_over_groups, b_over_groups: the same with whole groups as the draws; None without groups.
        paired: whether the runs share test images; if not, each was measured on its own.
        n: images compared in pairs, 0 if not paired.
        only_a_correct, only_b_correct: images that only one of the two predicted correctly.
        p_value: two-sided, of McNemar's test (mid-p), or by sign flips of whole groups; None if not paired.
        groups: independent draws among the images compared; 0 where each image is one.
        not_compared: images of A or B that were not compared: in one run only, or with another true class in the other.
    """

    difference: Interval
    a: Interval
    b: Interval
    a_over_groups: Interval | None = None
    b_over_groups: Interval | None = None
    paired: bool = False
    n: int = 0
    only_a_correct: int = 0
    only_b_correct: int = 0
    p_value: float | None = None
    not_compared: int = 0
    groups: int = 0

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
        return f"No significant difference on {images}: B - A is {points(d)}."

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves out 0 and, in pairs, the test agrees at 5 %."""
        return is_significant(self.difference, 0.0 if self.p_value is None else self.p_value)

    def to_dict(self) -> dict[str, Any]:
        """The verdict, then the fields as plain values for strict JSON."""
        return {"verdict": self.verdict, **super().to_dict()}

    def __str__(self) -> str:
        lines = [self.verdict]
        for name, plain, over in (("A", self.a, self.a_over_groups), ("B", self.b, self.b_over_groups)):
            lines.append(f"{name}  {plain}" if over is None else f"{name}  {plain}, over groups {over}")
        lines.append(f"B - A  {points(self.difference)}  {self.difference.method}")
        if self.p_value is not None:
            counts = f"only A correct {self.only_a_correct}, only B correct {self.only_b_correct}"
            test = f"sign flips of {self.groups} groups" if self.groups else "McNemar"
            lines.append(f"{counts}, {test}: p = {self.p_value:.3g} (mid-p)")
        else:
            lines.append("The two runs share no test image, so the difference includes that of the images.")
        if 0 < self.groups < FEW_GROUPS:
            lines.append(f"Only {self.groups} groups of images: the intervals are a rough guide.")
        if self.not_compared:
            lines.append(f"{self.not_compared} images were not compared: in one run only, or with another true class.")
        return "\n".join(lines)


def compare(a: RunPredictions, b: RunPredictions) -> Comparison:
    """Difference between two runs: in pairs on the images common to both, else between their two accuracies.

    In pairs: Tango's interval and McNemar's test; where images come in groups, at the effective n, and by sign flips of
    whole groups. Without a common image: Newcombe's interval from each run's own.

    Raises:
        DataError: a run has no images or lists of unequal length, or the two know different classes.

    Source: `paired.paired_difference`; Newcombe 1998, Statistics in Medicine 17:873.
    """
    _check(a, "A")
    _check(b, "B")
    if set(a.classes) != set(b.classes):
        unshared = sorted(set(a.classes) ^ set(b.classes))
        found = f"{', '.join(map(repr, unshared[:5]))} in one run only"
        raise DataError(expected="the same classes in both runs", found=found, hint="Compare runs on the same classes.")
    in_a, in_b = _positions(a), _positions(b)
    common = [(i, in_b[key]) for key, i in in_a.items() if key in in_b and a.labels[i] == b.labels[in_b[key]]]
    if not common:
        return _unpaired(a, b)
    first, second = (np.array(column) for column in zip(*common, strict=True))
    return _paired((a, first), (b, second))


def _paired(a: tuple[RunPredictions, Indices], b: tuple[RunPredictions, Indices]) -> Comparison:
    """Comparison on common images, given by their positions in either run."""
    (run_a, at_a), (run_b, at_b) = a, b
    correct_a, correct_b = _correct(run_a)[at_a], _correct(run_b)[at_b]
    gain = correct_b.astype(np.int64) - correct_a
    groups = shared_groups(_groups(run_a, at_a)) or shared_groups(_groups(run_b, at_b))
    found = paired_difference(gain, groups)
    a_plain, a_over = _accuracy(run_a, at_a)
    b_plain, b_over = _accuracy(run_b, at_b)
    return Comparison(
        difference=found.difference,
        a=a_plain,
        b=b_plain,
        a_over_groups=a_over,
        b_over_groups=b_over,
        paired=True,
        n=len(gain),
        only_a_correct=int((gain < 0).sum()),
        only_b_correct=int((gain > 0).sum()),
        p_value=found.p_value,
        groups=0 if groups is None else count_groups(groups),
        not_compared=len(run_a.keys) + len(run_b.keys) - 2 * len(gain),
    )


def _unpaired(a: RunPredictions, b: RunPredictions) -> Comparison:
    a_plain, a_over = _accuracy(a, np.arange(len(a.keys)))
    b_plain, b_over = _accuracy(b, np.arange(len(b.keys)))
    difference = add_intervals([b_over or b_plain, a_over or a_plain], [1, -1], "Newcombe, different images")
    return Comparison(difference=difference, a=a_plain, b=b_plain, a_over_groups=a_over, b_over_groups=b_over)


def _accuracy(run: RunPredictions, positions: Indices) -> tuple[Interval, Interval | None]:
    """The run's own intervals, over its images in its own order, as its report has them."""
    own = np.sort(positions)
    return accuracy_intervals(_correct(run)[own], _groups(run, own))


def _groups(run: RunPredictions, positions: Indices) -> list[Hashable] | None:
    return None if run.groups is None else [run.groups[i] for i in positions]


def _positions(run: RunPredictions) -> dict[tuple[str, int], int]:
    """Index of each image by its key and how often that key came before."""
    seen: dict[str, int] = {}
    positions = {}
    for i, key in enumerate(run.keys):
        seen[key] = seen.get(key, 0) + 1
        positions[key, seen[key]] = i
    return positions


def _correct(run: RunPredictions) -> Correct:
    return np.array([true == other for true, other in zip(run.labels, run.predicted, strict=True)], np.bool_)


def _check(run: RunPredictions, name: str) -> None:
    lengths = {len(run.keys), len(run.labels), len(run.predicted), len(run.groups or run.keys)}
    if len(lengths) > 1 or not run.keys:
        found = f"lengths {sorted(lengths)}" if run.keys else "no test image"
        expected = "one label and one prediction for each of 1 or more images"
        hint = "Compare runs that were tested: train again, or evaluate both on the same images."
        raise DataError(expected=expected, found=found, where=f"run {name}", hint=hint)
