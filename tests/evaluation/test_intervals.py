"""Intervals against published and hand-worked numbers, closed forms, and their own promise of coverage."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import binomtest, ttest_1samp
from sklearn.metrics import f1_score

from headstart.errors import DataError
from headstart.evaluation.intervals import (
    Interval,
    accuracy_intervals,
    add_intervals,
    macro_f1_interval,
    mean_interval,
    mean_share_interval,
    picked_share_interval,
    points,
    share_interval,
    signed,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(147, 153, 0.917, 0.982), (146, 153, 0.909, 0.978), (326, 372, 0.839, 0.906), (372, 372, 0.990, 1.0)],
)
def test_wilson_gives_the_known_ends(successes: int, n: int, low: float, high: float) -> None:
    found = wilson(successes, n)

    assert found.value == successes / n
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-4)


def test_wilson_ends_are_where_the_score_test_just_rejects() -> None:
    found = wilson(7, 20)

    for end in (found.low, found.high):
        assert abs(7 / 20 - end) / math.sqrt(end * (1 - end) / 20) == pytest.approx(1.959964, abs=1e-5)


def test_wilson_ends_are_exact_at_none_and_all() -> None:
    assert wilson(0, 30).low == 0.0
    assert wilson(30, 30).high == 1.0
    assert wilson(0, 30).high == pytest.approx(1 - wilson(30, 30).low)


def test_wilson_of_no_images_knows_nothing() -> None:
    found = wilson(0, 0)

    assert math.isnan(found.value)
    assert (found.low, found.high, found.n) == (0.0, 1.0, 0)
    assert found.to_dict()["value"] is None
    assert Interval.from_dict(found.to_dict()) == found


def test_wilson_is_wider_when_more_confidence_is_asked() -> None:
    assert wilson(90, 100, 0.99).low < wilson(90, 100, 0.95).low < wilson(90, 100, 0.8).low


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(DataError, match=f"0 <= successes <= n, found {successes} of {n}"):
        wilson(successes, n)


def test_an_impossible_confidence_is_refused() -> None:
    with pytest.raises(DataError, match="a confidence between 0 and 1, found 95"):
        wilson(1, 2, 95)


def test_an_interval_reads_as_percent_only_in_text() -> None:
    found = wilson(145, 153)

    assert str(found) == "94.8 % [90.0, 97.3]"
    assert list(found.to_dict()) == ["value", "low", "high", "n", "method"]
    assert found.to_dict()["value"] == 145 / 153


def test_newcombe_difference_gives_the_published_example() -> None:
    # Newcombe 1998, table II, method 10: 56/70 - 48/80 and 9/10 - 3/10
    for x, n, y, m, low, high in [(56, 70, 48, 80, 0.0524, 0.3339), (9, 10, 3, 10, 0.1705, 0.8090)]:
        found = add_intervals([wilson(x, n), wilson(y, m)], [1, -1], "Newcombe")

        assert found.value == pytest.approx(x / n - y / m)
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_a_share_over_groups_counts_copies_once() -> None:
    rng = np.random.default_rng(5)
    correct = np.repeat(rng.random(100) < 0.8, 9)
    groups = np.repeat(np.arange(100), 9).tolist()

    found, naive, one = share_interval(correct, groups), share_interval(correct), share_interval(correct[::9])

    assert naive == wilson(int(correct.sum()), 900)
    assert found.value == naive.value == one.value
    assert (found.low, found.high) == pytest.approx((one.low, one.high), abs=0.004)
    assert found.method == "Wilson, 900 images in 100 groups count as 100"


def test_all_correct_in_few_groups_is_not_certainty() -> None:
    found = share_interval(np.ones(120, np.bool_), ["a"] * 60 + ["b"] * 60)

    assert (found.low, found.high) == pytest.approx((wilson(2, 2).low, 1.0))
    assert found.n == 120
    assert found.method == "Wilson, 120 images in 2 groups count as 2"


def test_a_share_of_nothing_and_one_group_short_are_known() -> None:
    assert share_interval(np.empty(0, np.bool_)) == wilson(0, 0)
    with pytest.raises(DataError, match=r"one group for each image, found lengths \[2, 3\]"):
        share_interval(np.ones(3, np.bool_), ["a", "b"])


def test_a_picked_share_has_the_exact_interval_at_a_level_that_allows_for_it() -> None:
    for k in (0, 14, 20):
        exact = binomtest(k, 20).proportion_ci(1 - 0.05 / 10, method="exact")
        found = picked_share_interval(np.arange(20) < k, among=10)
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert picked_share_interval(np.arange(20) < 14, among=1) == wilson(14, 20)
    copies = picked_share_interval(np.repeat(np.arange(20) < 14, 5), np.repeat(np.arange(20), 5).tolist(), among=10)
    one = picked_share_interval(np.arange(20) < 14, among=10)
    assert copies.high - copies.low == pytest.approx(one.high - one.low, rel=0.2)


def test_the_two_accuracies_are_those_of_images_and_of_groups() -> None:
    correct = np.arange(40) % 5 > 0

    assert accuracy_intervals(correct) == (wilson(32, 40), None)
    assert accuracy_intervals(correct, [str(i) for i in range(40)]) == (wilson(32, 40), None)
    plain, over = accuracy_intervals(correct, [str(i // 4) for i in range(40)])
    assert (plain, over) == (wilson(32, 40), share_interval(correct, [str(i // 4) for i in range(40)]))


def test_the_mean_of_one_class_has_wilsons_interval() -> None:
    for k in (0, 3, 19, 20):
        found = mean_share_interval(np.arange(20) < k, np.zeros(20, np.int64))
        if k in (0, 20):
            assert (found.low, found.high) == pytest.approx((wilson(k, 20).low, wilson(k, 20).high), abs=0.03)
        else:  # two imagined images change the variance a little
            assert (found.low, found.high) == pytest.approx((wilson(k, 20).low, wilson(k, 20).high), abs=0.012)


def test_the_ends_of_a_mean_of_shares_are_where_the_score_test_just_rejects() -> None:
    hits = np.concatenate([np.arange(8) < 6, np.arange(40) < 37, np.arange(15) < 15])
    strata = np.repeat([0, 1, 2], [8, 40, 15])

    found = mean_share_interval(hits, strata)

    n = np.array([8, 40, 15])
    pooled, shares = (58 + 0.5) / 64, np.array([6 / 8, 37 / 40, 1.0])
    counts, smoothed = np.array([6, 37, 15]) + 2 * pooled, n + 2
    assert found.value == pytest.approx(shares.mean())
    for end, sign in ((found.low, 1), (found.high, -1)):

        def loss(r: np.ndarray) -> float:
            return float(-(counts * np.log(r) + (smoothed - counts) * np.log(1 - r)).sum())

        constraint = {"type": "eq", "fun": lambda r, end=end: r.mean() - end}
        likely = minimize(loss, shares.clip(0.05, 0.95), bounds=[(1e-6, 1 - 1e-6)] * 3, constraints=[constraint]).x
        error = np.sqrt((likely * (1 - likely) / n).sum()) / 3
        assert sign * (found.value - end) / error == pytest.approx(1.959964, abs=5e-3)


def test_the_mean_of_shares_leaves_room_above_two_errors() -> None:
    hits = np.concatenate([np.arange(30) >= 2, np.ones(30, np.bool_)])

    found = mean_share_interval(hits, np.repeat([0, 1], 30))

    assert found.high < 1
    assert found.low > wilson(58, 60).low - 0.03


@pytest.mark.slow
def test_macro_f1_has_the_variance_of_the_delta_method() -> None:
    rng = np.random.default_rng(2)
    labels = rng.choice(3, 3000, p=[0.5, 0.3, 0.2])
    predicted = np.where(rng.random(3000) < 0.75, labels, rng.integers(0, 3, 3000))

    found = macro_f1_interval(predicted, labels)

    def f1(rows: np.ndarray) -> float:
        return float(f1_score(labels[rows], predicted[rows], average="macro"))

    assert found.value == pytest.approx(f1(np.arange(3000)))
    resampled = np.concatenate([np.flatnonzero(labels == c) for c in range(3)])  # within classes
    starts = np.cumsum([0, *np.bincount(labels)])
    draws = [f1(np.concatenate([rng.choice(resampled[a:b], b - a) for a, b in pairwise(starts)])) for _ in range(300)]
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(np.std(draws), rel=0.12)


@pytest.mark.parametrize("n", [1, 6])
def test_macro_f1_of_images_of_one_class_does_not_depend_on_its_number(n: int) -> None:
    first, second = np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.int64)

    found = macro_f1_interval(first, first)

    assert found == macro_f1_interval(second, second)
    assert found.value == found.high == 1
    assert 0 < found.low < 1


def test_macro_f1_without_an_error_is_not_certain() -> None:
    labels = np.arange(60) % 3

    found = macro_f1_interval(labels, labels)

    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(wilson(60, 60).low, abs=0.01)
    wide = macro_f1_interval(labels, labels, (np.arange(60) // 6).tolist())
    assert wide.low == pytest.approx(wilson(10, 10).low, abs=0.05)


def test_a_mean_has_students_interval() -> None:
    values = np.random.default_rng(3).normal(size=25)
    expected = ttest_1samp(values, 0).confidence_interval()

    found = mean_interval(values)

    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    copies = mean_interval(np.repeat(values, 4), np.repeat(np.arange(25), 4).tolist())
    assert copies.high - copies.low == pytest.approx(found.high - found.low, rel=0.15)
    folds = mean_interval(values, folds=5)  # 1 + 5/4 times the variance
    assert folds.value - folds.low == pytest.approx(1.5 * (found.value - found.low))
    assert mean_interval(values[:1]).high == math.inf
    with pytest.raises(DataError, match="at least one value"):
        mean_interval(np.empty(0))


def test_a_difference_has_its_sign() -> None:
    assert points(Interval(-0.013, -0.05, 0.024, 9, "")) == "-1.3 points [-5.0, +2.4]"
    assert signed(Interval(0.0123, -0.0204, 0.05, 9, ""), digits=3) == "+0.012 [-0.020, +0.050]"


def test_what_rounds_to_zero_from_below_is_no_minus_zero() -> None:
    assert points(Interval(0.038, -0.0004, 0.075, 9, "")) == "+3.8 points [+0.0, +7.5]"
