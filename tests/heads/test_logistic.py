"""Logistic regression against scikit-learn, against its own gradient, and in degenerate cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from headstart.errors import DataError
from headstart.heads import logistic
from headstart.heads.logistic import solve_logistic
from headstart.heads.regularization_path import Validation
from training.made_features import make_features, make_view

SHAPES = [(60, 10), (24, 40)]


def problem_of(count: int, width: int) -> tuple[logistic._Problem, np.ndarray, np.ndarray]:
    view, labels = make_view(count, width)
    raw = view.array()
    return logistic._Problem.standardised(raw, labels, np.ones(count), 3), raw, labels


@pytest.mark.parametrize(("count", "width"), SHAPES)
@pytest.mark.parametrize("strength", [1e-1, 1e-3])
def test_probabilities_agree_with_scikit_learn(count: int, width: int, strength: float) -> None:
    problem, raw, labels = problem_of(count, width)
    weight, bias = problem.unfold(problem.minimise(strength, np.zeros(problem.size)))

    x = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    reference = LogisticRegression(C=1 / (count * strength), tol=1e-10, max_iter=5000).fit(x, labels)

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

    path = solve_logistic(features.view(np.arange(12), ("early",)), labels, 3)

    x = features.view(np.arange(1), ("early",)).array()
    np.testing.assert_allclose(softmax(x @ path.weight + path.bias, axis=1)[0], [6 / 12, 4 / 12, 2 / 12], atol=1e-6)


def test_permuting_features_and_classes_permutes_the_answer() -> None:
    view, labels = make_view(40, 6)
    order, names = np.random.default_rng(0).permutation(6), np.array([2, 0, 1])
    raw = view.array()
    straight = logistic._Problem.standardised(raw, labels, np.ones(40), 3)
    turned = logistic._Problem.standardised(raw[:, order], names[labels], np.ones(40), 3)

    weight, bias = straight.unfold(straight.minimise(1e-2, np.zeros(straight.size)))
    other, other_bias = turned.unfold(turned.minimise(1e-2, np.zeros(turned.size)))

    np.testing.assert_allclose(other[:, names], weight[order], atol=1e-5)
    np.testing.assert_allclose(other_bias[names], bias, atol=1e-5)


def test_weights_of_two_equal_rows_written_twice() -> None:
    view, labels = make_view(30, 6)
    raw = view.array()
    twice = np.concatenate([np.arange(30), np.arange(10)])
    weights = np.where(np.arange(30) < 10, 2.0, 1.0)
    weighted = logistic._Problem(raw, labels, weights / weights.sum(), 3, np.zeros(6), np.ones(6), None)
    doubled = logistic._Problem(raw[twice], labels[twice], np.full(40, 1 / 40), 3, np.zeros(6), np.ones(6), None)

    first, second = (p.minimise(1e-2, np.zeros(p.size)) for p in (weighted, doubled))

    np.testing.assert_allclose(first, second, atol=1e-5)


def test_no_group_is_cut_by_the_folds() -> None:
    labels, groups = np.repeat([0, 1, 2], 20), np.arange(60) // 4

    folds = logistic._deal(labels, groups)

    assert all(len(set(folds[groups == group])) == 1 for group in range(15))
    assert set(folds) == set(range(5))


def test_validation_rows_choose_when_they_are_there() -> None:
    view, labels = make_view(60, 6)
    train, held = np.arange(40), np.arange(40, 60)

    path = solve_logistic(view.take(train), labels[train], 3, validation=Validation(view.take(held), labels[held]))

    x = view.array()
    p = softmax(x[held] @ path.weight + path.bias, axis=1)
    assert path.losses[path.best] == pytest.approx(-np.log(p[np.arange(20), labels[held]]).mean(), abs=1e-3)


def test_one_group_alone_cannot_be_held_out() -> None:
    view, labels = make_view(10, 4)
    with pytest.raises(DataError, match="at least two groups"):
        solve_logistic(view, labels, 3, groups=np.zeros(10, dtype=np.int64))
