"""Nearest neighbours against scikit-learn and against their own definition."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from headstart.features.matrix import BLOCK_ROWS
from headstart.heads.knn import nearest, predict_neighbours, vote
from made_features import make_view


@pytest.mark.parametrize("count", [40, BLOCK_ROWS + 30])  # the second spans two blocks of the view
def test_neighbours_agree_with_scikit_learn(count: int) -> None:
    view, _ = make_view(count + 10, 8)
    known, queries = view.take(np.arange(count)), view.take(np.arange(count, count + 10))

    cosines, rows = nearest(known, queries, 5)

    mean = known.array().mean(axis=0)
    reference = NearestNeighbors(n_neighbors=5, metric="cosine").fit(known.array() - mean)
    distances, expected = reference.kneighbors(queries.array() - mean)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(cosines, 1 - distances, atol=1e-9)


@pytest.mark.parametrize("block_rows", [7, 1000])
def test_without_queries_each_image_is_compared_with_all_others(block_rows: int) -> None:
    x = np.random.default_rng(0).normal(size=(50, 6)) + 3

    cosines, rows = nearest(x, None, 7, block_rows=block_rows)

    reference = NearestNeighbors(n_neighbors=7, metric="cosine").fit(x - x.mean(0))
    distances, expected = reference.kneighbors()  # without queries scikit-learn leaves each point itself out too
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(cosines, 1 - distances)


def test_of_equally_near_images_the_first_are_taken_in_their_order() -> None:
    x = np.random.default_rng(1).normal(size=(40, 6))
    twins = np.concatenate([x, x, x])  # each image three times, 40 rows apart

    _, rows = nearest(twins, x, 4)

    np.testing.assert_array_equal(rows[:, :3], np.arange(40)[:, None] + [0, 40, 80])
    assert (rows[:, 3] < 40).all()  # the nearest other image, by its first copy


def test_few_images_have_no_more_neighbours_than_there_are_others() -> None:
    x = np.random.default_rng(0).normal(size=(4, 6))

    assert nearest(x, None, 7)[1].shape == (4, 3)
    assert nearest(x, x[:2], 7)[1].shape == (2, 4)


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

    _, about = predict_neighbours(view, labels, view, classes=2)

    assert about == "vote of the 4 most similar training images, no training"


def test_a_class_without_images_does_not_lower_the_number_of_neighbours() -> None:
    view, labels = make_view(40, 8)
    labels = labels % 2
    plain, about = predict_neighbours(view, labels, view, classes=2)
    padded, same = predict_neighbours(view, labels * 2, view, classes=3)  # class 1 has none
    assert about == same
    assert "of the 1 " not in about
    np.testing.assert_array_equal(padded, plain * 2)


def test_of_very_many_images_so_many_vote_evenly_over_their_order() -> None:
    view, labels = make_view(50, 8)
    labels = labels % 2

    found, about = predict_neighbours(view, labels, view, classes=2, most=25)

    every_other = np.arange(0, 50, 2)
    expected, _ = predict_neighbours(view.take(every_other), labels[every_other], view, classes=2)
    np.testing.assert_array_equal(found, expected)
    assert about.endswith("most similar of 25 training images, no training")
