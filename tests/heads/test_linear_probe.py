"""The head as a whole: which stages it takes, what chooses, what the temperature is fitted on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from headstart.evaluation.calibration import fit_temperature
from headstart.heads.linear_probe import TrainingRows, class_weights, fit_linear_probe
from headstart.heads.regularization_path import LabelledFeatures
from headstart.heads.ridge import solve_ridge
from made_features import make_view

NONE = np.array([], dtype=np.int64)


def rows_of(labels: np.ndarray, validation: np.ndarray = NONE) -> TrainingRows:
    train = np.setdiff1d(np.arange(len(labels)), validation)
    return TrainingRows(
        rows=train,
        labels=labels[train],
        groups=train,
        classes=3,
        validation_rows=validation,
        validation_labels=labels[validation],
    )


def test_the_first_choice_is_used_and_the_others_are_scored_for_the_reader() -> None:
    view, labels = make_view(60, 8)
    layers = {"auto": ("late",), "all": ("early", "late")}

    probe = fit_linear_probe(view.features, rows_of(labels), layers=layers)

    alone = solve_ridge(LabelledFeatures.of(view.features.view(np.arange(60), ("late",)), labels, 3))
    both = solve_ridge(LabelledFeatures.of(view, labels, 3))
    assert probe.head.stages == ("late",)
    np.testing.assert_allclose(probe.head.weight, alone.weight)
    assert [choice.accuracy.value for choice in probe.choices] == [alone.accuracy, both.accuracy]
    for choice, path in zip(probe.choices, (alone, both), strict=True):
        wilson = binomtest(round(path.accuracy * 60), 60).proportion_ci(method="wilson")
        assert (choice.accuracy.low, choice.accuracy.high) == pytest.approx((wilson.low, wilson.high))
        assert (choice.to_dict()["low"], choice.to_dict()["high"]) == (choice.accuracy.low, choice.accuracy.high)


def test_the_temperature_is_fitted_on_left_out_scores() -> None:
    view, labels = make_view(60, 8)

    probe = fit_linear_probe(view.features, rows_of(labels), layers={"all": ("early", "late")})

    expected = fit_temperature(solve_ridge(LabelledFeatures.of(view, labels, 3)).held_scores, labels).value
    assert probe.head.temperature == pytest.approx(expected)


def test_few_validation_images_do_not_choose_and_many_do() -> None:
    view, labels = make_view(150, 8)
    few, many = (
        fit_linear_probe(view.features, rows_of(labels, np.arange(n)), layers={"all": ("early", "late")})
        for n in (30, 60)
    )

    assert "leaving out" in few.path.held_out
    assert "60 validation images" in many.path.held_out


def test_equal_balance_gives_every_class_the_same_weight() -> None:
    labels = np.array([0] * 8 + [1] * 2)

    weights = class_weights(labels, 3)

    assert weights[labels == 0].sum() == pytest.approx(5)
    assert weights[labels == 1].sum() == pytest.approx(5)


def test_probabilities_are_a_softmax_of_scores_over_temperature() -> None:
    view, labels = make_view(40, 8)
    head = fit_linear_probe(view.features, rows_of(labels), layers={"all": ("early", "late")}).head

    scores = (view.array() @ head.weight + head.bias) / head.temperature

    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(head.probabilities_of(view), expected, atol=1e-12)
