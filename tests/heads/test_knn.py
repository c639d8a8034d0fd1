"""Nearest training images against scikit-learn and against their own definition."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from headstart.heads.knn import nearest, predict_neighbours, vote
from training.made_features import make_view


def test_neighbours_agree_with_scikit_learn_also_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    view, _ = make_view(50, 8)
    train, queries = view.take(np.arange(40)), view.take(np.arange(40, 50))
    monkeypatch.setattr("headstart.features.matrix.BLOCK_ROWS", 7)

    cosines, rows = nearest(train, queries, 5)

    mean = train.array().mean(axis=0)
    reference = NearestNeighbors(n_neighbors=5, metric="cosine").fit(train.array() - mean)
    distances, expected = reference.kneighbors(queries.array() - mean)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(cosines, 1 - distances, atol=1e-9)


def test_the_nearest_image_of_a_training_image_is_itself() -> None:
    view, labels = make_view(30, 8)

    cosines, rows = nearest(view, view, 1)

    np.testing.assert_array_equal(rows[:, 0], np.arange(30))
    np.testing.assert_allclose(cosines, 1)
    np.testing.assert_array_equal(vote(cosines, labels[rows], 3), labels)


def test_a_near_neighbour_outvotes_two_far_ones() -> None:
    cosines, labels = np.array([[0.9, 0.7, 0.7]]), np.array([[1, 0, 0]])
    assert 2 * np.exp((0.7 - 0.9) / 0.07) < 1  # by hand
    assert vote(cosines, labels, 2)[0] == 1


def test_no_more_neighbours_than_the_smallest_class_has_images() -> None:
    view, _ = make_view(30, 8)
    labels = np.array([0] * 26 + [1] * 4)

    _, k = predict_neighbours(view, labels, view, 2)

    assert k == 4
