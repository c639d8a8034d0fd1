"""Evaluate: what a classifier's predictions on test images are worth, with intervals and baselines.

In: probabilities N×C and the test images they belong to. Out: Evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError, shown
from headstart.evaluation.calibration import measure_calibration
from headstart.evaluation.design_effect import count_groups, groups_of, shared_groups
from headstart.evaluation.evaluation import Baseline, ClassScore, Evaluation, HeldOutAccuracy, Mistake
from headstart.evaluation.intervals import (
    accuracy_intervals,
    macro_f1_interval,
    mean_share_interval,
    picked_share_interval,
    share_interval,
)
from headstart.evaluation.metrics import checked, checked_labels, confusion_of, f1_of, precision_of
from headstart.evaluation.paired import paired_difference

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
    held_out: HeldOutAccuracy | None = None,
    seed: int = 0,
) -> Evaluation:
    """Everything that can be said about one set of predictions.

    Args:
        probabilities: N×C, calibrated or not, rows sum to 1.
        train_counts: training images per class, C; None when not known.
        baselines: further baselines by name, e.g. `kNN`; the majority class is always measured.
        held_out: accuracy on training images, each predicted by a head that did not see it; shown beside the test's.
        seed: of the simulated perfect models that calibration is compared with.

    Raises:
        DataError: there is no test image, or an argument does not fit the others.
    """
    p, y = checked(probabilities, images.labels)
    _check(images, p.shape, train_counts)
    groups = shared_groups(images.groups)
    predicted = p.argmax(axis=1)
    correct, confusion = predicted == y, confusion_of(predicted, y, p.shape[1])
    accuracy, over_groups = accuracy_intervals(correct, groups)
    scores = _class_scores(images.classes, y, predicted, groups=groups)
    clean = None if images.leaked is None else ~np.asarray(images.leaked)
    majority = _majority(images.classes, confusion.sum(axis=1), train_counts)
    return Evaluation(
        accuracy=accuracy,
        accuracy_over_groups=over_groups,
        balanced_accuracy=mean_share_interval(correct, y, groups),
        macro_f1=macro_f1_interval(predicted, y, groups),
        worst_class=_worst(scores, y, correct, groups=groups),
        per_class=scores,
        calibration=measure_calibration(p, y, groups=groups, seed=seed),
        baselines=tuple(
            _baseline(name, one, y, correct=correct, groups=groups)
            for name, one in (majority | _checked_baselines(baselines or {}, p.shape)).items()
        ),
        without_leaks=None if clean is None else share_interval(correct[clean], groups_of(groups, clean)),
        leaked=0 if clean is None else int((~clean).sum()),
        unknown=dict(images.unknown),
        classes=tuple(images.classes),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        mistakes=_mistakes(p, y, images),
        groups=0 if groups is None else count_groups(groups),
        held_out=held_out,
    )


def _class_scores(
    classes: Sequence[str], y: Labels, predicted: Labels, *, groups: Sequence[Hashable] | None
) -> tuple[ClassScore, ...]:
    confusion = confusion_of(predicted, y, len(classes))
    support, precision, f1 = confusion.sum(axis=1), _defined(precision_of(confusion)), _defined(f1_of(confusion))
    return tuple(
        ClassScore(
            name=name,
            support=int(support[c]),
            recall=share_interval((predicted == y)[y == c], groups_of(groups, y == c)),
            precision=precision[c],
            f1=f1[c],
        )
        for c, name in enumerate(classes)
    )


def _worst(
    scores: Sequence[ClassScore], y: Labels, correct: NDArray[np.bool_], *, groups: Sequence[Hashable] | None
) -> ClassScore:
    """The class with the lowest recall; its interval allows for having been picked among all of them."""
    tested = [(c, score) for c, score in enumerate(scores) if score.support]
    c, worst = min(tested, key=lambda one: (one[1].recall.value, one[1].recall.high, one[1].recall.low))
    picked = picked_share_interval(correct[y == c], groups_of(groups, y == c), among=len(tested))
    return replace(worst, recall=picked)


def _defined(values: Values) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _majority(
    classes: Sequence[str], support: Labels, train_counts: Sequence[int] | None
) -> dict[str, BaselinePredictions]:
    counts = support if train_counts is None else np.asarray(train_counts)
    largest, n = int(counts.argmax()), int(counts.sum())
    about = f"always predicts {shown(classes[largest])}, the largest class of "
    if train_counts is None:
        about += f"the test images themselves ({counts[largest]} of {n}), as the training counts are not known"
    else:
        about += f"the training images ({counts[largest]} of {n})"
    return {"majority": BaselinePredictions(np.full(int(support.sum()), largest), about)}


def _checked_baselines(
    baselines: Mapping[str, BaselinePredictions], shape: tuple[int, ...]
) -> dict[str, BaselinePredictions]:
    if "majority" in baselines:
        raise DataError(expected="another name for this baseline", found="'majority'", hint="It is always measured.")
    return {name: replace(one, labels=checked_labels(one.labels, *shape)) for name, one in baselines.items()}


def _baseline(
    name: str,
    predictions: BaselinePredictions,
    y: Labels,
    *,
    correct: NDArray[np.bool_],
    groups: Sequence[Hashable] | None,
) -> Baseline:
    """A baseline's accuracy, and the classifier's lead over it on the same images."""
    its = np.asarray(predictions.labels) == y
    found = paired_difference(correct.astype(np.int64) - its, groups)
    return Baseline(
        name, share_interval(its, groups), predictions.about, difference=found.difference, p_value=found.p_value
    )


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
