"""Evaluate: what a classifier's predictions on test images are worth, with intervals and baselines.

In: probabilities N×C and the test images they belong to. Out: Evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError, shown
from headstart.evaluation.calibration import measure_calibration
from headstart.evaluation.evaluation import Baseline, ClassScore, Evaluation, Mistake
from headstart.evaluation.intervals import (
    Indices,
    Interval,
    Resampling,
    accuracy_intervals,
    add_intervals,
    bootstrap,
    replace_degenerate,
    shared_groups,
    wilson,
)
from headstart.evaluation.metrics import checked, checked_labels, confusion_of, f1_of, precision_of

Labels = NDArray[np.int64]
Counts = NDArray[np.intp]
Values = NDArray[np.float64]

MAX_MISTAKES = 50  # more than a person looks through


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluatedImages:
    """The N test images of an evaluation.

    Args:
        labels: N, in [0, C); images of classes that the classifier does not know are left out by the caller.
        classes: C names, in the order of the probabilities' columns.
        names: N, how the images are shown to a person.
        groups: N; images of one group (burst, duplicates, person) are not independent; None stands alone.
        leaked: N, true where the image is in the training set too; None if this was not checked.
        unknown: left-out images per unknown class name.
    """

    labels: ArrayLike
    classes: Sequence[str]
    names: Sequence[str]
    groups: Sequence[str | None] | None = None
    leaked: ArrayLike | None = None
    unknown: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class BaselinePredictions:
    """Labels N that a simple method predicts on the same test images; `about` says in words what it does."""

    labels: ArrayLike
    about: str = ""


def evaluate_probabilities(
    probabilities: ArrayLike,
    images: EvaluatedImages,
    *,
    train_counts: Sequence[int] | None = None,
    baselines: Mapping[str, BaselinePredictions] | None = None,
    seed: int = 0,
) -> Evaluation:
    """Everything that can be said about one set of predictions.

    Args:
        probabilities: N×C, calibrated or not, rows sum to 1.
        train_counts: training images per class, C; None when not known.
        baselines: further baselines by name, e.g. `kNN`; the majority class is always measured.
        seed: of the bootstrap.

    Raises:
        DataError: there is no test image, or an argument does not fit the others.
    """
    p, y = checked(probabilities, images.labels)
    _check(images, p.shape, train_counts)
    groups = shared_groups(images.groups)
    predicted = p.argmax(axis=1)
    correct, confusion = predicted == y, confusion_of(predicted, y, p.shape[1])
    accuracy, over_groups = accuracy_intervals(correct, groups, seed=seed)
    resampling = Resampling(n=len(y), strata=y.tolist() if groups is None else None, groups=groups, seed=seed)
    balanced, f1 = _averages(predicted, y, resampling)
    fallback = over_groups or _wilson_average(confusion)
    scores = _class_scores(images.classes, confusion)
    clean = None if images.leaked is None else ~np.asarray(images.leaked)
    return Evaluation(
        accuracy=accuracy,
        accuracy_over_groups=over_groups,
        balanced_accuracy=replace_degenerate(balanced, fallback),
        macro_f1=replace_degenerate(f1, fallback),
        worst_class=min((s for s in scores if s.support), key=lambda s: (s.recall.value, s.recall.high, s.recall.low)),
        per_class=scores,
        calibration=measure_calibration(p, y, groups=groups, seed=seed),
        baselines=(_majority(images.classes, confusion.sum(axis=1), train_counts), *_measured(baselines or {}, y, p)),
        without_leaks=None if clean is None else wilson(int(correct[clean].sum()), int(clean.sum())),
        leaked=0 if clean is None else int((~clean).sum()),
        unknown=dict(images.unknown),
        classes=tuple(images.classes),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        mistakes=_mistakes(p, y, images),
    )


def _averages(predicted: Labels, y: Labels, resampling: Resampling) -> tuple[Interval, Interval]:
    """Balanced accuracy and macro F1 with bootstrap intervals: within classes, or over groups where there are some."""
    width = int(max(y.max(), predicted.max())) + 1
    hit = np.where(predicted == y, y, width)  # errors are counted in an extra bin

    def counts(index: Indices) -> tuple[Counts, Counts, Counts]:
        support, chosen = np.bincount(y[index], minlength=width), np.bincount(predicted[index], minlength=width)
        present = support > 0
        return np.bincount(hit[index], minlength=width + 1)[:width][present], support[present], chosen[present]

    def balanced(index: Indices) -> float:
        hits, support, _ = counts(index)
        return float((hits / support).mean())

    def f1(index: Indices) -> float:
        hits, support, chosen = counts(index)
        return float((2 * hits / (support + chosen)).mean())

    return bootstrap(balanced, resampling), bootstrap(f1, resampling)


def _wilson_average(confusion: Labels) -> Interval:
    recalls = [wilson(int(row[c]), int(row.sum())) for c, row in enumerate(confusion) if row.sum()]
    return add_intervals(recalls, [1 / len(recalls)] * len(recalls), "Wilson per class")


def _class_scores(classes: Sequence[str], confusion: Labels) -> tuple[ClassScore, ...]:
    support, precision, f1 = confusion.sum(axis=1), _defined(precision_of(confusion)), _defined(f1_of(confusion))
    return tuple(
        ClassScore(
            name=name,
            support=int(support[c]),
            recall=wilson(int(confusion[c, c]), int(support[c])),
            precision=precision[c],
            f1=f1[c],
        )
        for c, name in enumerate(classes)
    )


def _defined(values: Values) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _majority(classes: Sequence[str], support: Labels, train_counts: Sequence[int] | None) -> Baseline:
    counts = support if train_counts is None else np.asarray(train_counts)
    largest, n = int(counts.argmax()), int(counts.sum())
    about = f"always predicts {shown(classes[largest])}, the largest class of "
    if train_counts is None:
        about += f"the test images themselves ({counts[largest]} of {n}), as the training counts are not known"
    else:
        about += f"the training images ({counts[largest]} of {n})"
    return Baseline("majority", wilson(int(support[largest]), int(support.sum())), about)


def _measured(baselines: Mapping[str, BaselinePredictions], y: Labels, p: Values) -> list[Baseline]:
    if "majority" in baselines:
        raise DataError(expected="another name for this baseline", found="'majority'", hint="It is always measured.")
    predicted = {name: checked_labels(one.labels, *p.shape) for name, one in baselines.items()}
    return [
        Baseline(name, wilson(int((labels == y).sum()), len(y)), baselines[name].about)
        for name, labels in predicted.items()
    ]


def _mistakes(p: Values, y: Labels, images: EvaluatedImages) -> tuple[Mistake, ...]:
    predicted, confidence = p.argmax(axis=1), np.minimum(p.max(axis=1), 1.0)
    names, classes = images.names, images.classes
    wrong = sorted(np.flatnonzero(predicted != y).tolist(), key=lambda i: (-confidence[i], names[i]))[:MAX_MISTAKES]
    return tuple(Mistake(names[i], classes[y[i]], classes[predicted[i]], float(confidence[i])) for i in wrong)


def _check(images: EvaluatedImages, shape: tuple[int, ...], train_counts: Sequence[int] | None) -> None:
    n, classes = shape
    lengths = (
        ("classes", images.classes, classes),
        ("train_counts", train_counts, classes),
        ("names", images.names, n),
        ("groups", images.groups, n),
    )
    for name, values, count in lengths:
        if values is not None and len(values) != count:
            raise DataError(expected=f"{count} {name}", found=f"{len(values)}", where="evaluate")
    if len(set(images.classes)) < len(images.classes):
        found = f"{list(images.classes)}"
        raise DataError(expected="classes with different names", found=found, where="evaluate")
    mask = None if images.leaked is None else np.asarray(images.leaked)
    if mask is not None and (mask.dtype != np.bool_ or mask.shape != (n,)):
        found = f"{mask.dtype} of shape {mask.shape}"
        raise DataError(expected=f"a mask of {n} truth values", found=found, where="leaked")
