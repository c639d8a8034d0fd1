"""Statistics that merge and part: against brute force, scikit-learn, and refits without the removed rows."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.heads.regularization_path import LabelledFeatures
from headstart.heads.ridge import RidgeProblem, indicators
from headstart.heads.sufficient_statistics import (
    Folds,
    SufficientStatistics,
    fold_of,
    fold_statistics,
    grouped_fold_errors,
    merge_all,
    merge_folds,
)
from made_features import make_view

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def made(count: int = 300, width: int = 20, *, weighted: bool = False, seed: int = 0) -> Arrays:
    """x, ±1 targets, names of groups of unlike size, weights."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    x = rng.normal(size=(count, width)) + 0.5 * np.eye(3, width)[labels] + 3
    groups = np.array([f"patient-{number}" for number in rng.integers(0, 60, count) ** 2 % 47])
    weights = rng.uniform(0.5, 2.0, count) if weighted else np.ones(count)
    return x, indicators(labels, 3), groups, weights


def folds_of(groups: np.ndarray) -> np.ndarray:
    return np.array([fold_of(str(group)) for group in groups])


def shards(arrays: Arrays, count: int, seed: int) -> Folds:
    """Statistics of the rows dealt to shards in a random order, which are merged in another."""
    x, y, groups, weights = arrays
    rng = np.random.default_rng(seed)
    folds = folds_of(groups)
    parts = [
        fold_statistics(x[rows], y[rows], folds[rows], weights=weights[rows])
        for rows in np.array_split(rng.permutation(len(x)), count)
    ]
    return merge_folds(parts[i] for i in rng.permutation(count))


def brute_force(arrays: Arrays, lambdas: np.ndarray) -> np.ndarray:
    """Grouped K-fold squared errors by a refit for each fold, the normal equations written out."""
    x, y, groups, w = arrays
    folds = folds_of(groups)
    errors = np.zeros(len(lambdas))
    for fold in np.unique(folds):
        train, held = folds != fold, folds == fold
        m, q = np.average(x[train], axis=0, weights=w[train]), np.average(y[train], axis=0, weights=w[train])
        centred = x[train] - m
        for k, lambda_ in enumerate(lambdas):
            left = centred.T @ (w[train, None] * centred) + lambda_ * np.eye(x.shape[1])
            weight = np.linalg.solve(left, centred.T @ (w[train, None] * (y[train] - q)))
            predicted = (x[held] - m) @ weight + q
            errors[k] += (w[held, None] * (predicted - y[held]) ** 2).sum()
    return errors / (w.sum() * y.shape[1])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("count", [1, 3, 13])
def test_grouped_fold_errors_of_any_shards_equal_brute_force(count: int, weighted: bool) -> None:
    arrays = made(weighted=weighted)

    found = grouped_fold_errors(shards(arrays, count, seed=count))

    expected = brute_force(arrays, found.lambdas)
    np.testing.assert_allclose(found.losses, expected, rtol=1e-12)
    assert found.best == int(np.argmin(expected))
    assert 0 < found.best < len(expected) - 1  # the choice is one
    assert found.folds == 5


@pytest.mark.parametrize("count", [1, 3, 13])
def test_heads_of_any_shards_equal_scikit_learns(count: int) -> None:
    from sklearn.linear_model import Ridge

    arrays = x, y, _, weights = made(weighted=True, seed=2)
    total = merge_all(shards(arrays, count, seed=7))
    for lambda_ in (1e-3, 1.0, 100.0):
        weight, bias = total.head(lambda_)
        reference = Ridge(alpha=lambda_, solver="cholesky").fit(x, y, sample_weight=weights)
        np.testing.assert_allclose(weight, reference.coef_.T, atol=1e-9)
        np.testing.assert_allclose(bias, reference.intercept_, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_thirteen_shards_does_not_matter(seed: int) -> None:
    arrays = made(seed=3)
    one, other = merge_all(shards(arrays, 1, seed=0)), merge_all(shards(arrays, 13, seed=seed))
    np.testing.assert_allclose(other.gram, one.gram, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(other.cross, one.cross, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(other.mean, one.mean, rtol=1e-13)
    assert (other.count, other.weight) == (one.count, one.weight)
    np.testing.assert_allclose(other.head(0.1)[0], one.head(0.1)[0], atol=1e-9)


def test_the_head_with_more_features_than_rows_equals_that_of_ridge() -> None:
    view, labels = make_view(15, 30)
    data = LabelledFeatures.of(view, labels, 3)
    ridge = RidgeProblem(data)
    statistics = SufficientStatistics.of(view.array(), indicators(labels, 3))
    for lambda_ in (1e-4, 0.1):
        for mine, reference in zip(statistics.head(lambda_), ridge.head(lambda_), strict=True):
            np.testing.assert_allclose(mine, reference, atol=1e-9)


def test_statistics_are_those_of_numpy() -> None:
    x, y, _, weights = made(40, 6, weighted=True)
    found = SufficientStatistics.of(x, y, weights)
    np.testing.assert_allclose(found.gram / found.weight, np.cov(x.T, aweights=weights, ddof=0), atol=1e-12)
    np.testing.assert_allclose(found.mean, np.average(x, axis=0, weights=weights))
    np.testing.assert_allclose(found.square, (weights * ((y - np.average(y, axis=0, weights=weights)) ** 2).T).sum())


def test_removal_equals_a_refit_without_the_rows() -> None:
    x, y, _, weights = made(weighted=True, seed=5)
    gone = np.random.default_rng(0).choice(len(x), 37, replace=False)
    kept = np.setdiff1d(np.arange(len(x)), gone)
    whole = SufficientStatistics.of(x, y, weights)

    rest = whole.remove(SufficientStatistics.of(x[gone], y[gone], weights[gone]))

    refit = SufficientStatistics.of(x[kept], y[kept], weights[kept])
    np.testing.assert_allclose(rest.gram, refit.gram, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(rest.head(0.01)[0], refit.head(0.01)[0], atol=1e-12)
    assert rest.count == refit.count
    assert rest.square == pytest.approx(refit.square, rel=1e-12)


def test_the_squared_error_is_that_of_the_rows() -> None:
    x, y, _, weights = made(50, 4, weighted=True)
    head = np.random.default_rng(1).normal(size=(4, 3)), np.array([0.3, -1.0, 2.0])
    expected = (weights[:, None] * (x @ head[0] + head[1] - y) ** 2).sum()
    assert SufficientStatistics.of(x, y, weights).squared_error(*head) == pytest.approx(expected, rel=1e-12)


def test_left_out_sums_of_shards_add_up_to_those_of_all_rows() -> None:
    view, labels = make_view(40, 12)
    data = LabelledFeatures.of(view, labels, 3)
    whole = RidgeProblem(data)
    lambdas = np.array([0.01, 1.0])
    basis = SufficientStatistics.of(view.array(), indicators(labels, 3)).basis
    parts = []
    for rows in np.array_split(np.arange(40), 3):
        part = LabelledFeatures(view.take(rows), labels[rows], 3, np.arange(len(rows)), np.ones(len(rows)))
        parts.append(RidgeProblem(part, given=basis).left_out_sums(lambdas))

    errors, correct = (sum(found) for found in zip(*parts, strict=True))

    expected = whole.left_out_sums(lambdas)
    np.testing.assert_allclose(errors, expected[0], rtol=1e-9)
    np.testing.assert_array_equal(correct, expected[1])


def test_nothing_is_no_rows() -> None:
    x, y, _, _ = made(10, 3)
    some, none = SufficientStatistics.of(x, y), SufficientStatistics.of(x[:0], y[:0])
    assert some.merge(none) is some
    assert none.merge(some) is some
    assert some.remove(none) is some
    assert some.remove(some).count == 0


def test_what_cannot_be_is_refused() -> None:
    x, y, _, _ = made(10, 3)
    few, many = SufficientStatistics.of(x[:4], y[:4]), SufficientStatistics.of(x, y)
    with pytest.raises(DataError, match="at most 4 rows"):
        few.remove(many)
    with pytest.raises(DataError, match="at least two folds"):
        grouped_fold_errors(fold_statistics(x, y, np.zeros(10, dtype=np.int64)))
    with pytest.raises(DataError, match="at least one shard"):
        merge_folds([])


def test_folds_are_the_same_everywhere_and_of_like_size() -> None:
    assert [fold_of(name) for name in ("a", "b", "ä", "\udcff")] == [
        fold_of(name) for name in ("a", "b", "ä", "\udcff")
    ]
    assert fold_of("a") == 0xCA978112CA1BBDCA % 5  # the first eight bytes of its SHA-256
    sizes = np.bincount([fold_of(str(number)) for number in range(5000)], minlength=5)
    assert sizes.min() > 900
