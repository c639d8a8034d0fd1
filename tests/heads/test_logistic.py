"""Logistic regression against scikit-learn, against its own gradient, and in degenerate cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from headstart.heads.logistic import LAMBDAS, LogisticProblem, solve_logistic
from headstart.heads.regularization_path import LabelledFeatures, Validation
from made_features import make_features, make_view

SHAPES = [(60, 10), (24, 40)]
STAGES = ("early", "late")


def problem_of(count: int, width: int) -> tuple[LogisticProblem, np.ndarray, np.ndarray]:
    view, labels = make_view(count, width)
    raw = view.array()
    return LogisticProblem.standardised(LabelledFeatures.of(view, labels, 3)), raw, labels


@pytest.mark.parametrize(("count", "width"), SHAPES)
@pytest.mark.parametrize("lambda_", [1e-1, 1e-3])
def test_probabilities_agree_with_scikit_learn(count: int, width: int, lambda_: float) -> None:
    problem, raw, labels = problem_of(count, width)
    weight, bias = problem.unfold(problem.minimise(lambda_, np.zeros(problem.size)))

    x = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    reference = LogisticRegression(C=1 / (count * lambda_), tol=1e-10, max_iter=5000).fit(x, labels)

    np.testing.assert_allclose(softmax(raw @ weight + bias, axis=1), reference.predict_proba(x), atol=1e-4)


@pytest.mark.parametrize(("count", "width"), SHAPES)
def test_the_gradient_at_the_solution_is_zero(count: int, width: int) -> None:
    problem, _, _ = problem_of(count, width)
    solution = problem.minimise(1e-3, np.zeros(problem.size))

    _, gradient = problem.loss(1e-3)(solution)

    assert np.abs(gradient).max() < 1e-6


def test_the_gradient_is_the_slope_of_the_loss() -> None:
    problem, _, _ = problem_of(20, 4)
    loss = problem.loss(0.1)
    theta = np.random.default_rng(0).normal(size=problem.size)

    steps = np.eye(problem.size) * 1e-6
    slope = np.array([(loss(theta + step)[0] - loss(theta - step)[0]) / 2e-6 for step in steps])

    np.testing.assert_allclose(loss(theta)[1], slope, atol=1e-7)


def test_two_starts_give_one_solution() -> None:
    problem, _, _ = problem_of(40, 6)
    far = np.random.default_rng(0).normal(size=problem.size)

    first, second = (problem.minimise(1e-2, start) for start in (np.zeros(problem.size), far))

    weights = [solution.reshape(-1, 3)[:-1] for solution in (first, second)]
    assert np.linalg.norm(weights[0] - weights[1]) / np.linalg.norm(weights[0]) < 1e-4


def test_constant_features_predict_the_class_shares() -> None:
    features = make_features(np.ones((12, 4)))
    labels = np.array([0] * 6 + [1] * 4 + [2] * 2)

    path = solve_logistic(LabelledFeatures.of(features.view(np.arange(12), ("early",)), labels, 3))

    x = features.view(np.arange(1), ("early",)).array()
    np.testing.assert_allclose(softmax(x @ path.weight + path.bias, axis=1)[0], [6 / 12, 4 / 12, 2 / 12], atol=1e-6)


def test_permuting_features_and_classes_permutes_the_answer() -> None:
    view, labels = make_view(40, 6)
    order, names = np.random.default_rng(0).permutation(6), np.array([2, 0, 1])
    raw = view.array()
    everything = np.arange(40)
    straight = LogisticProblem.standardised(
        LabelledFeatures.of(make_features(raw).view(everything, STAGES, unit=False), labels, 3)
    )
    turned = LogisticProblem.standardised(
        LabelledFeatures.of(make_features(raw[:, order]).view(everything, STAGES, unit=False), names[labels], 3)
    )

    weight, bias = straight.unfold(straight.minimise(1e-2, np.zeros(straight.size)))
    other, other_bias = turned.unfold(turned.minimise(1e-2, np.zeros(turned.size)))

    np.testing.assert_allclose(other[:, names], weight[order], atol=1e-5)
    np.testing.assert_allclose(other_bias[names], bias, atol=1e-5)


def test_weights_of_two_equal_rows_written_twice() -> None:
    view, labels = make_view(30, 6)
    raw = view.array()
    twice = np.concatenate([np.arange(30), np.arange(10)])
    weights = np.where(np.arange(30) < 10, 2.0, 1.0)
    plain = {"classes": 3, "mean": np.zeros(6), "scale": np.ones(6), "rotation": None}
    weighted = LogisticProblem(x=raw, labels=labels, weights=weights / weights.sum(), **plain)
    doubled = LogisticProblem(x=raw[twice], labels=labels[twice], weights=np.full(40, 1 / 40), **plain)

    first, second = (p.minimise(1e-2, np.zeros(p.size)) for p in (weighted, doubled))

    np.testing.assert_allclose(first, second, atol=1e-5)


def test_validation_rows_choose_when_they_are_there() -> None:
    view, labels = make_view(60, 6)
    train, held = np.arange(40), np.arange(40, 60)

    data = LabelledFeatures.of(view.take(train), labels[train], 3)
    path = solve_logistic(data, validation=Validation(view.take(held), labels[held]))

    x = view.array()
    p = softmax(x[held] @ path.weight + path.bias, axis=1)
    assert path.losses[path.best] == pytest.approx(-np.log(p[np.arange(20), labels[held]]).mean(), abs=1e-3)


@pytest.mark.slow
def test_progress_is_reported_within_one_lambda_and_reaches_no_more_than_its_total() -> None:
    view, labels = make_view(40, 6)
    seen: list[tuple[int, int]] = []

    path = solve_logistic(LabelledFeatures.of(view, labels, 3), progress=lambda *steps: seen.append(steps))

    assert path.held_out == "in 5 of 5 folds of whole groups"
    assert seen == sorted(seen)
    assert seen[-1] == (5 * len(LAMBDAS) + path.best + 1, 6 * len(LAMBDAS))
    assert len(seen) > 2 * seen[-1][0]  # iterations between two solutions are reported too
