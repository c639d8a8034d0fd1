"""Neighbourhoods: overlaps of classes by hand, outliers."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.heads.knn import nearest
from headstart.inspection.features.neighbourhood import class_outliers, class_overlaps, outliers, purity, singletons


def test_overlaps_count_neighbours_by_class_with_chance_of_random_labels():
    rows = np.array([[1, 3], [0, 2], [3, 4], [4, 0], [3, 5], [1, 2]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    found = {(one.of, one.among): one for one in class_overlaps(rows, labels, 0)}
    assert [found[key].share.value for key in ((0, 0), (0, 1), (1, 0), (1, 1))] == [0.5, 0.5, 0.5, 0.5]
    assert found[0, 0].chance == pytest.approx(2 / 5)
    assert found[0, 1].chance == pytest.approx(3 / 5)
    assert purity(rows, labels).tolist() == [0.5, 1, 0, 0.5, 1, 0]
    assert class_outliers(rows, labels).tolist() == [2, 5]


@pytest.mark.slow
def test_intervals_of_overlaps_cover_the_true_share_as_often_as_they_say():
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels = np.repeat([0, 1], [40, 60])
        foreign = rng.random((100, 10)) < 0.3
        rows = np.where(foreign == (labels == 0)[:, None], 99, 0)
        (one,) = [m for m in class_overlaps(rows, labels, seed) if (m.of, m.among) == (0, 1)]
        hits += one.share.low <= 0.3 <= one.share.high
    assert 0.90 <= hits / 200 <= 0.98


def test_one_cloud_has_hardly_any_outlier():
    cosines, _ = nearest(np.random.default_rng(0).normal(size=(300, 20)), None, 10)
    assert len(outliers(cosines, 3.5)) <= 3


def test_classes_of_one_image_are_singletons_and_never_outliers():
    labels = np.array([0, 0, 1, 2, 2])
    assert singletons(labels).tolist() == [1]
    rows = np.array([[1], [0], [0], [0], [3]])
    assert class_outliers(rows, labels).tolist() == [3]
