"""The result of the quality gate: means and paired differences to every baseline, and whether the weights pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.backbones.backbone import Backbone, build_backbone
from headstart.pretraining.gate import (
    CENTRES,
    DRAWS,
    MOST_TEST,
    PER_CLASS,
    SETS,
    GateSet,
    backbone_scores,
    patch_scores,
    pixel_scores,
    read_set,
    recalibrated,
)

Scores = Mapping[str, Mapping[str, NDArray[np.float64]]]
_ERRORS, _SETS_TO_WIN, _GAP = 3.0, 3, 0.5  # standard errors; of the four sets; share of the gap to the teacher
_TEACHERS_SET = "hymenoptera"
_NEAR = 1e-12  # a standard error of zero: every draw the same


@dataclass(frozen=True)
class Difference:
    """Accuracy of the candidate minus that of a baseline, over the same draws.

    Args:
        mean: of the differences. error: standard error of that mean.
    """

    mean: float
    error: float

    @property
    def errors(self) -> float:
        """The difference in standard errors."""
        return self.mean / max(self.error, _NEAR)


@dataclass(frozen=True)
class GateResult:
    """What the gate measured.

    Args:
        scores: set → baseline → test accuracy of each draw; the candidate is `embedded`.
    """

    scores: Scores

    def difference(self, name: str, baseline: str) -> Difference:
        """The candidate against a baseline on one set."""
        away = np.asarray(self.scores[name]["embedded"]) - np.asarray(self.scores[name][baseline])
        return Difference(float(away.mean()), float(away.std(ddof=1) / math.sqrt(len(away))))

    @property
    def beaten(self) -> tuple[str, ...]:
        """Sets on which it beats random weights by more than three standard errors."""
        return tuple(name for name in self.scores if self.difference(name, "random").errors > _ERRORS)

    @property
    def gap_closed(self) -> float:
        """Share of the gap between random weights and the teacher on ants and bees; NaN if that was not measured."""
        scores = self.scores.get(_TEACHERS_SET, {})
        if "teacher" not in scores:
            return math.nan
        low, high = float(np.mean(scores["random"])), float(np.mean(scores["teacher"]))
        return (float(np.mean(scores["embedded"])) - low) / (high - low)

    @property
    def passed(self) -> bool:
        """Whether both conditions of the gate hold."""
        return len(self.beaten) >= _SETS_TO_WIN and self.gap_closed >= _GAP

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON: the protocol, the table, the conclusions."""
        return {
            "draws": len(next(iter(next(iter(self.scores.values())).values()))),
            "training_images_per_class": PER_CLASS,
            "most_test_images": MOST_TEST,
            "patch_centres": CENTRES,
            "table": {name: self._row(name) for name in self.scores},
            "beats_random_on": list(self.beaten),
            "gap_to_teacher_closed": None if math.isnan(self.gap_closed) else round(self.gap_closed, 3),
            "passed": self.passed,
        }

    def _row(self, name: str) -> dict[str, object]:
        row: dict[str, object] = {one: round(float(np.mean(draws)), 4) for one, draws in self.scores[name].items()}
        for baseline in self.scores[name]:
            if baseline != "embedded":
                found = self.difference(name, baseline)
                row[f"minus_{baseline}"] = [round(found.mean, 4), round(found.error, 4)]
        return row


def run_gate(
    data: Path,
    candidate: Backbone,
    teacher: Backbone | None,
    *,
    sets: Iterable[str] = SETS,
    draws: int = DRAWS,
    on_score: Callable[[str, str, float], None] = lambda name, baseline, accuracy: None,
) -> GateResult:
    """Evaluate the candidate and its baselines on real images; the same draws for all.

    The baseline of random weights has the candidate's architecture, and statistics estimated on images of the set.

    Args:
        data: folder that holds the sets. teacher: evaluated on ants and bees; None leaves it out.
        on_score: called with set, baseline and mean accuracy as they are computed.

    Raises:
        DataError: a set is missing or too small.
    """
    scores: dict[str, dict[str, NDArray[np.float64]]] = {}
    for name in sets:
        scores[name] = {}
        images = read_set(data / name, draws=draws)
        for baseline, measure in _baselines(candidate, teacher if name == _TEACHERS_SET else None).items():
            scores[name][baseline] = measure(images)
            on_score(name, baseline, float(scores[name][baseline].mean()))
    return GateResult(scores)


def _baselines(candidate: Backbone, teacher: Backbone | None) -> dict[str, Callable[[GateSet], NDArray[np.float64]]]:
    found: dict[str, Callable[[GateSet], NDArray[np.float64]]] = {
        "embedded": lambda images: backbone_scores(images, candidate),
        "random": lambda images: backbone_scores(images, recalibrated(images, build_backbone(candidate.spec))),
        "pixels": pixel_scores,
        "patches": patch_scores,
    }
    if teacher is not None:
        found["teacher"] = lambda images: backbone_scores(images, teacher)
    return found
