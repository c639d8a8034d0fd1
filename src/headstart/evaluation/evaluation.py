"""Evaluation: all that was measured on the test images, as plain values for terminal, JSON, page and report.

In: numbers with their intervals. Out: dictionaries for strict JSON and back, and a table in plain words.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headstart.errors import RunError, shown
from headstart.evaluation.calibration import Calibration
from headstart.evaluation.intervals import Interval


@dataclass(frozen=True)
class ClassScore:
    """How well one class is told from the others.

    Args:
        support: its test images.
        recall: share of them that were found.
        precision: share of the images taken for it that belong to it; None when nothing was taken for it.
        f1: harmonic mean of the two; None when it has no test images and nothing was taken for it.
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
    """A rival that costs nothing, on the same test images; `about` says in words what it does."""

    name: str
    accuracy: Interval
    about: str


@dataclass(frozen=True)
class Mistake:
    """A test image that was answered wrongly, with the probability of that wrong answer."""

    name: str
    true: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Evaluation:
    """All that was measured on the test images.

    Args:
        accuracy: share of right answers, Wilson interval.
        accuracy_over_groups: the same with whole groups (bursts, duplicates) as the draws; None without groups.
        balanced_accuracy, macro_f1: means over the classes that have test images, bootstrap intervals.
        worst_class: the class with the lowest recall.
        per_class: one score per class, in the order of `classes`.
        calibration: how far confidence and accuracy are apart.
        baselines: rivals on the same images, the majority class first.
        without_leaks: accuracy on the images that are not in the training part too; None if nobody looked.
        leaked: test images that are.
        unknown: images per class name that the classifier does not know: counted here, scored nowhere.
        classes: names, in the order of the columns.
        confusion: rows are the true classes, columns the answers.
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
        rivals = {one.name: {"accuracy": one.accuracy.to_dict(), "about": one.about} for one in self.baselines}
        return {**_plain(self), "baselines": rivals}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Evaluation:
        """The evaluation that `to_dict` wrote, equal to the first.

        Raises:
            RunError: a field is missing, unknown or of the wrong kind.
        """
        try:
            return cls(**{**saved, **_restored(saved)})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            found = f"{type(error).__name__}: {error}"
            raise RunError(
                expected="an evaluation as this version writes it", found=found, hint="Evaluate again."
            ) from error

    def __str__(self) -> str:
        rows = self.rows()
        names, values = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
        return "\n".join(f"{name:<{names}}  {value:<{values}}  {about}".rstrip() for name, value, about in rows)

    def rows(self) -> list[tuple[str, str, str]]:
        """The table of the verdict: what, how much, in words; names from outside are escaped."""
        worst, floor = self.worst_class, self.calibration.noise_floor
        right = sum(row[place] for place, row in enumerate(self.confusion))
        rows = [
            ("accuracy", str(self.accuracy), f"{right} of {self.accuracy.n} test images right; 95 % interval, Wilson")
        ]
        if self.accuracy_over_groups is not None:
            rows.append(
                ("  over groups", str(self.accuracy_over_groups), f"{self.accuracy_over_groups.method}, each one draw")
            )
        if self.without_leaks is not None:
            leaked = (
                f"{self.leaked} test images are in training too" if self.leaked else "no test image is in training too"
            )
            rows.append(("  without leaks", str(self.without_leaks), leaked))
        rows += [(f"baseline {shown(one.name)}", str(one.accuracy), shown(one.about)) for one in self.baselines]
        scored = sum(score.support > 0 for score in self.per_class)
        rows.append(("balanced accuracy", str(self.balanced_accuracy), f"mean recall of {scored} classes"))
        rows.append(("macro F1", str(self.macro_f1), f"mean F1 of {scored} classes"))
        rows.append(
            (f"worst class {shown(worst.name)}", str(worst.recall), f"of its {worst.support} test images found")
        )
        verdict = "more than chance explains" if self.calibration.beyond_noise else "no more than chance explains"
        floors = f"a perfect model reads {floor.mean * 100:.1f} %, at most {floor.high * 100:.1f} %"
        rows.append(("calibration error", str(self.calibration.ece), f"{verdict}: {floors}"))
        rows += [
            (f"unknown class {shown(name)}", f"{count} images", "not scored") for name, count in self.unknown.items()
        ]
        return rows


def _restored(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an Evaluation that are more than plain values."""
    spans = ("accuracy", "accuracy_over_groups", "balanced_accuracy", "macro_f1", "without_leaks")
    rivals = saved["baselines"].items()
    return {
        **{name: None if saved[name] is None else Interval.from_dict(saved[name]) for name in spans},
        "worst_class": ClassScore.from_dict(saved["worst_class"]),
        "per_class": tuple(ClassScore.from_dict(score) for score in saved["per_class"]),
        "calibration": Calibration.from_dict(saved["calibration"]),
        "baselines": tuple(Baseline(name, Interval.from_dict(r["accuracy"]), r["about"]) for name, r in rivals),
        "unknown": dict(saved["unknown"]),
        "classes": tuple(saved["classes"]),
        "confusion": tuple(tuple(row) for row in saved["confusion"]),
        "mistakes": tuple(Mistake(**mistake) for mistake in saved["mistakes"]),
    }


def _plain(value: Any) -> Any:
    """Dataclasses to dicts in field order, tuples to lists, nan to None."""
    if isinstance(value, Interval):
        return value.to_dict()
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
