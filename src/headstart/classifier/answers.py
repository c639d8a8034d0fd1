"""Answers: what a classifier computed for a batch of images, and the Prediction of each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.classifier.familiarity import Familiarity, Measured
from headstart.classifier.predictions import Prediction
from headstart.evaluation.conformal import PredictionSets


@dataclass(frozen=True)
class Answers:
    """The numbers of n images.

    Args:
        classes: C names. probabilities: n×C.
        familiarity: of the classifier, and measured: how far each image is; None where the file has none.
        sets: of the classes that cannot be ruled out; None where the file has no thresholds for them.
        compared: n×D float32, the features that were measured; None where none were.
    """

    classes: Sequence[str]
    probabilities: NDArray[np.float64]
    familiarity: Familiarity | None
    measured: Measured | None
    sets: PredictionSets | None
    compared: NDArray[np.float32] | None = None

    def prediction(self, name: str, row: int, *, damaged: str | None = None) -> Prediction:
        """The prediction of one of them."""
        numbers, classes = self.probabilities[row], self.classes
        if not np.isfinite(numbers).all():
            return unreadable(name, "no answer: numbers overflow in the network, its weights make no sense")
        order = np.argsort(-numbers, kind="stable")
        familiar = percentile = nearest = members = atypical = None
        if self.familiarity is not None and self.measured is not None:
            distance = float(self.measured.distances[row])
            familiar, percentile = self.familiarity.is_familiar(distance), self.familiarity.percentile(distance)
            if self.measured.nearest is not None:
                nearest = self.familiarity.names[self.measured.nearest[row]]
        if self.sets is not None:
            inside = self.sets.contains[row].tolist()
            members = tuple(classes[i] for i in order if inside[i])
            atypical = bool(self.sets.atypical[row])
        return Prediction(
            name=name,
            label=classes[order[0]],
            probability=float(numbers[order[0]]),
            probabilities={classes[i]: float(numbers[i]) for i in order},
            damaged=damaged,
            familiar=familiar,
            familiarity_percentile=percentile,
            nearest_image=nearest,
            prediction_set=members,
            atypical=atypical,
        )


def unreadable(name: str, reason: str) -> Prediction:
    """The prediction for an image without an answer."""
    return Prediction(name=name, label=None, probability=0.0, probabilities={}, error=reason)
