"""What a solver gets and gives: checked once, completed with defaults."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.heads.regularization_path import LabelledFeatures
from headstart.heads.ridge import solve_ridge
from made_features import make_view


def test_groups_of_any_numbers_are_counted_from_zero_and_weights_are_one() -> None:
    view, labels = make_view(4, 8)

    data = LabelledFeatures.of(view, labels, 3, groups=np.array([70, 5, 70, 9]))

    np.testing.assert_array_equal(data.groups, [2, 0, 2, 1])
    np.testing.assert_array_equal(data.weights, np.ones(4))


def test_without_groups_each_row_is_its_own() -> None:
    view, labels = make_view(4, 8)

    np.testing.assert_array_equal(LabelledFeatures.of(view, labels, 3).groups, np.arange(4))


def test_one_group_alone_cannot_be_held_out() -> None:
    view, labels = make_view(10, 4)

    with pytest.raises(DataError, match="at least two groups"):
        LabelledFeatures.of(view, labels, 3, groups=np.zeros(10, dtype=np.int64))


def test_a_label_for_every_row() -> None:
    view, labels = make_view(10, 4)

    with pytest.raises(DataError, match="a label for every row"):
        LabelledFeatures.of(view, labels[:9], 3)


def test_the_chosen_lambda_and_accuracy_are_those_of_the_smallest_loss() -> None:
    view, labels = make_view(40, 8)

    path = solve_ridge(LabelledFeatures.of(view, labels, 3))

    assert path.losses.min() == path.losses[path.best]
    assert path.lambda_ == path.lambdas[path.best]
    assert path.accuracy == path.accuracies[path.best]
