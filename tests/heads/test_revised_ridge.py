"""Relabelling and dropping rows of a solved ridge against fits that never saw them, in both shapes, with groups."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.heads.regularization_path import LabelledFeatures
from headstart.heads.revised_ridge import RevisableRidge
from headstart.heads.ridge import solve_ridge
from headstart.heads.sufficient_statistics import SufficientStatistics
from made_features import make_view

SHAPES = [(60, 12), (24, 40)]


def fitted(x: np.ndarray, labels: np.ndarray, lambda_: float) -> tuple[np.ndarray, np.ndarray]:
    """Ridge with a free intercept by its normal equations, written out literally."""
    y = np.where(labels[:, None] == np.arange(3), 1.0, -1.0)
    xc = x - x.mean(axis=0)
    weight = np.linalg.solve(xc.T @ xc + lambda_ * np.eye(x.shape[1]), xc.T @ (y - y.mean(axis=0)))
    return weight, y.mean(axis=0) - x.mean(axis=0) @ weight


@pytest.mark.parametrize(("count", "width"), SHAPES)
@pytest.mark.parametrize("grouped", [False, True])
def test_a_revised_head_and_its_left_out_scores_equal_refits(count: int, width: int, grouped: bool) -> None:
    view, labels = make_view(count, width)
    groups = np.random.default_rng(2).integers(0, 8, count) if grouped else np.arange(count)
    data = LabelledFeatures.of(view, labels, 3, groups=groups)
    lambda_ = solve_ridge(data).lambda_
    revised, kept = labels.copy(), np.ones(count, dtype=bool)
    revised[[1, 5]] = (labels[[1, 5]] + 1) % 3
    kept[[0, 7, 11]] = False

    found = RevisableRidge(data, lambda_).revise(revised, kept)

    x = view.array()
    weight, bias = fitted(x[kept], revised[kept], lambda_)
    np.testing.assert_allclose(found.weight, weight, atol=1e-10)
    np.testing.assert_allclose(found.bias, bias, atol=1e-10)
    for i in range(count):
        if not kept[i]:
            assert np.isnan(found.scores[i]).all()
            continue
        rest = kept & (groups != groups[i])
        alone, at = fitted(x[rest], revised[rest], lambda_)
        np.testing.assert_allclose(found.scores[i], x[i] @ alone + at, atol=1e-8)


@pytest.mark.parametrize(("count", "width"), SHAPES)
def test_without_changes_it_is_ridge_and_undoing_a_change_is_bit_equal(count: int, width: int) -> None:
    view, labels = make_view(count, width)
    path = solve_ridge(data := LabelledFeatures.of(view, labels, 3))
    ridge, kept = RevisableRidge(data, path.lambda_), np.ones(count, dtype=bool)
    first = ridge.revise(labels, kept)
    np.testing.assert_allclose(first.scores, path.held_scores, atol=1e-9)
    np.testing.assert_allclose(first.weight, path.weight, atol=1e-12)

    without = kept.copy()
    without[3] = False
    dropped = ridge.revise(labels, without)
    again = ridge.revise(labels, kept)
    assert not np.array_equal(dropped.weight, first.weight)
    assert np.array_equal(again.weight, first.weight)
    assert np.array_equal(again.bias, first.bias)
    assert np.array_equal(again.scores, first.scores)


def test_a_drop_equals_removing_the_row_from_the_sufficient_statistics() -> None:
    view, labels = make_view(60, 12)
    x, y = view.array(), np.where(labels[:, None] == np.arange(3), 1.0, -1.0)
    kept = np.arange(60) != 4
    rest = SufficientStatistics.of(x, y).remove(SufficientStatistics.of(x[~kept], y[~kept]))
    found = RevisableRidge(LabelledFeatures.of(view, labels, 3), 0.3).revise(labels, kept)
    np.testing.assert_allclose(found.weight, rest.head(0.3)[0], atol=1e-12)
