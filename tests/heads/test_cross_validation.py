"""Grouped folds and the held-out scores of any solver, against scikit-learn and by hand."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from headstart.errors import DataError, RecipeError
from headstart.heads.cross_validation import cross_validated, group_folds
from headstart.heads.regularization_path import LabelledFeatures, Validation
from made_features import make_view


def class_means(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    means = np.stack([features[labels == c].mean(0) for c in range(labels.max() + 1)])
    return 2 * means.T, -(means**2).sum(1)


def test_no_group_is_cut_by_the_folds() -> None:
    labels, groups = np.repeat([0, 1, 2], 20), np.arange(60) // 4

    folds = group_folds(labels, groups)

    assert all(len(set(folds[groups == group])) == 1 for group in range(15))
    assert set(folds) == set(range(5))


def test_every_row_is_scored_by_a_head_that_did_not_see_its_group() -> None:
    view, labels = make_view(60, 8)
    groups = np.arange(60) // 3
    data = LabelledFeatures.of(view, labels, 3, groups=groups)

    path = cross_validated("means", class_means, data)

    folds, x, expected, order = group_folds(labels, groups), view.array(), [], []
    for fold in range(5):
        weight, bias = class_means(x[folds != fold], labels[folds != fold], groups)
        expected.append(x[folds == fold] @ weight + bias)
        order.append(np.flatnonzero(folds == fold))
    scores, rows = np.concatenate(expected), np.concatenate(order)
    np.testing.assert_allclose(path.held_scores, scores)
    np.testing.assert_array_equal(path.held_labels, labels[rows])
    assert path.losses[0] == pytest.approx(-log_softmax(scores, axis=1)[np.arange(60), labels[rows]].mean())
    assert path.accuracy == pytest.approx((scores.argmax(1) == labels[rows]).mean())
    np.testing.assert_allclose(path.weight, class_means(x, labels, groups)[0])


def test_a_class_of_one_group_is_never_held_out_so_that_a_solver_always_sees_it() -> None:
    view, _ = make_view(40, 8)
    labels = np.repeat([0, 1, 2], [18, 18, 4])
    groups = np.where(labels == 2, 100, np.arange(40))
    seen: list[set[int]] = []

    def watching(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen.append(set(labels.tolist()))
        return class_means(features, labels, groups)

    path = cross_validated("watching", watching, LabelledFeatures.of(view, labels, 3, groups=groups))

    assert all(classes == {0, 1, 2} for classes in seen)
    assert len(path.held_labels) == 36
    assert set(path.held_labels) == {0, 1}


def test_one_group_in_each_class_cannot_be_held_out() -> None:
    view, _ = make_view(12, 8)
    labels = np.arange(12) // 4

    with pytest.raises(DataError, match="a class with at least two groups"):
        cross_validated("means", class_means, LabelledFeatures.of(view, labels, 3, groups=labels))


def test_validation_rows_are_scored_instead_of_folds() -> None:
    view, labels = make_view(60, 8)
    train, held = np.arange(40), np.arange(40, 60)

    path = cross_validated(
        "means",
        class_means,
        LabelledFeatures.of(view.take(train), labels[train], 3),
        validation=Validation(view.take(held), labels[held]),
    )

    np.testing.assert_allclose(path.held_scores, view.array()[held] @ path.weight + path.bias)
    assert path.held_out == "on 20 validation images"


def returning(value: Any) -> Any:
    return lambda features, labels, groups: value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((np.zeros((3, 8)), np.zeros(3)), "Transpose the weight"),
        ((np.zeros((8, 2)), np.zeros(2)), r"shape \(8, 3\).*found \(8, 2\)"),
        ((np.full((8, 3), np.nan), np.zeros(3)), "found 24 that are not"),
        (None, "AttributeError"),
    ],
)
def test_what_does_not_fit_is_an_error_that_names_the_head(value: Any, message: str) -> None:
    view, labels = make_view(30, 8)

    with pytest.raises(RecipeError, match=message) as caught:
        cross_validated("mine", returning(value), LabelledFeatures.of(view, labels, 3))

    assert "'mine'" in str(caught.value)


def test_an_error_of_the_solver_is_reported_as_that_head_s() -> None:
    view, labels = make_view(30, 8)

    def failing(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> None:
        raise ZeroDivisionError("by design")

    with pytest.raises(RecipeError, match="'mine' of the script that registers it, found ZeroDivisionError: by design"):
        cross_validated("mine", failing, LabelledFeatures.of(view, labels, 3))


def test_a_solver_cannot_change_features_and_labels_for_the_next_fold() -> None:
    view, labels = make_view(60, 8)
    data = LabelledFeatures.of(view, labels, 3, groups=np.arange(60) // 3)

    def careless(features: np.ndarray, given: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        solved = class_means(features, given, groups)
        features[:], given[:], groups[:] = 0, 0, 0
        return solved

    found, expected = cross_validated("careless", careless, data), cross_validated("means", class_means, data)

    np.testing.assert_array_equal(found.held_scores, expected.held_scores)
    np.testing.assert_array_equal(found.held_labels, expected.held_labels)


@pytest.mark.parametrize(
    ("factor", "found"), [(1j, "TypeError: complex numbers"), (1e300, "that float32 can hold from the head 'odd'")]
)
def test_numbers_that_a_head_cannot_hold_are_refused(factor: Any, found: str) -> None:
    view, labels = make_view(60, 8)
    data = LabelledFeatures.of(view, labels, 3, groups=np.arange(60))

    def odd(features: np.ndarray, given: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full((features.shape[1], 3), factor), np.zeros(3)

    with pytest.raises(RecipeError, match=found):
        cross_validated("odd", odd, data)


def test_a_solver_that_leaves_python_is_reported_as_that_head_s() -> None:
    view, labels = make_view(60, 8)
    data = LabelledFeatures.of(view, labels, 3, groups=np.arange(60))

    with pytest.raises(RecipeError, match=r"head 'odd' of the script that registers it, found .*it called sys\.exit"):
        cross_validated("odd", lambda features, given, groups: sys.exit(3), data)
