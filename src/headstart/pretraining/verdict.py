"""The gate's verdict: means and paired differences of every rival, and whether the weights pass."""

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
_ERRORS, _SETS_TO_WIN, _WAY = 3.0, 3, 0.5  # standard errors; of the four sets; of the way to the teacher
_TEACHERS_SET = "hymenoptera"
_NEAR = 1e-12  # a standard error of zero: every draw the same


@dataclass(frozen=True)
class Difference:
    """By how much the candidate is right more often than a rival, over the same draws.

    Args:
        mean: of the draws' differences. error: standard error of that mean.
    """

    mean: float
    error: float

    @property
    def errors(self) -> float:
        """The difference in standard errors."""
        return self.mean / max(self.error, _NEAR)


@dataclass(frozen=True)
class Verdict:
    """What the gate measured.

    Args:
        scores: set → rival → test accuracy of each draw; the candidate is `embedded`.
    """

    scores: Scores

    def difference(self, name: str, rival: str) -> Difference:
        """The candidate against a rival on one set."""
        away = np.asarray(self.scores[name]["embedded"]) - np.asarray(self.scores[name][rival])
        return Difference(float(away.mean()), float(away.std(ddof=1) / math.sqrt(len(away))))

    @property
    def beaten(self) -> tuple[str, ...]:
        """Sets on which it beats random weights by more than three standard errors."""
        return tuple(name for name in self.scores if self.difference(name, "random").errors > _ERRORS)

    @property
    def way(self) -> float:
        """Share of the way from random weights to the teacher on ants and bees; NaN where that was not measured."""
        scores = self.scores.get(_TEACHERS_SET, {})
        if "teacher" not in scores:
            return math.nan
        low, high = float(np.mean(scores["random"])), float(np.mean(scores["teacher"]))
        return (float(np.mean(scores["embedded"])) - low) / (high - low)

    @property
    def passed(self) -> bool:
        """Whether both conditions of the gate hold."""
        return len(self.beaten) >= _SETS_TO_WIN and self.way >= _WAY

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON: the protocol, the table, the conclusions."""
        return {
            "draws": len(next(iter(next(iter(self.scores.values())).values()))),
            "training_images_per_class": PER_CLASS,
            "most_test_images": MOST_TEST,
            "patch_centres": CENTRES,
            "table": {name: self._row(name) for name in self.scores},
            "beats_random_on": list(self.beaten),
            "way_to_teacher": None if math.isnan(self.way) else round(self.way, 3),
            "passed": self.passed,
        }

    def _row(self, name: str) -> dict[str, object]:
        row: dict[str, object] = {rival: round(float(np.mean(draws)), 4) for rival, draws in self.scores[name].items()}
        for rival in self.scores[name]:
            if rival != "embedded":
                found = self.difference(name, rival)
                row[f"minus_{rival}"] = [round(found.mean, 4), round(found.error, 4)]
        return row


def judge(
    data: Path,
    candidate: Backbone,
    teacher: Backbone | None,
    *,
    sets: Iterable[str] = SETS,
    draws: int = DRAWS,
    on_event: Callable[[str, str, float], None] = lambda name, rival, accuracy: None,
) -> Verdict:
    """Measure the candidate and its rivals on real images; the same draws for all.

    The random rival has the candidate's own architecture, and statistics measured on images of the set.

    Args:
        data: folder that holds the sets. teacher: measured on ants and bees; None leaves it out.
        tell: called with set, rival and mean accuracy as they come.

    Raises:
        DataError: a set is not there, or too small.
    """
    scores: dict[str, dict[str, NDArray[np.float64]]] = {}
    for name in sets:
        scores[name] = {}
        images = read_set(data / name, draws=draws)
        for rival, measure in _rivals(candidate, teacher if name == _TEACHERS_SET else None).items():
            scores[name][rival] = measure(images)
            on_event(name, rival, float(scores[name][rival].mean()))
    return Verdict(scores)


def _rivals(candidate: Backbone, teacher: Backbone | None) -> dict[str, Callable[[GateSet], NDArray[np.float64]]]:
    found: dict[str, Callable[[GateSet], NDArray[np.float64]]] = {
        "embedded": lambda images: backbone_scores(images, candidate),
        "random": lambda images: backbone_scores(images, recalibrated(images, build_backbone(candidate.spec))),
        "pixels": pixel_scores,
        "patches": patch_scores,
    }
    if teacher is not None:
        found["teacher"] = lambda images: backbone_scores(images, teacher)
    return found
