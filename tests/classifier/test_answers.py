"""The prediction of each image of a batch, by hand."""

from __future__ import annotations

import numpy as np

from headstart.classifier.answers import Answers, unreadable
from headstart.classifier.familiarity import FamiliarImages, Measured, fit_familiarity
from headstart.evaluation.conformal import PredictionSets

KNOWN = FamiliarImages(
    np.random.default_rng(0).normal(size=(199, 8)), np.zeros(199, dtype=np.int64), np.arange(199),
    [f"{i}.png" for i in range(199)],
)  # fmt: skip


def test_each_image_gets_its_own_numbers() -> None:
    familiarity = fit_familiarity(KNOWN, stage="late")
    far = float(familiarity.distances[-1]) + 1
    sets = PredictionSets(np.array([[True, True, False], [False, True, False]]), np.array([False, True]))
    answers = Answers(
        ("a", "b", "c"),
        np.array([[0.3, 0.6, 0.1], [0.2, 0.7, 0.1]]),
        familiarity,
        measured=Measured(np.array([0.0, far], dtype=np.float32), np.array([3, 5])),
        sets=sets,
    )

    first, second = answers.prediction("x", 0), answers.prediction("y", 1, damaged="cut off")

    assert (first.label, first.prediction_set, first.atypical) == ("b", ("b", "a"), False)  # most probable first
    assert (first.familiar, first.familiarity_percentile, first.nearest_image) == (True, 100.0, "3.png")
    assert (second.familiar, second.nearest_image, second.atypical) == (False, "5.png", True)
    assert second.familiarity_percentile == 0.5  # one of 200
    assert second.damaged == "cut off"


def test_without_bank_and_thresholds_nothing_is_said() -> None:
    answers = Answers(("a", "b"), np.array([[0.25, 0.75], [np.nan, 1.0]]), None, measured=None, sets=None)

    found = answers.prediction("x", 0)

    assert found.label == "b"
    assert found.familiar is found.familiarity_percentile is found.nearest_image is None
    assert found.prediction_set is found.atypical is None
    assert "overflow" in str(answers.prediction("y", 1).error)
    assert unreadable("z", "empty").error == "empty"
