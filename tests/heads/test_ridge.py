"""The closed-form head against brute force, in both shapes, with groups and with weights."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from headstart.features.matrix import BLOCK_ROWS
from headstart.heads.regularization_path import LabelledFeatures, Validation
from headstart.heads.ridge import RidgeProblem, indicators, solve_ridge
from made_features import make_features, make_view


def refit(x: np.ndarray, y: np.ndarray, weights: np.ndarray, lambda_: float) -> tuple[np.ndarray, np.ndarray]:
    """Ridge with a free intercept by its normal equations, written out literally."""
    mean, target_mean = np.average(x, axis=0, weights=weights), np.average(y, axis=0, weights=weights)
    xc = x - mean
    xw = xc * weights[:, None]
    weight = np.linalg.solve(xw.T @ xc + lambda_ * np.eye(x.shape[1]), xw.T @ (y - target_mean))
    return weight, target_mean - mean @ weight


SHAPES = [(40, 12), (15, 30)]


@pytest.mark.parametrize(("count", "width"), SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_leave_out_scores_equal_refitting_without_the_rows(
    count: int, width: int, weighted: bool, grouped: bool
) -> None:
    view, labels = make_view(count, width)
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 6, count) if grouped else np.arange(count)
    weights = rng.uniform(0.5, 2.0, count) if weighted else np.ones(count)

    data = LabelledFeatures.of(
        view, labels, 3, groups=groups if grouped else None, weights=weights if weighted else None
    )
    path = solve_ridge(data)

    x, y = view.array(), np.where(labels[:, None] == np.arange(3), 1.0, -1.0)
    errors = []
    for lambda_ in path.lambdas:
        left_out = np.empty_like(y)
        for group in np.unique(groups):
            out = groups == group
            weight, bias = refit(x[~out], y[~out], weights[~out], lambda_)
            left_out[out] = x[out] @ weight + bias
        errors.append((weights[:, None] * (left_out - y) ** 2).sum() / (3 * weights.sum()))
        if lambda_ == path.lambda_:
            np.testing.assert_allclose(path.held_scores, left_out, atol=1e-9)
            assert path.accuracy == pytest.approx((left_out.argmax(1) == labels).mean())
    np.testing.assert_allclose(path.losses, errors, rtol=2e-4)  # the smallest lambdas cost both ways some digits
    assert path.best == int(np.argmin(errors))


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
def test_a_small_lambda_costs_no_digits_of_what_is_left_out(weighted: bool) -> None:
    """Fewer rows than features: the centred products have an eigenvalue of 0, which rounding must not raise."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        view, labels = make_view(18, 400, seed=seed)
        data = LabelledFeatures.of(view, labels, 3, weights=rng.uniform(0.5, 2, 18) if weighted else None)
        ridge = RidgeProblem(data)
        lambda_ = 1e-6 * float(ridge.basis.spectrum.max())
        x, y = data.view.array(), indicators(data.labels, 3)
        for row, scores in enumerate(ridge.left_out_scores(lambda_)):
            rest = np.arange(18) != row
            fitted = Ridge(alpha=lambda_, solver="svd").fit(x[rest], y[rest], sample_weight=data.weights[rest])
            np.testing.assert_allclose(scores, fitted.predict(x[row : row + 1])[0], atol=1e-7)


@pytest.mark.parametrize(("count", "width"), SHAPES)
def test_the_head_equals_the_normal_equations(count: int, width: int) -> None:
    view, labels = make_view(count, width)
    path = solve_ridge(LabelledFeatures.of(view, labels, 3))
    y = np.where(labels[:, None] == np.arange(3), 1.0, -1.0)

    weight, bias = refit(view.array(), y, np.ones(count), path.lambda_)

    np.testing.assert_allclose(path.weight, weight, atol=1e-10)
    np.testing.assert_allclose(path.bias, bias, atol=1e-10)


def test_noise_with_more_features_than_images_reads_chance_not_a_hundred_percent() -> None:
    """The centring trap: with the intercept outside the hat matrix this reads 100 %."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(2), 30)
    noise = make_features(rng.normal(size=(60, 200)))

    path = solve_ridge(LabelledFeatures.of(noise.view(np.arange(60), ("early", "late")), labels, 2))

    assert path.accuracies.max() < 0.75


def test_rows_in_several_blocks_and_a_group_larger_than_a_block_change_nothing() -> None:
    count = BLOCK_ROWS * 2 + 500
    view, labels = make_view(count, 8)
    groups = np.arange(count)
    groups[100 : BLOCK_ROWS + 300] = 100

    path = solve_ridge(LabelledFeatures.of(view, labels, 3, groups=groups))

    x, y = view.array(), np.where(labels[:, None] == np.arange(3), 1.0, -1.0)
    weight, bias = refit(x, y, np.ones(count), path.lambda_)
    np.testing.assert_allclose(path.weight, weight, atol=1e-8)
    np.testing.assert_allclose(path.bias, bias, atol=1e-8)
    for out in (groups == 100, groups == 50, groups == count - 1):
        weight, bias = refit(x[~out], y[~out], np.ones(int((~out).sum())), path.lambda_)
        np.testing.assert_allclose(path.held_scores[out], x[out] @ weight + bias, atol=1e-8)


def test_the_order_of_rows_and_the_names_of_groups_do_not_matter() -> None:
    view, labels = make_view(30, 10)
    groups = np.arange(30) // 3
    shuffle = np.random.default_rng(2).permutation(30)

    straight = solve_ridge(LabelledFeatures.of(view, labels, 3, groups=groups))
    shuffled = solve_ridge(LabelledFeatures.of(view.take(shuffle), labels[shuffle], 3, groups=100 - groups[shuffle]))

    np.testing.assert_allclose(shuffled.held_scores, straight.held_scores[shuffle], atol=1e-9)


@pytest.mark.parametrize("classes", [3, 300])  # several lambdas in one product, and one
@pytest.mark.parametrize("together", [1, 4])  # rows of a group, in half of the data
def test_scores_are_the_same_whether_or_not_the_errors_are_known(classes: int, together: int) -> None:
    view, labels = make_view(40, 12)
    groups = np.where(np.arange(40) < 20, np.arange(40) // together, np.arange(40))
    data = LabelledFeatures.of(view, labels, classes, groups=groups)
    x, y = view.array(), np.where(labels[:, None] == np.arange(classes), 1.0, -1.0)
    lambdas = np.array([0.3, 0.01])
    known, fresh = RidgeProblem(data), RidgeProblem(data)
    known.leave_out(lambdas)

    for lambda_ in lambdas.tolist():
        scores = known.left_out_scores(lambda_)
        np.testing.assert_allclose(scores, fresh.left_out_scores(lambda_), atol=1e-12)
        out = groups == groups[0]
        weight, bias = refit(x[~out], y[~out], np.ones(int((~out).sum())), lambda_)
        np.testing.assert_allclose(scores[out], x[out] @ weight + bias, atol=1e-9)


def test_infinite_lambda_predicts_the_class_shares() -> None:
    view, labels = make_view(50, 8)

    weight, bias = RidgeProblem(LabelledFeatures.of(view, labels, 3)).head(1e12)

    np.testing.assert_allclose(weight, 0, atol=1e-9)
    np.testing.assert_allclose((bias + 1) / 2, np.bincount(labels, minlength=3) / 50)


def test_vanishing_lambda_interpolates_when_there_are_more_features_than_images() -> None:
    view, labels = make_view(12, 40)

    weight, bias = RidgeProblem(LabelledFeatures.of(view, labels, 3)).head(1e-10)

    fitted = view.array() @ weight + bias
    np.testing.assert_allclose(fitted, indicators(labels, 3), atol=1e-6)


def test_validation_rows_choose_when_they_are_there() -> None:
    view, labels = make_view(60, 8)
    train, held = np.arange(40), np.arange(40, 60)

    data = LabelledFeatures.of(view.take(train), labels[train], 3)
    path = solve_ridge(data, validation=Validation(view.take(held), labels[held]))

    y = np.where(labels[:, None] == np.arange(3), 1.0, -1.0)
    x = view.array()
    heads = [refit(x[train], y[train], np.ones(40), lambda_) for lambda_ in path.lambdas]
    losses = [np.square(x[held] @ weight + bias - y[held]).mean() for weight, bias in heads]
    np.testing.assert_allclose(path.losses, losses, rtol=1e-6)
    assert path.best == int(np.argmin(losses))
    np.testing.assert_array_equal(path.held_labels, labels[held])


def test_progress_counts_rows_and_reaches_its_total() -> None:
    view, labels = make_view(200, 8)
    seen: list[tuple[int, int]] = []

    solve_ridge(LabelledFeatures.of(view, labels, 3), progress=lambda done, total: seen.append((done, total)))

    assert seen == sorted(seen)
    assert len(seen) > 25
    assert seen[-1] == (400, 400)
