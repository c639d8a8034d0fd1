"""Evaluate: what a classifier's answers on test images are worth, every number with its range and its rivals.

In: probabilities N×C and labels N of the test images. Out: Evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError, shown
from headstart.evaluation.calibration import measure_calibration
from headstart.evaluation.evaluation import Baseline, ClassScore, Evaluation, Mistake
from headstart.evaluation.intervals import (
    Indices,
    Interval,
    accuracy_over_groups,
    add_intervals,
    bootstrap,
    count_groups,
    never_certain,
    wilson,
)
from headstart.evaluation.metrics import checked, checked_labels, confusion_of, f1_of, precision_of

__all__ = ["Baseline", "ClassScore", "Evaluation", "Mistake", "evaluate_probabilities"]

Labels = NDArray[np.int64]
Counts = NDArray[np.intp]
Values = NDArray[np.float64]

MOST_MISTAKES = 50  # more than a person looks through


def evaluate_probabilities(
    probabilities: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[str],
    *,
    names: Sequence[str],
    train_labels: Sequence[int] | None = None,
    predictions_of_baselines: Mapping[str, ArrayLike] | None = None,
    about_baselines: Mapping[str, str] | None = None,
    groups: Sequence[str | None] | None = None,
    leaked: ArrayLike | None = None,
    unknown: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Evaluation:
    """Everything that can be said about one set of answers.

    Args:
        probabilities: N×C, calibrated or not, rows sum to 1.
        labels: N, in [0, C); images of classes that the classifier does not know are left out by the caller.
        classes: C names, in the order of the columns.
        names: N, how the images are shown to a person.
        train_labels: training images per class, C; None when not known.
        predictions_of_baselines: N answered labels for each further rival, e.g. `kNN`.
        about_baselines: what each of these does, in words.
        groups: N; images of one group (burst, duplicates, person) are not independent; None stands alone.
        leaked: N, true where the image is in the training part too; None if nobody looked.
        unknown: left-out images per unknown class name.
        seed: of the bootstrap.

    Raises:
        DataError: there is no test image, or an argument does not fit the others.
    """
    p, y = checked(probabilities, labels)
    _check_lengths(p.shape[1], {"classes": classes, "train_labels": train_labels})
    if len(set(classes)) < len(classes):
        raise DataError(expected="classes with different names", found=f"{list(classes)}", where="evaluate")
    _check_lengths(len(p), {"names": names, "groups": groups})
    together = groups if groups is not None and count_groups(groups) < len(p) else None
    predicted = p.argmax(axis=1)
    right, confusion = predicted == y, confusion_of(predicted, y, p.shape[1])
    clustered = None if together is None else accuracy_over_groups(right, together, seed=seed)
    balanced, f1 = _averages(predicted, y, together, clustered or _wilson_average(confusion), seed)
    scores = _class_scores(classes, confusion)
    clean = None if leaked is None else ~_mask(leaked, len(y))
    return Evaluation(
        accuracy=wilson(int(right.sum()), len(y)),
        accuracy_over_groups=clustered,
        balanced_accuracy=balanced,
        macro_f1=f1,
        worst_class=min((s for s in scores if s.support), key=lambda s: (s.recall.value, s.recall.high, s.recall.low)),
        per_class=scores,
        calibration=measure_calibration(p, y, groups=together, seed=seed),
        baselines=(
            _majority(classes, confusion.sum(axis=1), train_labels),
            *_rivals(predictions_of_baselines or {}, about_baselines or {}, y, p.shape[1]),
        ),
        without_leaks=None if clean is None else wilson(int(right[clean].sum()), int(clean.sum())),
        leaked=0 if clean is None else int((~clean).sum()),
        unknown=dict(unknown or {}),
        classes=tuple(classes),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        mistakes=_mistakes(p, y, names, classes),
    )


def _averages(
    predicted: Labels, y: Labels, groups: Sequence[str | None] | None, spare: Interval, seed: int
) -> tuple[Interval, Interval]:
    """Balanced accuracy and macro F1 with bootstrap intervals: within classes, or over groups where there are some."""
    width = int(max(y.max(), predicted.max())) + 1
    hit = np.where(predicted == y, y, width)  # wrong answers are counted in an extra place

    def parts(index: Indices) -> tuple[Counts, Counts, Counts]:
        support, answers = np.bincount(y[index], minlength=width), np.bincount(predicted[index], minlength=width)
        there = support > 0
        return np.bincount(hit[index], minlength=width + 1)[:width][there], support[there], answers[there]

    def balanced(index: Indices) -> float:
        hits, support, _ = parts(index)
        return float((hits / support).mean())

    def f1(index: Indices) -> float:
        hits, support, answers = parts(index)
        return float((2 * hits / (support + answers)).mean())

    strata = y.tolist() if groups is None else None
    pair = (bootstrap(one, len(y), seed=seed, strata=strata, groups=groups) for one in (balanced, f1))
    below, above = spare.value - spare.low, spare.high - spare.value
    first, second = (never_certain(found, below, above, spare.method) for found in pair)
    return first, second


def _wilson_average(confusion: Labels) -> Interval:
    recalls = [wilson(int(row[c]), int(row.sum())) for c, row in enumerate(confusion) if row.sum()]
    return add_intervals(recalls, [1 / len(recalls)] * len(recalls), "Wilson per class")


def _class_scores(classes: Sequence[str], confusion: Labels) -> tuple[ClassScore, ...]:
    support, precision, f1 = confusion.sum(axis=1), _known(precision_of(confusion)), _known(f1_of(confusion))
    recall = [wilson(int(confusion[c, c]), int(support[c])) for c in range(len(classes))]
    return tuple(ClassScore(name, int(support[c]), recall[c], precision[c], f1[c]) for c, name in enumerate(classes))


def _known(values: Values) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _majority(classes: Sequence[str], support: Labels, train_labels: Sequence[int] | None) -> Baseline:
    counts = support if train_labels is None else np.asarray(train_labels)
    largest, n = int(counts.argmax()), int(counts.sum())
    about = f"always answers {shown(classes[largest])}, the largest class of "
    if train_labels is None:
        about += f"the test images themselves ({counts[largest]} of {n}), for the training counts are not known"
    else:
        about += f"the training images ({counts[largest]} of {n})"
    return Baseline("majority", wilson(int(support[largest]), int(support.sum())), about)


def _rivals(predictions: Mapping[str, ArrayLike], about: Mapping[str, str], y: Labels, classes: int) -> list[Baseline]:
    if "majority" in predictions:
        raise DataError(expected="another name for this baseline", found="'majority'", hint="It is always measured.")
    answers = {name: checked_labels(labels, len(y), classes) for name, labels in predictions.items()}
    return [Baseline(name, wilson(int((a == y).sum()), len(y)), about.get(name, "")) for name, a in answers.items()]


def _mistakes(p: Values, y: Labels, names: Sequence[str], classes: Sequence[str]) -> tuple[Mistake, ...]:
    predicted, confidence = p.argmax(axis=1), np.minimum(p.max(axis=1), 1.0)
    wrong = sorted(np.flatnonzero(predicted != y).tolist(), key=lambda i: (-confidence[i], names[i]))[:MOST_MISTAKES]
    return tuple(Mistake(names[i], classes[y[i]], classes[predicted[i]], float(confidence[i])) for i in wrong)


def _mask(leaked: ArrayLike, n: int) -> NDArray[np.bool_]:
    mask = np.asarray(leaked)
    if mask.dtype != np.bool_ or mask.shape != (n,):
        raise DataError(
            expected=f"a mask of {n} truth values", found=f"{mask.dtype} of shape {mask.shape}", where="leaked"
        )
    return mask


def _check_lengths(count: int, given: Mapping[str, Sequence[Any] | None]) -> None:
    for name, values in given.items():
        if values is not None and len(values) != count:
            raise DataError(expected=f"{count} {name}", found=f"{len(values)}", where="evaluate")
