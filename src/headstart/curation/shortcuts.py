"""Shortcuts: can something besides the subject tell the classes apart nearly as well as the classifier?

In: descriptors by family, labels, groups, and the classifier's own left-out accuracy. Out: for each family a Shortcut
for all classes together, and one for each class that it tells from the others: left-out balanced accuracy, what it must
not exceed, and what chance reaches. The chance of a false alarm is shared by all families and classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from headstart.data.finding import Finding
from headstart.evaluation.design_effect import shared_groups
from headstart.evaluation.intervals import CONFIDENCE, Interval, mean_interval, mean_share_interval
from headstart.features.matrix import Features
from headstart.heads.regularization_path import LabelledFeatures, Labels, Matrix
from headstart.heads.ridge import RidgeProblem, indicators, solve_ridge
from headstart.plain import Plain
from headstart.wording import listed, percent

MOST = 2000
"""Images that are looked at: the interval of a balanced accuracy is ±2 points then, and a check takes seconds."""
HALF = 0.5
"""Share of the way from chance to the classifier: what reaches less cannot be most of what the classifier uses."""
PERMUTATIONS, QUANTILE = 200, 0.99
_SEED = 0  # any fixed number: the same images give the same answer
_RELATIVE = np.logspace(0, -4, 5)  # lambdas of the permuted labels, decades of the largest eigenvalue


CONTROLS = {"border": "inside"}
"""What tells a class must tell it better than this: a subject, a backdrop or a light shows in both."""
HINTS = ("file name", "colours", "blurred picture")
"""Never an alarm: a network does not see the first, and the others show the subject itself."""


@dataclass(frozen=True)
class Shortcut(Plain):
    """How well one family of descriptors tells the classes apart, or one class from the others.

    Args:
        family: such as `border`. accuracy: balanced, each group of images left out in turn, with an interval that holds
            for all families and classes together.
        limit: half the way from chance to the classifier. chance: the 99 % quantile with permuted labels; a half or
            1/C where the limit is not exceeded or the family is a hint.
        label: the class that is distinguished from the others; empty: all classes.
        classifier: its own accuracy in this. inside: how much better than its control; None: it has none, or none was
            needed.
    """

    family: str
    accuracy: Interval
    limit: float
    chance: float
    label: str = ""
    classifier: float = 1.0
    inside: Interval | None = None

    @property
    def is_above(self) -> bool:
        """Whether it tells more than half as well as the classifier."""
        return self.accuracy.low > self.limit

    @property
    def is_alarm(self) -> bool:
        """Whether it does, better than chance and than its control, and is no hint."""
        is_beyond = self.inside is None or self.inside.low > 0
        return self.is_above and self.accuracy.value > self.chance and is_beyond and self.family not in HINTS

    def __str__(self) -> str:
        ends = f"[{self.accuracy.low * 100:.1f}, {self.accuracy.high * 100:.1f}]"
        one = f" for {self.label} against the others" if self.label else ""
        return f"{self.family}{one} {percent(self.accuracy.value)} {ends}"


@dataclass(frozen=True)
class ClassifierAccuracy:
    """Left-out balanced accuracy of the classifier: over all classes, and for each of C classes against the others.

    The second is nan for a class that does not occur.
    """

    overall: float
    one_vs_rest: Matrix

    @classmethod
    def of(cls, scores: Matrix, labels: Labels) -> ClassifierAccuracy:
        """Measure it on scores M×C of labels M."""
        hits = scores.argmax(axis=1)
        alone = [np.mean([_share(hits, labels, c), 1 - _share(hits, labels, c, other=True)])
                 if (labels == c).any() else np.nan for c in range(scores.shape[1])]  # fmt: skip
        return cls(balanced_accuracy(scores, labels), np.array(alone))


def _share(predicted: Labels, labels: Labels, c: int, *, other: bool = False) -> float:
    """Share of the images of class c, or of the others, that are predicted as c."""
    return float((predicted[(labels == c) != other] == c).mean())


def chosen_rows(groups: Labels, most: int = MOST) -> Labels:
    """All rows where they are few enough, else whole groups in a fixed random order up to so many rows, ascending."""
    if len(groups) <= most:
        return np.arange(len(groups))
    numbers, sizes = np.unique(groups, return_counts=True)
    order = np.random.default_rng(_SEED).permutation(len(numbers))
    taken = order[np.cumsum(sizes[order]) <= most]
    return np.flatnonzero(np.isin(groups, numbers[taken]))


def can_be_looked_for(labels: Labels, groups: Labels) -> bool:
    """Whether there are two classes, and each has two groups, so that one can be left out."""
    classes = np.unique(labels)
    return len(classes) > 1 and all(len(np.unique(groups[labels == c])) > 1 for c in classes)


def find_shortcuts(  # six: what is compared, with what, and how
    families: Mapping[str, Matrix],
    labels: Labels,
    groups: Labels,
    *,
    full: ClassifierAccuracy,
    classes: Sequence[str],
    permutations: int = PERMUTATIONS,
) -> tuple[Shortcut, ...]:
    """Solve ridge on each family, every group left out in turn, and compare with chance and with the classifier.

    Args:
        families: name → N×d. labels: N, in [0, C); classes that do not occur are no matter. groups: N.
        full: of the classifier's features on the same images. classes: C names.

    Returns:
        One for each family with at least one column, and one for each class that a family tells from more than one
        other class better than half as well as the classifier; none where a class has fewer than two groups.
    """
    order = np.argsort(groups, kind="stable")
    present, labels = np.unique(labels[order], return_inverse=True)
    groups = groups[order]
    if not can_be_looked_for(labels, groups):
        return ()
    controls = {family: families[control][order] for family, control in CONTROLS.items() if control in families}
    shown = {name: x[order] for name, x in families.items() if x.shape[1] and name not in CONTROLS.values()}
    own = full.one_vs_rest[present]
    names = [classes[c] for c in present]
    tests = len(set(shown) - set(HINTS)) * (len(names) + 1 if len(names) > 2 else 1)  # of two, each is the other's rest
    found = []
    for family, x in shown.items():
        data = _labelled(x, labels, groups, classes=len(names))
        look = _Look(data, controls.get(family), tests=tests, permutations=permutations)
        found.append(look.all_classes(family, full.overall))
        if len(names) > 2:
            alone = (look.one_class(family, c, label=names[c], full=float(own[c])) for c in range(len(names)))
            found += [one for one in alone if one.is_above]
    return tuple(found)


class _Look:
    """What one family tells: its left-out predictions, and, once they are asked for, those of chance and control.

    Args:
        data: rows sorted by group. control: N×d. tests: how many Shortcuts share the chance of a false alarm.
    """

    def __init__(self, data: LabelledFeatures, control: Matrix | None, *, tests: int, permutations: int) -> None:
        self.data, self.control, self.tests, self.permutations = data, control, tests, permutations
        self.shared = shared_groups(data.groups.tolist())
        self.predicted = solve_ridge(data).held_scores.argmax(axis=1)

    def all_classes(self, family: str, full: float) -> Shortcut:
        """How well it tells the classes apart."""
        labels = self.data.labels
        return self._judge(Shortcut(family, self._interval(self.predicted == labels, labels), 0.0,
                                    1 / self.data.classes, classifier=full), None)  # fmt: skip

    def one_class(self, family: str, c: int, *, label: str, full: float) -> Shortcut:
        """How well it tells one class from the others."""
        is_c = self.data.labels == c
        accuracy = self._interval((self.predicted == c) == is_c, is_c.astype(np.int64))
        return self._judge(Shortcut(family, accuracy, 0.0, 0.5, label=label, classifier=full), c)

    def _interval(self, hits: NDArray[np.bool_], strata: Labels) -> Interval:
        return mean_share_interval(hits, strata, self.shared, confidence=1 - (1 - CONFIDENCE) / max(1, self.tests))

    def _judge(self, one: Shortcut, c: int | None) -> Shortcut:
        """With its limit; chance and control are only looked at where they could matter."""
        one = replace(one, limit=one.chance + HALF * max(one.classifier - one.chance, 0.0))
        if not one.is_above or one.family in HINTS:
            return one
        overall, alone = self._chance
        return replace(one, chance=overall if c is None else alone, inside=self._beyond(c))

    @cached_property
    def _chance(self) -> tuple[float, float]:
        """Quantiles with permuted labels: of the balanced accuracy, and of the largest one of a class."""
        made = _permuted(self.data, self.permutations)
        overall, alone = np.array([(one.overall, np.nanmax(one.one_vs_rest)) for one in made]).T
        return float(np.quantile(overall, QUANTILE)), float(np.quantile(alone, QUANTILE))

    def _beyond(self, c: int | None) -> Interval | None:
        """How much better than the control it tells, in pairs, with an interval over groups."""
        if self.control is None:
            return None
        labels, count = self.data.labels, len(self.data.labels)
        hits, other = (
            predicted == labels if c is None else (predicted == c) == (labels == c)
            for predicted in (self.predicted, self._control_predicted)
        )
        strata = labels if c is None else labels == c
        _, stratum, sizes = np.unique(strata, return_inverse=True, return_counts=True)
        gain = hits.astype(np.float64) - other
        return mean_interval(gain * (count / len(sizes) / sizes)[stratum], self.shared)

    @cached_property
    def _control_predicted(self) -> Labels:
        data, x = self.data, self.control
        if x is None or not x.shape[1]:  # nothing varies there: the most frequent class
            return np.full(len(data.labels), np.bincount(data.labels).argmax())
        path = solve_ridge(_labelled(x, data.labels, data.groups, classes=data.classes))
        predicted: Labels = path.held_scores.argmax(axis=1)
        return predicted


def balanced_accuracy(scores: Matrix, labels: Labels) -> float:
    """Mean recall of the classes that occur.

    Args:
        scores: N×C. labels: N.
    """
    hits = scores.argmax(axis=1) == labels
    return float(np.mean([hits[labels == c].mean() for c in np.unique(labels)]))


def shortcut_finding(found: Sequence[Shortcut], full: float) -> Finding:
    """What is said about them: a warning where one is an alarm, else a note with the numbers.

    Args:
        full: left-out balanced accuracy of the classifier.
    """
    alarms = sorted((one for one in found if one.is_alarm), key=lambda one: not one.label)
    detail = {"shortcuts": [one.to_dict() for one in found], "classifier": full}
    if not found:
        message = "Shortcuts were not looked for: a class has images of one group only."
        return Finding("shortcuts", "note", message, detail=detail)
    if alarms:
        message = (
            f"Possible shortcut: balanced accuracy of {listed(list(map(str, alarms)), 6)}. The classifier reaches "
            f"{percent(alarms[0].classifier)}, and more than {percent(alarms[0].limit)} is an alarm. It may "
            "have learned this instead of the subject: collect each class under the same conditions, or test on images "
            "taken under other ones."
        )
    else:
        looked = [str(one) for one in found if not one.label and one.family not in HINTS]
        message = (
            f"No shortcut found: balanced accuracy of {listed(looked, 6) or 'nothing, for nothing varies'}; "
            f"the classifier reaches {percent(full)}."
        )
    told = [str(one) for one in found if one.is_above and not one.is_alarm]
    if told:
        message += (
            f" Also tells classes apart: {listed(told, 4)}. The subject or the numbering of the files does that, too: "
            "it is a shortcut only if your classes should not differ there."
        )
    return Finding("shortcuts", "warning" if alarms else "note", message, detail=detail)


def _labelled(x: Matrix, labels: Labels, groups: Labels, *, classes: int) -> LabelledFeatures:
    """Rows sorted by group, as leaving groups out needs them."""
    names = tuple(map(str, range(len(x))))
    features = Features(x.astype(np.float32), {"descriptors": (0, x.shape[1])}, names, names)
    view = features.view(np.arange(len(x)), ("descriptors",), unit=False)
    return LabelledFeatures.of(view, labels, classes, groups=groups)


def _permuted(data: LabelledFeatures, permutations: int) -> Iterator[ClassifierAccuracy]:
    """Left-out balanced accuracies when groups exchange their labels; lambda is chosen each time."""
    rng = np.random.default_rng(_SEED)
    numbers, first, member = np.unique(data.groups, return_index=True, return_inverse=True)
    basis, x = RidgeProblem(data).basis, data.view.array()
    rows = (x - basis.mean) @ basis.rows if basis.primal else basis.rows  # B, N×r: one decomposition serves all labels
    lambdas = _RELATIVE * max(float(basis.spectrum.max()), 1e-12)
    for _ in range(permutations):
        labels = data.labels[first][rng.permutation(len(numbers))][member]
        targets = indicators(labels, data.classes)
        mean = targets.mean(axis=0)
        given = replace(basis, targets=rows.T @ (targets - mean), target_mean=mean)
        problem = RidgeProblem(replace(data, labels=labels), given=given)
        losses, _ = problem.leave_out(lambdas)
        yield ClassifierAccuracy.of(problem.left_out_scores(float(lambdas[int(np.argmin(losses))])), labels)
