"""ParityReport: whether an exported file gives its classifier's answers, image by image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from headstart.errors import shown
from headstart.evaluation.comparison import Comparison
from headstart.evaluation.intervals import points
from headstart.plain import Plain
from headstart.wording import counted, percent

ONNXRUNTIME = "onnxruntime"
# what int8 may lose of float32's accuracy on the test images of the run; of fewer than 100 images two may be lost
MOST_LOST = 0.02
_FEW_LOST = 2
_SET_TOLERANCE = 1e-4  # of a score: the file's probabilities are float32, its sets are made of float64


@dataclass(frozen=True)
class ParityRow(Plain):
    """One image: the classifier's answer and the file's.

    Args:
        difference: largest difference of a probability. margin: between the classifier's two most probable classes.
        pixels: largest difference of a prepared pixel, grey levels.
        same_pixels: as `difference`, where the classifier is given the file's own prepared pixels; None: not measured.
        distance: difference of the distance to the training images; None where the classifier measures none.
        set_margin: where the prediction sets differ, how far the score of that class is from its threshold; 0: they are
            the same; None: without sets.
        own_set_margin: the same, where the file's set is not the one that its own probabilities give.
        expected_probabilities, found_probabilities: of both, in the order of the report's classes.
    """

    name: str
    expected: str
    found: str
    difference: float
    margin: float
    pixels: int
    same_pixels: float | None = None
    distance: float | None = None
    set_margin: float | None = None
    own_set_margin: float | None = None
    expected_probabilities: tuple[float, ...] = ()
    found_probabilities: tuple[float, ...] = ()


@dataclass(frozen=True)
class ParityReport(Plain):
    """An exported file beside its classifier, on the same images.

    Args:
        rows: one for each image. left_out: image → why it could not be compared.
        tolerance: of a probability. pixel_tolerance: of a prepared pixel, grey levels.
        same_pixels_tolerance: of a probability on the same prepared pixels; None: not measured.
        classes: in the order of the probabilities.
        engine: what ran the file.
        accuracy: of int8 (B) beside that of the float32 classifier it was made from (A), in pairs on the test images;
            None: the file was not quantised by the export.
    """

    rows: tuple[ParityRow, ...]
    tolerance: float
    pixel_tolerance: int
    left_out: Mapping[str, str]
    classes: tuple[str, ...] = ()
    engine: str = ONNXRUNTIME
    same_pixels_tolerance: float | None = None
    accuracy: Comparison | None = None

    @property
    def ties(self) -> tuple[ParityRow, ...]:
        """Images whose two most probable classes are closer than the tolerance can tell apart."""
        return tuple(row for row in self.rows if row.margin <= 2 * self.tolerance)

    @property
    def disagreements(self) -> tuple[ParityRow, ...]:
        """Images that get another class from the file, ties left out."""
        return tuple(row for row in self.rows if row.found != row.expected and row.margin > 2 * self.tolerance)

    @property
    def agreement(self) -> float:
        """Share of images with the same class, ties left out."""
        counted = len(self.rows) - len(self.ties)
        return 1.0 if not counted else 1 - len(self.disagreements) / counted

    @property
    def largest(self) -> float:
        """Largest difference of any probability."""
        return max((row.difference for row in self.rows), default=0.0)

    @property
    def mean(self) -> float:
        """Mean over the images of their largest difference."""
        return fmean(row.difference for row in self.rows) if self.rows else 0.0

    @property
    def distance(self) -> float | None:
        """Largest difference of the distance to the training images; None where there is none."""
        return max((row.distance for row in self.rows if row.distance is not None), default=None)

    @property
    def same_pixels(self) -> float | None:
        """Largest difference of a probability on the same prepared pixels; None: not measured."""
        return max((row.same_pixels for row in self.rows if row.same_pixels is not None), default=None)

    @property
    def set_agreement(self) -> float | None:
        """Share of images with the same prediction set; None without sets."""
        margins = [row.set_margin for row in self.rows if row.set_margin is not None]
        return sum(margin == 0 for margin in margins) / len(margins) if margins else None

    @property
    def pixels(self) -> int:
        """Largest difference of a prepared pixel, grey levels."""
        return max((row.pixels for row in self.rows), default=0)

    @property
    def verdict(self) -> str:
        """int8 beside float32 in one sentence; empty where nothing was quantised."""
        if self.accuracy is None:
            return ""
        found, size = self.accuracy.difference, points(self.accuracy.difference)
        if not self.accuracy.is_significant:
            return f"No significant difference on the same {self.accuracy.n} test images: int8 - float32 is {size}."
        better = "more" if found.value > 0 else "less"
        return f"int8 is {better} accurate on the same {self.accuracy.n} test images: int8 - float32 is {size}."

    @property
    def loss(self) -> str:
        """What int8 loses more than it may, one sentence; empty: nothing, or nothing was quantised."""
        found = self.accuracy
        if found is None or found.difference.value >= 0:
            return ""
        lost = found.only_a_correct - found.only_b_correct
        if not found.is_significant and lost <= max(_FEW_LOST, MOST_LOST * found.n):
            return ""
        return (
            f"int8 is less accurate than float32 on {found.n} test images: {points(found.difference)}, "
            f"{'a significant loss' if found.is_significant else f'more than {MOST_LOST * 100:g} points lost'}."
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """What is beyond the tolerances, in sentences; empty: the file gives the classifier's answers."""
        found = [] if self.rows else ["No image could be compared."]
        if self.disagreements:
            names = ", ".join(row.name for row in self.disagreements[:3])
            found.append(f"{len(self.disagreements)} of {len(self.rows)} images get another class: {names}.")
        if self.largest > self.tolerance:
            worst = max(self.rows, key=lambda row: row.difference)
            found.append(
                f"A probability differs by {worst.difference:.4f}, more than {self.tolerance:g}: {worst.name}."
            )
        same, allowed = self.same_pixels, self.same_pixels_tolerance
        if same is not None and allowed is not None and same > allowed:
            found.append(f"On the same prepared pixels a probability differs by {same:.2g}, more than {allowed:g}.")
        if self.distance is not None and self.distance > self.tolerance:
            found.append(
                f"A distance to the training images differs by {self.distance:.4f}, more than {self.tolerance:g}."
            )
        # each set beside the file's own probabilities, which are compared above: where two classes are almost equally
        # probable, their order decides which one an empty set is filled with, and with RAPS what all scores add up to
        sets = [row for row in self.rows if (row.own_set_margin or 0.0) > _SET_TOLERANCE]
        if sets:
            found.append(f"{len(sets)} of {len(self.rows)} images get another prediction set: {sets[0].name}.")
        if self.pixels > self.pixel_tolerance:
            worst = max(self.rows, key=lambda row: row.pixels)
            found.append(
                f"A prepared pixel differs by {worst.pixels} grey levels, more than {self.pixel_tolerance}: "
                f"{worst.name}."
            )
        return (*found, *([self.loss] if self.loss else []))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the summary first, then each image."""
        return {
            "passed": not self.problems,
            "images": len(self.rows),
            "agreement": self.agreement,
            "largest_difference": self.largest,
            "mean_difference": self.mean,
            "largest_pixel_difference": self.pixels,
            "largest_difference_on_same_pixels": self.same_pixels,
            "largest_distance_difference": self.distance,
            "same_sets": self.set_agreement,
            "ties": [row.name for row in self.ties],
            "problems": list(self.problems),
            **super().to_dict(),
        }

    def __str__(self) -> str:
        lines = [
            f"{len(self.rows):,} images: same class {percent(self.agreement)}"
            + (f", {counted(len(self.ties), 'tie')} left out" if self.ties else ""),
            f"Probabilities differ by at most {self.largest:.2g} (allowed {self.tolerance:g}), {self.mean:.2g} on "
            f"average; prepared pixels by at most {self.pixels} grey levels (allowed {self.pixel_tolerance}).",
        ]
        if self.same_pixels is not None:
            lines.append(f"On the same prepared pixels they differ by at most {self.same_pixels:.2g}.")
        if self.distance is not None:
            lines.append(f"Distances to the training images differ by at most {self.distance:.2g}.")
        if self.set_agreement is not None:
            lines.append(f"Prediction sets are the same for {percent(self.set_agreement)}.")
        if self.accuracy is not None:
            lines.append(f"Accuracy: {self.accuracy.b} in int8, {self.accuracy.a} in float32. {self.verdict}")
        return "\n".join([*lines, *map(shown, self.problems)])
