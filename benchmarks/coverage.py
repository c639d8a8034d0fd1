"""Does a 95 % interval hold the true value in 95 % of cases, and does a test at 5 % cry wolf in 5 %?

    python benchmarks/coverage.py [--only STATEMENT …] [--quick] [--repeats 2000] [--keep FILE]

Every interval and test that headstart prints is simulated in cells of sample size, classes, groups and true value,
through the very functions that print it. Goals: coverage in [0.93, 0.975], false alarms in [0.03, 0.065]; cells outside
have their reason beside them. `docs/statistics.md` has the table. `--quick`: as the slow tests do. `--keep`: each cell
is written down when it is done, and a later call goes on from there.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from headstart.evaluation.calibration import fit_temperature, measure_calibration
from headstart.evaluation.comparison import RunPredictions, compare
from headstart.evaluation.intervals import (
    Interval,
    add_intervals,
    macro_f1_interval,
    mean_interval,
    mean_share_interval,
    share_interval,
    wilson,
)
from headstart.evaluation.paired import is_significant, paired_difference
from headstart.finetune.judgement import judge
from headstart.heads.cross_validation import group_folds
from headstart.heads.ridge import indicators

Values = NDArray[np.float64]
Rng = np.random.Generator

COVERAGE, ALARMS = (0.93, 0.975), (0.03, 0.065)
ACCEPTED = 0.05  # at most: acceptance may be cautious
REPEATS, QUICK = 2000, 300
SLOW = 4  # a simulation within the simulation gets as many times fewer repeats

FEW = "with fewer than 10 groups: their variance is hardly known, and headstart says that it is a rough guide"
DISCRETE = "discrete: with so few errors possible, neighbouring outcomes jump over the level"
BOUND = "one-sided at 0: the lower end alone can miss"
SAFE = "wide rather than narrow: groups count as correlated unless the images show otherwise"
PICKED = "wide by construction (Bonferroni, exact): it must hold whichever class is picked"
FEW_DIFFER = "few groups differ: the test has few sign flips, and interval and test must agree before one is better"
TINY = "a class of two images: its share of the variance is a guess"
SKEWED = "skewed: a few groups, or images, carry the errors"


@dataclass(frozen=True)
class Cell:
    """One simulated situation.

    Args:
        statement: what is printed. name: of the situation.
        trial: draws a test set and says whether the interval held the truth, or whether the alarm rang.
        kind: `coverage`, `alarms`, `false acceptance`, or `power`, which has no goal.
        reason: why it may lie outside the goal; empty: it should not.
        cost: how many times fewer repeats. quick: whether `--quick` runs it.
    """

    statement: str
    name: str
    trial: Callable[[Rng], bool]
    kind: str = "coverage"
    reason: str = ""
    cost: int = 1
    quick: bool = False

    @property
    def goal(self) -> tuple[float, float]:
        """Ends of the goal; everything for power."""
        return {"coverage": COVERAGE, "alarms": ALARMS, "false acceptance": (0.0, ACCEPTED)}.get(self.kind, (0.0, 1.0))


@dataclass(frozen=True)
class Measured:
    """What a cell gave: a share of repeats."""

    cell: Cell
    share: Interval

    @property
    def is_met(self) -> bool:
        """Whether the goal is met, within the error of the simulation."""
        low, high = self.cell.goal
        level = high if self.cell.kind == "false acceptance" else low
        error = math.sqrt(level * (1 - level) / self.share.n) if self.cell.kind != "power" else 0.0
        return low - 2 * error <= self.share.value <= high + 2 * error


def measure(cell: Cell, repeats: int, seed: int = 0) -> Measured:
    """Run a cell; the seed depends on its name, so that situations do not share their luck."""
    rng = np.random.default_rng([seed, *cell.name.encode()])
    n = max(50, repeats // cell.cost)
    return Measured(cell, wilson(sum(cell.trial(rng) for _ in range(n)), n))


class Kept:
    """What is known of cells from earlier calls with as many repeats: one line of JSON for each, in a file.

    Args:
        file: perhaps not there yet; None: nothing is kept.
    """

    def __init__(self, file: Path | None, repeats: int) -> None:
        self._file, self._repeats = file, repeats
        lines = file.read_text(encoding="utf-8").splitlines() if file is not None and file.exists() else []
        self._known = {tuple(line[:4]): line[4:] for line in map(json.loads, lines)}

    def measure(self, cell: Cell) -> Measured:
        """The cell as it was measured before, or measured now."""
        key = (cell.statement, cell.name, cell.kind, self._repeats)
        if key in self._known:
            return Measured(cell, wilson(*self._known[key]))
        found = measure(cell, self._repeats)
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps([*key, round(found.share.value * found.share.n), found.share.n]) + "\n")
        return found


def inside(interval: Interval, truth: float) -> bool:
    """Whether an interval holds the true value; rounding does not count."""
    return interval.low - 1e-9 <= truth <= interval.high + 1e-9


# ---- how test sets are drawn


def group_sizes(rng: Rng, groups: int, size: int, uneven: bool = False) -> NDArray[np.int64]:
    """Images of each group; uneven ones as bursts are, lognormal."""
    sizes = rng.lognormal(math.log(size), 0.7, groups) if uneven else np.full(groups, size)
    return np.maximum(1, sizes).astype(np.int64)


def correlated(rng: Rng, chances: Values, group: NDArray[np.int64], correlation: float) -> NDArray[np.bool_]:
    """Which images are correct, each with its own chance; two of one group share their luck with this correlation."""
    own, shared = rng.random(len(group)), rng.random(int(group.max()) + 1)[group]
    return np.where(rng.random(len(group)) < math.sqrt(correlation), shared, own) < chances


def beta_groups(rng: Rng, chance: float, group: NDArray[np.int64], correlation: float) -> NDArray[np.bool_]:
    """Which images are correct; each group has its own chance, from a beta distribution with this correlation."""
    count = int(group.max()) + 1
    if correlation == 0:
        return rng.random(len(group)) < chance
    strength = (1 - correlation) / correlation
    return rng.random(len(group)) < rng.beta(chance * strength, (1 - chance) * strength, count)[group]


def confidences(rng: Rng, n: int) -> Values:
    """Confidences of a good model on two classes: most near 1, some down to a half."""
    return np.asarray(1 - 0.5 * rng.beta(0.6, 3.0, n))


# ---- one statement after the other


def accuracy_cells() -> Iterator[Cell]:
    """Accuracy on independent images."""
    for n in (30, 76, 153, 1000):
        for chance in (0.8, 0.9, 0.95):

            def trial(rng: Rng, n: int = n, chance: float = chance) -> bool:
                return inside(share_interval(rng.random(n) < chance), chance)

            yield Cell("accuracy", f"n {n}, true {chance}", trial, reason=DISCRETE, quick=n == 153)


def group_cells() -> Iterator[Cell]:
    """Accuracy where images come in groups."""
    for uneven in (False, True):
        for groups in (3, 6, 10, 20, 50):
            for correlation in (0.0, 0.1, 0.5):
                for chance in (0.8, 0.95):

                    def trial(
                        rng: Rng,
                        groups: int = groups,
                        correlation: float = correlation,
                        chance: float = chance,
                        uneven: bool = uneven,
                    ) -> bool:
                        group = np.repeat(np.arange(groups), group_sizes(rng, groups, 8, uneven))
                        hits = beta_groups(rng, chance, group, correlation)
                        return inside(share_interval(hits, group.tolist()), chance)

                    sizes = "uneven sizes" if uneven else "8 images each"
                    yield Cell(
                        "accuracy over groups",
                        f"{groups} groups, {sizes}, correlation {correlation}, true {chance}",
                        trial,
                        reason=FEW if groups < 10 else SAFE if correlation == 0 else SKEWED,
                        quick=groups in (10, 20) and correlation == 0.1,
                    )


def worst_class_cells() -> Iterator[Cell]:
    """Recall of the class that was picked as the worst, all classes being equally good, or one being worse."""
    for classes in (2, 5, 10, 30):
        for lowest in (0.9, 0.7):

            def trial(rng: Rng, classes: int = classes, lowest: float = lowest) -> bool:
                recalls = np.full(classes, 0.9)
                recalls[0] = lowest
                labels = np.repeat(np.arange(classes), 20)
                hits = rng.random(len(labels)) < recalls[labels]
                predicted = np.where(hits, labels, (labels + 1) % classes)
                names = [str(c) for c in range(classes)]
                shares = np.bincount(labels, weights=hits) / 20
                picked = evaluated_worst(predicted, labels, names)
                assert shares[int(picked.name)] == shares.min()
                return inside(picked.recall, float(recalls[int(picked.name)]))

            about = "all recalls 0.9" if lowest == 0.9 else f"one recall {lowest}, others 0.9"
            yield Cell(
                "worst class", f"{classes} classes of 20, {about}", trial, reason=PICKED, cost=SLOW, quick=classes == 10
            )


def evaluated_worst(predicted: NDArray[np.int64], labels: NDArray[np.int64], names: Sequence[str]):
    """The worst class as an evaluation has it, without the calibration, which takes most of the time."""
    from headstart.evaluation.evaluate import _class_scores, _worst  # the very code that prints it

    scores = _class_scores(names, labels, predicted, groups=None)
    return _worst(scores, labels, predicted == labels, groups=None)


def average_cells() -> Iterator[Cell]:
    """Balanced accuracy and macro F1, true values for these class sizes."""
    cases = (
        ((38, 38), (0.9, 0.9)),
        ((70, 83), (0.95, 0.94)),
        ((10, 66), (0.8, 0.95)),
        ((5, 100), (0.7, 0.98)),
        ((20,) * 3, (0.98, 0.98, 0.98)),
        ((10,) * 10, (0.9,) * 10),
        ((10,) * 10, (0.6, *(0.98,) * 9)),
        ((5,) * 30, (0.9,) * 30),
        ((2, 10, 30, 100), (0.8, 0.9, 0.95, 0.97)),
    )
    for sizes, recalls in cases:
        classes = len(sizes)
        labels = np.repeat(np.arange(classes), sizes)
        chances = np.zeros((classes, classes))
        for c, recall in enumerate(recalls):
            chances[c] = (1 - recall) / (classes - 1)
            chances[c, c] = recall
        expected = chances * np.array(sizes)[:, None]
        f1 = float((2 * np.diag(expected) / (expected.sum(axis=0) + expected.sum(axis=1))).mean())
        steps = chances.cumsum(axis=1)

        def predicted(rng: Rng, labels: NDArray[np.int64] = labels, steps: Values = steps) -> NDArray[np.int64]:
            return np.minimum((rng.random((len(labels), 1)) > steps[labels]).sum(axis=1), steps.shape[1] - 1)

        def balanced(
            rng: Rng,
            labels: NDArray[np.int64] = labels,
            truth: float = float(np.mean(recalls)),
            draw: Callable[[Rng], NDArray[np.int64]] = predicted,
        ) -> bool:
            return inside(mean_share_interval(draw(rng) == labels, labels), truth)

        def macro(
            rng: Rng,
            labels: NDArray[np.int64] = labels,
            truth: float = f1,
            draw: Callable[[Rng], NDArray[np.int64]] = predicted,
        ) -> bool:
            return inside(macro_f1_interval(draw(rng), labels), truth)

        equal = len(set(sizes)) == 1 and len(set(recalls)) == 1
        shown = (
            f"{classes} classes of {sizes[0]}" if len(set(sizes)) == 1 else f"classes of {', '.join(map(str, sizes))}"
        )
        name = f"{shown}, recall {recalls[0] if equal else ', '.join(map(str, dict.fromkeys(recalls)))}"
        quick = classes in (2, 10) and sizes[0] in (70, 10)
        yield Cell("balanced accuracy", name, balanced, reason=DISCRETE, cost=2, quick=quick)
        yield Cell("macro F1", name, macro, reason=TINY if min(sizes) < 5 else DISCRETE, quick=quick)


def average_group_cells() -> Iterator[Cell]:
    """Balanced accuracy and macro F1 where images come in groups, each of one class."""
    for groups in (20, 50):
        for correlation in (0.1, 0.5):

            def draw(
                rng: Rng, groups: int = groups, correlation: float = correlation
            ) -> tuple[list[int], Values, Values]:
                group = np.repeat(np.arange(groups), 8)
                labels = group % 2
                hits = beta_groups(rng, 0.9, group, correlation)
                return group.tolist(), labels, np.where(hits, labels, 1 - labels)

            def balanced(rng: Rng, draw: Callable[[Rng], tuple[list[int], Values, Values]] = draw) -> bool:
                group, labels, predicted = draw(rng)
                return inside(mean_share_interval(predicted == labels, labels, group), 0.9)

            def macro(rng: Rng, draw: Callable[[Rng], tuple[list[int], Values, Values]] = draw) -> bool:
                group, labels, predicted = draw(rng)
                return inside(macro_f1_interval(predicted, labels, group), 0.9)

            name = f"2 classes, {groups} groups of 8, correlation {correlation}, true 0.9"
            yield Cell("balanced accuracy", name, balanced, reason=SKEWED, cost=2)
            yield Cell("macro F1", name, macro, reason=SKEWED)


def drawn_pair(
    rng: Rng, n: int, *, only: tuple[float, float], groups: int = 0, correlation: float = 0.0
) -> tuple[NDArray[np.int64], list[int] | None]:
    """Gains of B over A: +1 and -1 with these chances; in groups, images share their luck."""
    group = np.arange(n) if not groups else np.repeat(np.arange(groups), n // groups)
    luck = rng.random(len(group))
    if groups:
        shared = rng.random(len(group)) < math.sqrt(correlation)
        luck = np.where(shared, rng.random(groups)[group], luck)
    gain = np.where(luck < only[1], 1, np.where(luck > 1 - only[0], -1, 0))
    return gain, group.tolist() if groups else None


def paired_cells() -> Iterator[Cell]:
    """Differences in pairs, as `compare` and the baselines show them: interval, false alarms and power."""
    for n, discordant in ((76, 0.1), (153, 0.05), (153, 0.15), (1000, 0.05), (1000, 0.15)):
        for lead in (0.0, 0.03):
            only = (discordant / 2 - lead / 2, discordant / 2 + lead / 2)

            def covers(rng: Rng, n: int = n, only: tuple[float, float] = only) -> bool:
                gain, _ = drawn_pair(rng, n, only=only)
                return inside(paired_difference(gain).difference, only[1] - only[0])

            name = f"n {n}, {discordant:.0%} differ, true lead {lead}"
            yield Cell("paired difference", name, covers, reason=DISCRETE, quick=n == 153)

            def rings(rng: Rng, n: int = n, only: tuple[float, float] = only) -> bool:
                return paired_difference(drawn_pair(rng, n, only=only)[0]).is_significant

            yield Cell(
                "paired test", name, rings, "power" if lead else "alarms", reason=DISCRETE, quick=n == 153 and not lead
            )
    for groups in (6, 10, 20, 50):
        for correlation in (0.0, 0.3, 0.8):

            def covers_groups(rng: Rng, groups: int = groups, correlation: float = correlation) -> bool:
                gain, group = drawn_pair(rng, groups * 8, only=(0.08, 0.08), groups=groups, correlation=correlation)
                return inside(paired_difference(gain, group).difference, 0.0)

            def rings_groups(rng: Rng, groups: int = groups, correlation: float = correlation) -> bool:
                gain, group = drawn_pair(rng, groups * 8, only=(0.08, 0.08), groups=groups, correlation=correlation)
                keys, classes = tuple(map(str, range(len(gain)))), ("a", "b")
                labels = tuple("a" for _ in gain)
                a, b = (tuple("ab"[int(one == side)] for one in gain) for side in (1, -1))
                names = tuple(map(str, group or ()))
                first = RunPredictions(keys=keys, labels=labels, predicted=a, classes=classes, groups=names)
                return compare(first, replace(first, predicted=b)).is_significant

            name = f"equal models, {groups} groups of 8, correlation {correlation}"
            reason = FEW if groups < 10 else FEW_DIFFER
            yield Cell(
                "paired difference", name, covers_groups, reason=reason, quick=groups == 20 and correlation < 0.5
            )
            yield Cell(
                "paired test",
                name,
                rings_groups,
                "alarms",
                reason=reason,
                cost=2,
                quick=groups == 20 and correlation == 0,
            )


def unpaired_cells() -> Iterator[Cell]:
    """Difference of two runs on different images."""
    for n, m in ((76, 153), (153, 153), (1000, 400)):
        for a, b in ((0.9, 0.9), (0.95, 0.85)):

            def draw(rng: Rng, n: int = n, m: int = m, a: float = a, b: float = b) -> Interval:
                shares = [wilson(int(rng.binomial(m, b)), m), wilson(int(rng.binomial(n, a)), n)]
                return add_intervals(shares, [1, -1], "Newcombe")

            def covers(rng: Rng, draw: Callable[[Rng], Interval] = draw, truth: float = b - a) -> bool:
                return inside(draw(rng), truth)

            def rings(rng: Rng, draw: Callable[[Rng], Interval] = draw) -> bool:
                return is_significant(draw(rng), 0.0)

            name = f"n {n} and {m}, true {a} and {b}"
            yield Cell("difference, different images", name, covers, reason=DISCRETE)
            if a == b:
                yield Cell("difference, different images", name, rings, "alarms", reason=DISCRETE)


def sharpened(confidence: Values) -> Values:
    """Accuracies of a model whose logits are twice too large."""
    odds = np.log(np.clip(confidence, 0.5, 1 - 1e-9) / (1 - np.clip(confidence, 0.5, 1 - 1e-9)))
    return np.asarray(1 / (1 + np.exp(-odds / 2)))


MODELS: dict[str, Callable[[Values], Values]] = {
    "perfect": lambda c: c,
    "5 points too confident": lambda c: c - 0.05,
    "10 points too confident": lambda c: c - 0.1,
    "3 points too modest": lambda c: np.minimum(c + 0.03, 1.0),
    "logits twice too large": sharpened,
    "10 points too confident above 93 %": lambda c: np.where(c > 14 / 15, c - 0.1, c),
}


@dataclass(frozen=True)
class CalibrationTrial:
    """A drawn test set of a model with known accuracies, measured; `asks` picks what is counted.

    Args:
        model: confidence → accuracy. groups: 0: independent images.
    """

    model: str
    n: int
    asks: str
    groups: int = 0
    correlation: float = 0.0

    def __call__(self, rng: Rng) -> bool:
        """Whether the interval held the truth, or the verdict is miscalibrated."""
        seed = int(rng.integers(2**31))
        error, overconfidence, rings = measured_calibration(self.model, self.n, self.groups, self.correlation, seed)
        return {"error": error, "overconfidence": overconfidence, "verdict": rings}[self.asks]


@functools.cache
def measured_calibration(
    model: str, n: int, groups: int, correlation: float, seed: int
) -> tuple[bool, bool, bool]:  # positional: the key of the cache, since one test set answers three questions
    """Whether the intervals of error and overconfidence held the truth, and whether the verdict is miscalibrated."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), n // groups) if groups else np.arange(n)
    confidence = confidences(rng, int(group.max()) + 1)[group]
    if groups:
        confidence = np.clip(confidence + rng.normal(0, 0.02, len(group)), 0.5, 1.0)
    chance = MODELS[model](confidence)
    correct = correlated(rng, chance, group, correlation)
    p = np.stack([confidence, 1 - confidence], axis=1)
    found = measure_calibration(p, np.where(correct, 0, 1), groups=group.tolist() if groups else None, seed=seed)
    assert found.overconfidence is not None
    number = np.ceil(confidence * 15).astype(int)
    truth = float(np.abs(np.bincount(number, weights=chance - confidence)).sum() / len(group))
    return (
        inside(found.ece, truth),
        inside(found.overconfidence, float((confidence - chance).mean())),
        found.is_miscalibrated,
    )


def calibration_cells() -> Iterator[Cell]:
    """The calibration error, the overconfidence and the verdict."""
    for n in (30, 76, 153, 400, 1000):
        for model in MODELS:
            quick = n == 153 and model in ("perfect", "10 points too confident")
            is_perfect = model == "perfect"
            yield Cell(
                "calibration error",
                f"{model}, n {n}",
                CalibrationTrial(model, n, "error"),
                reason=BOUND if is_perfect or "modest" in model else DISCRETE,
                cost=SLOW,
                quick=quick,
            )
            yield Cell(
                "overconfidence",
                f"{model}, n {n}",
                CalibrationTrial(model, n, "overconfidence"),
                reason=DISCRETE,
                cost=SLOW,
                quick=quick,
            )
            yield Cell(
                "verdict on calibration",
                f"{model}, n {n}",
                CalibrationTrial(model, n, "verdict"),
                "alarms" if is_perfect else "power",
                reason="two tests that mostly agree, each at 2.5 %",
                cost=SLOW,
                quick=quick,
            )
    for groups in (6, 10, 20, 50):
        for correlation in (0.0, 0.3, 0.8):
            for asks, statement, kind in (
                ("error", "calibration error", "coverage"),
                ("overconfidence", "overconfidence", "coverage"),
                ("verdict", "verdict on calibration", "alarms"),
            ):
                yield Cell(
                    statement,
                    f"perfect, {groups} groups of 8, correlation {correlation}",
                    CalibrationTrial("perfect", groups * 8, asks, groups, correlation),
                    kind,
                    reason=FEW if groups < 10 else SAFE,
                    cost=SLOW,
                    quick=groups == 20 and correlation == 0.3,
                )


def temperature_cells() -> Iterator[Cell]:
    """The temperature, plain as for the probe, and shrunk as after fine-tuning, whose true values vary as assumed."""
    for n in (23, 60, 150, 1000):
        for shrink in (None, 0.5):

            def trial(rng: Rng, n: int = n, shrink: float | None = shrink) -> bool:
                true = math.exp(rng.normal(0, 0.5)) if shrink else 1.7
                logits = 3 * rng.normal(size=(n, 4))
                steps = softmax(logits, axis=1).cumsum(axis=1)
                labels = np.minimum((rng.random((n, 1)) > steps).sum(axis=1), 3)
                found = fit_temperature(true * logits, labels, shrink=shrink)
                return found.low <= true <= found.high

            reason = "biased: the imagined error of the fit pulls T up on few images"
            name = f"n {n}, {'shrunk' if shrink else 'plain'}"
            yield Cell("temperature", name, trial, reason=reason, quick=n == 150)


def drawn_gains(rng: Rng, n: int) -> Values:
    """By how much the log loss of each of n images falls: N."""
    logits = 2 * rng.normal(size=(n, 3))
    labels = np.minimum((rng.random((n, 1)) > softmax(logits, axis=1).cumsum(axis=1)).sum(axis=1), 2)
    rows = np.arange(n)
    moved = 1.2 * logits + 0.4 * rng.normal(size=(n, 3))
    return np.asarray(-log_softmax(logits, axis=1)[rows, labels] + log_softmax(moved, axis=1)[rows, labels])


@functools.cache  # asked for by each trial
def true_gain() -> float:
    """The mean over so many images that its own error is less than a hundredth of an interval."""
    return float(drawn_gains(np.random.default_rng(1), 1_000_000).mean())


def gain_cells() -> Iterator[Cell]:
    """The fall of the log loss on held-out images: mean of differences, some of them large."""
    for n, groups in ((23, 0), (60, 0), (150, 0), (160, 20)):

        def covers(rng: Rng, n: int = n, groups: int = groups) -> bool:
            if not groups:
                return inside(mean_interval(drawn_gains(rng, n)), true_gain())
            group = np.repeat(np.arange(groups), n // groups)
            values = np.where(rng.random(n) < 0.5, drawn_gains(rng, groups)[group], drawn_gains(rng, n))
            return inside(mean_interval(values, group.tolist()), true_gain())

        name = f"n {n}" + (f" in {groups} groups, correlation 0.25" if groups else "")
        yield Cell("gain of fine-tuning", name, covers, reason="skewed: rare large losses", quick=n == 60)


@dataclass(frozen=True)
class Rivals:
    """Heads on features of equal worth: none is better than another, whatever the training images are.

    Each gets features of its own, with the classes at the same distance from each other; what differs is the luck of
    training on few images, and no judgement is to take that for more. `better`: how much further apart the classes lie
    for the candidates, in parts of the distance.
    """

    groups: int
    size: int
    classes: int
    candidates: int
    width: int
    better: float = 0.0

    def __call__(self, rng: Rng) -> bool:
        """Whether a candidate is accepted in place of the probe."""
        labels = np.repeat(np.arange(self.groups) % self.classes, self.size)
        group = np.repeat(np.arange(self.groups), self.size)
        folds = group_folds(labels, group)
        scores = [self._scores(rng, labels, group, folds, k > 0) for k in range(self.candidates + 1)]
        named = {f"candidate {k}": found for k, found in enumerate(scores[1:])}
        return judge(scores[0], named, labels=labels, groups=group).accepted

    def _scores(  # one draw: its images, how they are dealt, and whose features these are
        self,
        rng: Rng,
        labels: NDArray[np.int64],
        group: NDArray[np.int64],
        folds: NDArray[np.int64],
        is_candidate: bool,
    ) -> Values:
        means = np.linalg.qr(rng.normal(size=(self.width, self.classes)))[0].T
        distance = 2.5 * (1 + (self.better if is_candidate else 0.0))
        own, shared = rng.normal(size=(len(labels), self.width)), rng.normal(size=(self.groups, self.width))[group]
        noise = own if self.size == 1 else np.sqrt(0.5) * (own + shared)
        x, out = distance * means[labels] + noise, np.empty((len(labels), self.classes))
        for fold in range(int(folds.max()) + 1):
            held = folds == fold
            mean, targets = x[~held].mean(axis=0), indicators(labels[~held], self.classes)
            centred = x[~held] - mean
            gram = centred.T @ centred + 30 * np.eye(self.width)
            weight = np.linalg.solve(gram, centred.T @ (targets - targets.mean(axis=0)))
            out[held] = 3 * ((x[held] - mean) @ weight + targets.mean(axis=0))
        return out


def judgement_cells() -> Iterator[Cell]:
    """The folds of `--strategy auto`: how often a candidate that is no better is accepted, and one that is."""
    for rivals, quick in (
        (Rivals(40, 1, 2, 2, 40), False),
        (Rivals(40, 1, 4, 4, 40), False),
        (Rivals(120, 1, 4, 2, 40), True),
        (Rivals(240, 1, 2, 4, 40), False),
        (Rivals(100, 1, 10, 2, 60), False),
        (Rivals(200, 1, 10, 4, 60), False),
        (Rivals(20, 5, 2, 2, 40), False),
        (Rivals(40, 3, 4, 2, 40), False),
    ):
        images = f"{rivals.groups} images" if rivals.size == 1 else f"{rivals.groups} groups of {rivals.size}"
        name = f"{images}, {rivals.classes} classes, {rivals.candidates} candidates"
        yield Cell("folds of fine-tuning", name, rivals, "false acceptance", cost=SLOW, quick=quick)
        for better in (0.1, 0.25):
            text = f"{name}, classes {better:.0%} further apart"
            yield Cell("folds of fine-tuning", text, replace(rivals, better=better), "power", cost=2 * SLOW)


def cells() -> list[Cell]:
    """All of them."""
    makers = (
        accuracy_cells,
        group_cells,
        worst_class_cells,
        average_cells,
        average_group_cells,
        paired_cells,
        unpaired_cells,
        calibration_cells,
        temperature_cells,
        gain_cells,
        judgement_cells,
    )
    return [cell for maker in makers for cell in maker()]


def table(found: Sequence[Measured]) -> str:
    """A Markdown table per statement."""
    lines = []
    for statement in dict.fromkeys(one.cell.statement for one in found):
        lines += ["", f"### {statement}", "", "| situation | what | measured | goal |", "|---|---|---|---|"]
        for one in found:
            if one.cell.statement != statement:
                continue
            low, high = one.cell.goal
            met = "met" if one.is_met else f"**outside**: {one.cell.reason or 'no reason known'}"
            goal = "–" if one.cell.kind == "power" else f"[{low}, {high}] {met}"
            lines.append(f"| {one.cell.name} | {one.cell.kind} | {one.share.value:.3f} ({one.share.n:,}) | {goal} |")
    return "\n".join(lines)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="statements, or the beginning of one")
    parser.add_argument("--quick", action="store_true", help="few cells and repeats")
    parser.add_argument("--repeats", type=int, default=0, help=f"of each cell; default {REPEATS}, quick {QUICK}")
    parser.add_argument("--keep", type=Path, help="file of finished cells")
    options = parser.parse_args()
    repeats = options.repeats or (QUICK if options.quick else REPEATS)
    chosen = [cell for cell in cells() if cell.quick or not options.quick]
    if options.only:
        chosen = [cell for cell in chosen if cell.statement.startswith(tuple(options.only))]
    found, began, kept = [], time.monotonic(), Kept(options.keep, repeats)
    for number, cell in enumerate(chosen, 1):
        found.append(kept.measure(cell))
        print(f"{number}/{len(chosen)} {cell.statement}, {cell.name}: {found[-1].share}", file=sys.stderr, flush=True)
    print(table(found))
    missed = [one for one in found if not one.is_met]
    print(f"\n{len(found)} cells, {len(missed)} outside their goal, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
