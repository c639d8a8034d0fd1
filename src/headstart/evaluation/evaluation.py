"""Evaluation: all that was measured on the test images, as plain values for terminal, JSON, page and report.

In: numbers with their intervals. Out: dictionaries for strict JSON and back, and a table in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import RunError, shown
from headstart.evaluation.calibration import Calibration
from headstart.evaluation.design_effect import FEW_GROUPS
from headstart.evaluation.intervals import Interval, add_intervals, points
from headstart.evaluation.paired import is_significant
from headstart.evaluation.sense import check_numbers
from headstart.plain import Plain, data_frame
from headstart.public_api import public_methods
from headstart.untrusted import Untrusted, check_fields
from headstart.wording import counted


@dataclass(frozen=True)
class ClassScore:
    """How well one class is predicted.

    Args:
        support: its test images.
        recall: share of them that were found.
        precision: share of the images predicted as this class that belong to it; None when there are none.
        f1: harmonic mean of the two; None when it has no test images and no image was predicted as it.
    """

    name: str
    support: int
    recall: Interval
    precision: float | None
    f1: float | None

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> ClassScore:
        """The score that `Evaluation.to_dict` wrote."""
        return cls(**{**saved, "recall": Interval.from_dict(saved["recall"])})


@dataclass(frozen=True)
class Baseline:
    """A simple method on the same test images; `about` says in words what it does.

    Args:
        difference: accuracy of the classifier minus that of the baseline, in pairs; None in evaluations before 0.2.
        p_value: of the paired test, two-sided (mid-p of McNemar's, or by sign flips of whole groups); None before 0.2.
    """

    name: str
    accuracy: Interval
    about: str
    difference: Interval | None = None
    p_value: float | None = None

    @property
    def is_beaten(self) -> bool | None:
        """Whether the classifier is better, by the paired test at 5 %; None where it was not compared."""
        if self.difference is None or self.p_value is None:
            return None
        return self.difference.low > 0 and is_significant(self.difference, self.p_value)

    @property
    def comparison(self) -> str:
        """`+1.3 points [-2.6, +5.3], p = 0.53`; empty where it was not compared."""
        if self.difference is None or self.p_value is None:
            return ""
        return f"{points(self.difference)}, p = {self.p_value:.2g}"

    @classmethod
    def from_dict(cls, name: str, saved: Mapping[str, Any]) -> Baseline:
        """The baseline that `Evaluation.to_dict` wrote."""
        difference = saved.get("difference")
        return cls(
            name,
            Interval.from_dict(saved["accuracy"]),
            saved["about"],
            difference=None if difference is None else Interval.from_dict(difference),
            p_value=saved.get("p_value"),
        )


@dataclass(frozen=True)
class HeldOutAccuracy(Plain):
    """Accuracy on training images, each predicted by a head that did not see it.

    Args:
        accuracy: with its interval, over groups where images come in groups.
        about: which images, and how they were held out, in words.
    """

    accuracy: Interval
    about: str

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> HeldOutAccuracy:
        """The accuracy that `Evaluation.to_dict` wrote."""
        return cls(Interval.from_dict(saved["accuracy"]), saved["about"])


@dataclass(frozen=True)
class Mistake:
    """A test image that was classified wrongly, with the probability of the predicted class."""

    name: str
    true: str
    predicted: str
    probability: float


@public_methods("from_dict", "confusion_matrix", "confusion_frame")
@dataclass(frozen=True)
class Evaluation(Plain):
    """All that was measured on the test images.

    Args:
        accuracy: share of correct predictions, Wilson interval.
        accuracy_over_groups: the same, allowing for groups of images (bursts, duplicates) that are not independent;
            None without groups. Where there are some, all other intervals allow for them too.
        balanced_accuracy, macro_f1: means over the classes that have test images.
        worst_class: the class with the lowest recall; its interval allows for having been picked.
        per_class: one score per class, in the order of `classes`.
        calibration: how far confidence and accuracy are apart.
        baselines: simple methods on the same images, the majority class first.
        without_leaks: accuracy on the images that are not in the training set too; None if this was not checked.
        leaked: test images that are; where `accuracy` is that of the others alone, as many were left out.
        unknown: images per class name that the classifier does not know: counted here, not scored.
        classes: names, in the order of the columns.
        confusion: rows are the true classes, columns the predictions.
        mistakes: most confident first, at most 50.
        groups: independent draws among the test images; 0 where each image is one.
        held_out: accuracy on training images that were left out in turn; None where the classifier was not solved so.
    """

    accuracy: Interval
    accuracy_over_groups: Interval | None
    balanced_accuracy: Interval
    macro_f1: Interval
    worst_class: ClassScore
    per_class: tuple[ClassScore, ...]
    calibration: Calibration
    baselines: tuple[Baseline, ...]
    without_leaks: Interval | None
    leaked: int
    unknown: dict[str, int]
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    mistakes: tuple[Mistake, ...]
    groups: int = 0
    held_out: HeldOutAccuracy | None = None

    def __repr__(self) -> str:  # short: print() has all of it in words
        tested = sum(map(sum, self.confusion))
        return f"Evaluation(accuracy {self.accuracy}, {tested:,} test images of {len(self.classes)} classes)"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON, `accuracy` first; what is not defined is None."""
        values = super().to_dict()
        named = {one.name: saved for one, saved in zip(self.baselines, values["baselines"], strict=True)}
        baselines = {name: {key: saved[key] for key in saved if key != "name"} for name, saved in named.items()}
        return {**values, "baselines": baselines}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Evaluation:
        """The evaluation that `to_dict` wrote, in this version or in 0.1.

        Raises:
            RunError: a field is missing, unknown or of the wrong kind.
        """
        try:
            check_numbers(saved)
            found_one = check_fields(cls(**{**saved, **_restored(saved)}))
            _check_sense(found_one)
            return found_one
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            found = f"no {error.args[0]}" if isinstance(error, KeyError) else str(error)
            raise RunError(
                expected="an evaluation as headstart writes it", found=found, hint="Evaluate again."
            ) from error

    def confusion_matrix(self) -> NDArray[np.int64]:
        """`confusion` as an array, C×C int64: rows are the true classes, columns the predictions."""
        return np.array(self.confusion, dtype=np.int64)

    def confusion_frame(self) -> Any:
        """The confusion matrix as a pandas DataFrame: index `true`, columns `predicted`, with the names of the classes.

        Raises:
            RunError: pandas is not installed.
        """
        frame = data_frame(dict(enumerate(self.confusion_matrix().T)))
        frame.index, frame.columns = list(self.classes), list(self.classes)
        return frame.rename_axis(index="true", columns="predicted")

    @property
    def correct(self) -> int:
        """Test images that were classified correctly: the diagonal of the confusion matrix."""
        return sum(row[i] for i, row in enumerate(self.confusion))

    @property
    def minus_held_out(self) -> Interval | None:
        """Test accuracy minus that of left-out training images; None where those were not measured.

        Different images, so Newcombe's interval from that of each; groups of images count as such on both sides.
        """
        if self.held_out is None:
            return None
        tested = self.accuracy_over_groups or self.accuracy
        return add_intervals([tested, self.held_out.accuracy], [1, -1], "Newcombe, different images")

    @property
    def is_below_held_out(self) -> bool:
        """Whether the test went worse than left-out training images, beyond what chance does in one of 40 splits."""
        gap = self.minus_held_out
        return gap is not None and gap.high < 0

    @property
    def _few_groups(self) -> str:
        few = 0 < self.groups < FEW_GROUPS
        return f"; fewer than {FEW_GROUPS} groups: a rough guide" if few else ""

    def __str__(self) -> str:
        rows = self.rows()
        names, values = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
        return "\n".join(f"{name:<{names}}  {value:<{values}}  {about}".rstrip() for name, value, about in rows)

    def _leaks(self) -> str:
        if not self.leaked:
            return "no test image is also in the training set"
        left_out = self.without_leaks is not None and self.without_leaks.n == self.accuracy.n
        kind = "further image" if left_out else "test image"
        said = f"{counted(self.leaked, kind)} {'is' if self.leaked == 1 else 'are'} also in the training set"
        return f"{said}, left out of all numbers" if left_out else said

    def rows(self) -> list[tuple[str, str, str]]:
        """The table of results: name, value, explanation; names from outside are escaped."""
        worst, over = self.worst_class, self.accuracy_over_groups
        scored = counted(sum(score.support > 0 for score in self.per_class), "class")
        correct = f"{self.correct:,} of {counted(self.accuracy.n, 'test image')} correct; 95 % interval, Wilson"
        rows = [("accuracy", str(self.accuracy), correct)]
        if over is not None:
            rows.append(("  over groups", str(over), over.method + self._few_groups))
        if self.without_leaks is not None:
            rows.append(("  without leaks", str(self.without_leaks), self._leaks()))
        if self.held_out is not None:
            gap = self.minus_held_out
            below = f"; test minus held out {points(gap)}" if gap is not None and self.is_below_held_out else ""
            about = f"{self.held_out.about}; not the test images{below}"
            rows.append(("  held out", str(self.held_out.accuracy), about))
        for one in self.baselines:
            lead = f"; classifier minus baseline {one.comparison}" if one.comparison else ""
            rows.append((f"baseline {shown(one.name)}", str(one.accuracy), shown(one.about) + lead))
        rows.append(("balanced accuracy", str(self.balanced_accuracy), f"mean recall of {scored}"))
        rows.append(("macro F1", str(self.macro_f1), f"mean F1 of {scored}"))
        support = counted(worst.support, "test image")
        picked = f", the lowest of {scored}" if scored != "1 class" else ""
        rows.append((f"worst class {shown(worst.name)}", str(worst.recall), f"recall on {support}{picked}"))
        gap = self.calibration.overconfidence
        if gap is not None:
            doubt = "" if self.calibration.is_precise else "; too few images to rule out 5 points or more"
            rows.append(("overconfidence", points(gap), f"mean confidence minus accuracy{doubt}"))
        rows.append(("calibration error", str(self.calibration.ece), self.calibration.verdict))
        for name, count in self.unknown.items():
            rows.append((f"unknown class {shown(name)}", counted(count, "image"), "not scored"))
        return rows


def _check_sense(one: Evaluation) -> None:
    """Check that the numbers go together: classes, confusion matrix, accuracy.

    Raises:
        Untrusted: one is not.
    """
    count = len(one.classes)
    if len(set(one.classes)) != count or len(one.confusion) != count or {len(row) for row in one.confusion} != {count}:
        raise Untrusted(f"a confusion matrix that is not of {count} different classes")
    if one.worst_class.name not in one.classes:
        raise Untrusted(f"the worst class is {one.worst_class.name!r:.60}")
    tested = sum(map(sum, one.confusion))
    if one.accuracy.n != tested or round(one.accuracy.value * tested) != one.correct:
        raise Untrusted(f"accuracy is {one.accuracy} of {one.accuracy.n} images, of {tested} {one.correct} are correct")
    scored = {score.name: score.support for score in one.per_class}
    if scored != dict(zip(one.classes, map(sum, one.confusion), strict=True)):
        raise Untrusted("classes with other numbers of images than in the confusion matrix")
    if one.worst_class.support != scored[one.worst_class.name]:
        raise Untrusted(f"the worst class has {one.worst_class.support} images, not {scored[one.worst_class.name]}")
    parts = [one.balanced_accuracy, one.macro_f1, one.calibration.ece, *(score.recall for score in one.per_class),
             *(baseline.accuracy for baseline in one.baselines), *filter(None, [one.without_leaks])]  # fmt: skip
    most = max(one.groups, *(part.n for part in parts))
    if most > tested:
        raise Untrusted(f"{most} images or groups, of {tested} that were tested")


def _restored(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an Evaluation that are more than plain values."""
    spans = ("accuracy", "accuracy_over_groups", "balanced_accuracy", "macro_f1", "without_leaks")
    baselines = saved["baselines"].items()
    return {
        **{name: None if saved[name] is None else Interval.from_dict(saved[name]) for name in spans},
        "worst_class": ClassScore.from_dict(saved["worst_class"]),
        "per_class": tuple(ClassScore.from_dict(score) for score in saved["per_class"]),
        "calibration": Calibration.from_dict(saved["calibration"]),
        "baselines": tuple(Baseline.from_dict(name, one) for name, one in baselines),
        "held_out": None if saved.get("held_out") is None else HeldOutAccuracy.from_dict(saved["held_out"]),
        "unknown": dict(saved["unknown"]),
        "classes": tuple(saved["classes"]),
        "confusion": tuple(tuple(row) for row in saved["confusion"]),
        "mistakes": tuple(Mistake(**mistake) for mistake in saved["mistakes"]),
    }
