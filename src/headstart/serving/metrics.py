"""Metrics: counters of a server in the text form of Prometheus, of one process or summed over several."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classifier.predictions import Prediction
from headstart.serving.drift import FeatureDrift, RecentMean, TrainingMean, measure_drift

_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds; those of Prometheus' clients
_BUCKETS = len(_BOUNDS) + 1
_OUTCOMES = ("answered", "unreadable", "too_slow", "turned_away")
FAMILIAR, UNFAMILIAR, UNSURE, ATYPICAL, REJECTED = _KINDS = ("familiar", "unfamiliar", "unsure", "atypical", "rejected")


@dataclass(frozen=True)
class Counts:
    """What one process has counted, as plain values.

    Args:
        requests: `path status` → number. images: outcome → number. answers: what was said of images → number.
        buckets: images by the seconds they took. seconds: of all of them. recent: mean feature; None: not followed.
    """

    requests: dict[str, int] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    buckets: tuple[int, ...] = (0,) * _BUCKETS
    seconds: float = 0.0
    recent: RecentMean | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self)
        if self.recent is not None:
            values["recent"]["mean"] = self.recent.mean.tolist()
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Counts:
        """The counts of `to_dict`."""
        recent = values.pop("recent")
        if recent is not None:
            recent = RecentMean(np.array(recent["mean"]), recent["count"], recent["squares"])
        return cls(**{**values, "buckets": tuple(values["buckets"])}, recent=recent)


class Metrics:
    """Counts requests, refusals, images and what was said of them; several threads may use it at once.

    Args:
        training: what features are compared with; None: the classifier has nothing to compare with.
    """

    def __init__(self, training: TrainingMean | None = None) -> None:
        self.training = training
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._images: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        self._buckets = [0] * _BUCKETS
        self._seconds = 0.0
        self._drift = None if training is None else FeatureDrift(len(training.mean))

    def request(self, path: str, status: int) -> None:
        """Count an answered request; `path` is one of the server's own."""
        with self._lock:
            self._requests[f"{path} {status}"] += 1

    def image(self, outcome: str, seconds: float) -> None:
        """Count an image: `answered`, `unreadable`, `too_slow` or `turned_away`, and how long it took."""
        with self._lock:
            self._images[outcome] += 1
            self._seconds += seconds
            self._buckets[sum(seconds > bound for bound in _BOUNDS)] += 1

    def answer(self, prediction: Prediction, feature: NDArray[np.floating] | None = None) -> None:
        """Count what was said of an image.

        Args:
            feature: D of unit length, of the stage that the classifier compares images by.
        """
        said = {
            FAMILIAR: prediction.familiar is True,
            UNFAMILIAR: prediction.familiar is False,
            UNSURE: len(prediction.prediction_set or ()) > 1,
            ATYPICAL: bool(prediction.atypical),
            REJECTED: bool(prediction.rejected),
        }
        with self._lock:
            self._answers.update(kind for kind, holds in said.items() if holds)
            if self._drift is not None and feature is not None:
                self._drift.add(feature)

    def counts(self) -> Counts:
        """All of it by now."""
        with self._lock:
            recent = None if self._drift is None else self._drift.recent
            return Counts(
                requests=dict(self._requests),
                images=dict(self._images),
                answers=dict(self._answers),
                buckets=tuple(self._buckets),
                seconds=self._seconds,
                recent=recent,
            )

    def text(self, others: Sequence[Counts] = ()) -> str:
        """All of it, one line for each number.

        Args:
            others: counts of other processes, which are added.
        """
        parts = [self.counts(), *others]
        # every outcome from 0 on: a rate cannot be taken of a counter that is not there before its first image
        requests, images, answers = (
            Counter[str](),
            Counter(dict.fromkeys(_OUTCOMES, 0)),
            Counter(dict.fromkeys(_KINDS, 0)),
        )
        for part in parts:
            requests.update(part.requests)
            images.update(part.images)
            answers.update(part.answers)
        lines = ["# TYPE headstart_requests_total counter"]
        for name, count in sorted(requests.items()):
            path, _, status = name.rpartition(" ")
            lines.append(f'headstart_requests_total{{path="{path}",status="{status}"}} {count}')
        lines.append("# TYPE headstart_images_total counter")
        lines += [f'headstart_images_total{{outcome="{k}"}} {count}' for k, count in sorted(images.items())]
        lines += _histogram(parts)
        lines.append("# TYPE headstart_answers_total counter")
        lines += [f'headstart_answers_total{{kind="{k}"}} {count}' for k, count in sorted(answers.items())]
        lines += _gauge("processes", len(parts))
        if compared := answers[FAMILIAR] + answers[UNFAMILIAR]:
            lines += _gauge("unfamiliar_share", answers[UNFAMILIAR] / compared)
        return "\n".join([*lines, *self._drift_lines(parts)]) + "\n"

    def _drift_lines(self, parts: Sequence[Counts]) -> list[str]:
        if self.training is None:
            return []
        drift = measure_drift(self.training, [part.recent for part in parts if part.recent is not None])
        if drift is None:
            return []
        return [
            *_gauge("feature_drift", drift.value),
            *_gauge("feature_drift_noise", drift.noise),
            *_gauge("feature_drift_images", drift.images),
        ]


def _histogram(parts: Sequence[Counts]) -> list[str]:
    lines, total = ["# TYPE headstart_image_seconds histogram"], 0
    for number, bound in enumerate([*map(str, _BOUNDS), "+Inf"]):
        total += sum(part.buckets[number] for part in parts)
        lines.append(f'headstart_image_seconds_bucket{{le="{bound}"}} {total}')
    seconds = sum(part.seconds for part in parts)
    return [*lines, f"headstart_image_seconds_sum {seconds:.6f}", f"headstart_image_seconds_count {total}"]


def _gauge(name: str, value: float) -> list[str]:
    return [f"# TYPE headstart_{name} gauge", f"headstart_{name} {value:.6g}"]
