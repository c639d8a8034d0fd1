"""Conformal sets: by hand, against MAPIE, and by simulation inside the band in which their coverage must lie."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from headstart.errors import DataError
from headstart.evaluation.conformal import (
    RAPS,
    ConformalSets,
    class_scores,
    conformal_quantile,
    coverage_band,
    fit_conformal,
    least_images,
    measure_sets,
)

Values = np.ndarray


def draw(rng: np.random.Generator, count: int, classes: int = 4, pull: float = 1.5) -> tuple[Values, Values]:
    """Probabilities of noisy scores, N×C, with their labels."""
    labels = rng.integers(0, classes, count)
    scores = rng.normal(size=(count, classes)) + pull * np.eye(classes)[labels]
    p = np.exp(scores - scores.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True), labels


def sets_of(thresholds: list[float], method: str = "lac") -> ConformalSets:
    count = len(thresholds)
    return ConformalSets(method, 0.05, np.array(thresholds), np.zeros(count, dtype=bool), 100, 100)


def test_the_quantile_by_hand() -> None:
    scores = np.arange(1.0, 20.0)[::-1]  # 1 … 19

    assert conformal_quantile(scores, 0.05) == 19  # ⌈20 × 0.95⌉ = 19
    assert conformal_quantile(scores, 0.1) == 18
    assert conformal_quantile(scores[:18], 0.05) == np.inf  # ⌈19 × 0.95⌉ = 19 of 18
    assert [least_images(rate) for rate in (0.05, 0.1, 0.01)] == [19, 9, 99]


def test_sets_by_hand_and_an_empty_one_becomes_the_most_probable_class_and_atypical() -> None:
    p = np.array([[0.8, 0.2], [0.5, 0.5], [0.55, 0.45]])

    found = sets_of([0.5, 0.5]).sets(p)
    assert found.contains.tolist() == [[True, False], [True, True], [True, False]]
    assert found.atypical.tolist() == [False, False, False]

    strict = sets_of([0.1, 0.3]).sets(p)  # nothing has 0.9, or 0.7 of the second class
    assert strict.contains.tolist() == [[True, False]] * 3
    assert strict.atypical.tolist() == [True] * 3


def test_raps_scores_by_hand() -> None:
    scores = class_scores(np.array([[0.2, 0.5, 0.3]]), RAPS)

    # ranks 3, 1, 2; the first is free, each further one costs 0.1
    np.testing.assert_allclose(scores, [[1.0 + 0.2, 0.5, 0.8 + 0.1]])
    assert not sets_of([0.4] * 3, RAPS).sets(np.array([[0.2, 0.5, 0.3]])).atypical.any()


@pytest.mark.parametrize(
    ("rate", "quantile", "per_class", "sizes"),
    [
        (0.05, 0.84659288, [96, 123, 96, 132], [0, 39, 87, 62, 12]),
        (0.1, 0.81330096, [88, 108, 83, 111], [0, 57, 100, 39, 4]),
        (0.2, 0.71741191, [56, 71, 57, 78], [1, 137, 61, 1]),
    ],
)
def test_sets_are_those_of_mapie(rate: float, quantile: float, per_class: list[int], sizes: list[int]) -> None:
    """Numbers of MAPIE 1.6.0: SplitConformalClassifier(given, confidence_level=1 - rate, conformity_score="lac",
    prefit=True).conformalize(p, y).predict_set(new), with `given.predict_proba` the probabilities themselves.
    """
    rng = np.random.default_rng(7)
    (p, y), (new, _) = draw(rng, 60), draw(rng, 200)

    found = fit_conformal(p, y, error_rate=rate)

    assert found is not None
    if rate > 0.05:  # large classes have their own threshold from 20 images on, which MAPIE's method has not
        found = sets_of([conformal_quantile(1 - p[np.arange(60), y], rate)] * 4)
    np.testing.assert_allclose(found.thresholds, quantile, atol=1e-8)
    raw = class_scores(new) <= found.thresholds  # before an empty set gets its most probable class
    assert raw.sum(axis=0).tolist() == per_class
    assert np.bincount(raw.sum(axis=1)).tolist() == sizes


def test_the_band_is_that_of_the_textbook_and_of_a_simulation() -> None:
    band = coverage_band(100, 0.1, share=0.9)
    # methods.md and the literature: Beta(91, 10), mean 0.901, 5 to 95 % 0.844 to 0.946
    np.testing.assert_allclose([band.value, band.low, band.high], [91 / 101, 0.847, 0.945], atol=4e-3)

    rng = np.random.default_rng(0)
    truth = [conformal_quantile(rng.uniform(size=100), 0.1) for _ in range(4000)]  # of uniform scores q is the coverage
    inside = np.mean([band.low <= one <= band.high for one in truth])
    low, high = binom(4000, 0.9).ppf([0.001, 0.999]) / 4000
    assert low <= inside <= high
    assert coverage_band(10, 0.05).low == 1.0  # sets of everything


@pytest.mark.slow
def test_coverage_lies_inside_its_band_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    inside, sizes = [], []
    for _ in range(200):
        p, y = draw(rng, 80, classes=5)  # 16 a class: one threshold for all
        found = fit_conformal(p, y)
        assert found is not None
        assert not found.own.any()
        measured = measure_sets(found, *draw(rng, 3000, classes=5))
        inside.append(found.band.low - 0.01 <= measured.coverage.value <= found.band.high + 0.01)  # ±0.01: 3,000 images
        sizes.append(measured.mean_size)
    assert np.mean(inside) >= 0.93
    assert 1 < np.mean(sizes) < 5


def test_each_large_class_is_covered_where_one_threshold_would_leave_the_hard_one_behind() -> None:
    rng = np.random.default_rng(2)

    def hard_and_easy(count: int) -> tuple[Values, Values]:
        labels = (rng.uniform(size=count) < 0.15).astype(np.int64)  # the second class is rare, and hard
        scores = rng.normal(size=count) + np.where(labels == 1, 0.0, 4.0)
        p = 1 / (1 + np.exp(-scores))
        return np.stack([p, 1 - p], axis=1), labels

    p, y = hard_and_easy(2000)
    own = fit_conformal(p, y)
    assert own is not None
    assert own.own.tolist() == [True, True]
    new, truth = hard_and_easy(20_000)
    pooled = conformal_quantile(1 - p[np.arange(len(y)), y], 0.05)

    covered = own.sets(new).contains[np.arange(len(truth)), truth]
    missed_by_one = (1 - new[truth == 1, 1] > pooled).mean()
    assert 0.92 < covered[truth == 1].mean() < 0.98
    assert covered[truth == 0].mean() > 0.94  # above the rate: an empty set gets its most probable class
    assert missed_by_one > 0.1


def test_small_classes_share_a_threshold_of_their_own_where_they_are_enough_together() -> None:
    p, y = draw(np.random.default_rng(3), 500, classes=4)
    y = np.where(y < 2, y, np.where(np.arange(500) % 2, 2, 3))
    keep = np.concatenate([np.flatnonzero(y < 2), np.flatnonzero(y == 2)[:25], np.flatnonzero(y == 3)[:25]])
    p, y = p[keep], y[keep]

    found = fit_conformal(p, y)

    assert found is not None
    assert found.own.tolist() == [True, True, False, False]
    both = 1 - p[np.arange(len(y)), y][y >= 2]
    assert found.thresholds[2] == found.thresholds[3] == conformal_quantile(both, 0.05)
    few = fit_conformal(p[:-30], y[:-30])  # 20 of them: fewer than 40, so all images give the threshold
    assert few is not None
    scores = 1 - p[np.arange(len(y)), y][:-30]
    assert few.thresholds[3] == conformal_quantile(scores, 0.05)


def test_groups_count_once_and_too_few_give_no_sets() -> None:
    p, y = draw(np.random.default_rng(4), 400, classes=2)
    bursts = np.arange(400) // 20

    found = fit_conformal(p, y, bursts)

    assert found is not None
    assert (found.images, found.groups) == (400, 20)
    assert not found.own.any()  # 200 images of a class, but at most 20 independent ones
    assert fit_conformal(p, y, np.arange(400) // 25) is None  # 16 groups, 19 needed
    assert fit_conformal(p[:18], y[:18]) is None
    with pytest.raises(DataError):
        fit_conformal(p, y[:-1])


def test_sets_grow_as_the_rate_falls_and_lac_is_the_smallest() -> None:
    rng = np.random.default_rng(5)
    (p, y), (new, truth) = draw(rng, 2000, classes=25, pull=2.0), draw(rng, 4000, classes=25, pull=2.0)
    sizes = {}
    for rate in (0.02, 0.05, 0.2):
        found = fit_conformal(p, y, error_rate=rate)
        assert found is not None
        assert found.method == RAPS  # from 20 classes on
        measured = measure_sets(found, new, truth)
        assert abs(measured.coverage.value - (1 - rate)) < 0.02
        assert measured.atypical == 0
        sizes[rate] = measured.mean_size
    assert sizes[0.02] > sizes[0.05] > sizes[0.2]
    lac = sets_of([conformal_quantile(1 - p[np.arange(2000), y], 0.05)] * 25)
    assert measure_sets(lac, new, truth).mean_size <= sizes[0.05] + 0.05
