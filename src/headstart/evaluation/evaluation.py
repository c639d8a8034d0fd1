"""Evaluation: all that was measured on the test images, as plain values for terminal, JSON, page and report.

In: numbers with their intervals. Out: dictionaries for strict JSON and back, and a table in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headstart.errors import RunError, shown
from headstart.evaluation.calibration import Calibration
from headstart.evaluation.intervals import Interval
from headstart.plain import Plain
from headstart.public_api import public_methods
from headstart.untrusted import check_fields
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
    """A simple method on the same test images; `about` says in words what it does."""

    name: str
    accuracy: Interval
    about: str


@dataclass(frozen=True)
class Mistake:
    """A test image that was classified wrongly, with the probability of the predicted class."""

    name: str
    true: str
    predicted: str
    probability: float


@public_methods("from_dict")
@dataclass(frozen=True)
class Evaluation(Plain):
    """All that was measured on the test images.

    Args:
        accuracy: share of correct predictions, Wilson interval.
        accuracy_over_groups: the same with whole groups (bursts, duplicates) as the draws; None without groups.
        balanced_accuracy, macro_f1: means over the classes that have test images, bootstrap intervals.
        worst_class: the class with the lowest recall.
        per_class: one score per class, in the order of `classes`.
        calibration: how far confidence and accuracy are apart.
        baselines: simple methods on the same images, the majority class first.
        without_leaks: accuracy on the images that are not in the training set too; None if this was not checked.
        leaked: test images that are.
        unknown: images per class name that the classifier does not know: counted here, not scored.
        classes: names, in the order of the columns.
        confusion: rows are the true classes, columns the predictions.
        mistakes: most confident first, at most 50.
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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON, `accuracy` first; what is not defined is None."""
        baselines = {one.name: {"accuracy": one.accuracy.to_dict(), "about": one.about} for one in self.baselines}
        return {**super().to_dict(), "baselines": baselines}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Evaluation:
        """The evaluation that `to_dict` wrote, in this version or in 0.1.

        Raises:
            RunError: a field is missing, unknown or of the wrong kind.
        """
        try:
            return check_fields(cls(**{**saved, **_restored(saved)}))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            found = f"{type(error).__name__}: {error}"
            raise RunError(
                expected="an evaluation as headstart writes it", found=found, hint="Evaluate again."
            ) from error

    @property
    def correct(self) -> int:
        """Test images that were classified correctly: the diagonal of the confusion matrix."""
        return sum(row[i] for i, row in enumerate(self.confusion))

    def __str__(self) -> str:
        rows = self.rows()
        names, values = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
        return "\n".join(f"{name:<{names}}  {value:<{values}}  {about}".rstrip() for name, value, about in rows)

    def rows(self) -> list[tuple[str, str, str]]:
        """The table of results: name, value, explanation; names from outside are escaped."""
        worst, over = self.worst_class, self.accuracy_over_groups
        scored = counted(sum(score.support > 0 for score in self.per_class), "class")
        correct = f"{self.correct:,} of {counted(self.accuracy.n, 'test image')} correct; 95 % interval, Wilson"
        rows = [("accuracy", str(self.accuracy), correct)]
        if over is not None:
            rows.append(("  over groups", str(over), f"{over.method}, each one draw"))
        if self.without_leaks is not None:
            rows.append(("  without leaks", str(self.without_leaks), _leaks(self.leaked)))
        rows += [(f"baseline {shown(one.name)}", str(one.accuracy), shown(one.about)) for one in self.baselines]
        rows.append(("balanced accuracy", str(self.balanced_accuracy), f"mean recall of {scored}"))
        rows.append(("macro F1", str(self.macro_f1), f"mean F1 of {scored}"))
        support = counted(worst.support, "test image")
        rows.append((f"worst class {shown(worst.name)}", str(worst.recall), f"recall on {support}"))
        rows.append(("calibration error", str(self.calibration.ece), self.calibration.verdict))
        for name, count in self.unknown.items():
            rows.append((f"unknown class {shown(name)}", counted(count, "image"), "not scored"))
        return rows


def _leaks(leaked: int) -> str:
    if not leaked:
        return "no test image is also in the training set"
    return f"{counted(leaked, 'test image')} {'is' if leaked == 1 else 'are'} also in the training set"


def _restored(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an Evaluation that are more than plain values."""
    spans = ("accuracy", "accuracy_over_groups", "balanced_accuracy", "macro_f1", "without_leaks")
    baselines = saved["baselines"].items()
    return {
        **{name: None if saved[name] is None else Interval.from_dict(saved[name]) for name in spans},
        "worst_class": ClassScore.from_dict(saved["worst_class"]),
        "per_class": tuple(ClassScore.from_dict(score) for score in saved["per_class"]),
        "calibration": Calibration.from_dict(saved["calibration"]),
        "baselines": tuple(Baseline(name, Interval.from_dict(b["accuracy"]), b["about"]) for name, b in baselines),
        "unknown": dict(saved["unknown"]),
        "classes": tuple(saved["classes"]),
        "confusion": tuple(tuple(row) for row in saved["confusion"]),
        "mistakes": tuple(Mistake(**mistake) for mistake in saved["mistakes"]),
    }
