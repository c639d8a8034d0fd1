"""Intervals against published and hand-worked numbers, closed forms, and their own promise of coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.evaluation.intervals import (
    Interval,
    Resampling,
    accuracy_over_groups,
    add_intervals,
    bootstrap,
    count_groups,
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


def test_bootstrap_of_a_mean_matches_the_closed_form() -> None:
    values = np.random.default_rng(3).normal(size=400)

    found = bootstrap(lambda index: float(values[index].mean()), Resampling(n=400, seed=1))

    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.07 * half)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    rng, inside = np.random.default_rng(0), 0

    for trial in range(300):
        values = rng.exponential(size=80)
        found = bootstrap(
            lambda index, values=values: float(values[index].mean()), Resampling(n=80, repeats=300, seed=trial)
        )
        inside += found.low <= 1.0 <= found.high

    assert 0.90 <= inside / 300 <= 0.98  # 95 % promised, a little less kept at n = 80 for a skewed mean


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.arange(50.0)

    first, again, other = (
        bootstrap(lambda i: float(values[i].mean()), Resampling(n=50, seed=seed, repeats=200)) for seed in (1, 1, 2)
    )

    assert first == again
    assert first != other


def test_strata_keep_their_sizes_in_every_resample() -> None:
    strata = ["a", "b", "b", "c", "c", "c"] * 4
    codes = np.array([ord(name) - ord("a") for name in strata])

    for index in Resampling(n=24, repeats=50, strata=strata):
        assert np.bincount(codes[index]).tolist() == [4, 8, 12]


def test_every_image_of_a_stratum_is_drawn_equally_often() -> None:
    drawn = np.concatenate(list(Resampling(n=6, repeats=6000, strata=[0, 0, 1, 1, 1, 1])))

    assert np.bincount(drawn) == pytest.approx(np.full(6, 6000), rel=0.05)


def test_groups_are_drawn_whole() -> None:
    groups = ["x", None, "y", "x", None, "x", "y"]  # x: 0 3 5, y: 2 6, alone: 1 and 4

    drawn = list(Resampling(n=7, repeats=200, groups=groups))

    assert count_groups(groups) == 4
    for index in drawn:
        counts = np.bincount(index, minlength=7)
        assert counts[0] == counts[3] == counts[5]
        assert counts[2] == counts[6]
        assert counts[0] + counts[1] + counts[2] + counts[4] == 4
    assert any(np.bincount(index, minlength=7)[1] != np.bincount(index, minlength=7)[4] for index in drawn)


def test_groups_within_strata_stay_in_their_stratum() -> None:
    groups = ["p1", "p1", "p2", "q1", "q2", "q2"]
    strata = ["p", "p", "p", "q", "q", "q"]

    for index in Resampling(n=6, repeats=50, groups=groups, strata=strata):
        names = [groups[i] for i in index]
        whole = names.count("p1") / 2 + names.count("p2"), names.count("q1") + names.count("q2") / 2
        assert whole == (2, 2)


def test_images_that_stand_or_fall_together_count_as_one() -> None:
    rng = np.random.default_rng(5)
    correct = np.repeat(rng.random(100) < 0.8, 9)
    groups = np.repeat(np.arange(100), 9).tolist()

    found = accuracy_over_groups(correct, groups)
    naive = wilson(int(correct.sum()), 900)

    assert found.value == naive.value
    assert (found.high - found.low) / (naive.high - naive.low) == pytest.approx(3, rel=0.08)  # sqrt of 9 in a group


def test_all_correct_in_few_groups_is_not_certainty() -> None:
    found = accuracy_over_groups(np.ones(120, np.bool_), ["a"] * 60 + ["b"] * 60)

    assert (found.low, found.high) == pytest.approx((wilson(2, 2).low, 1.0))
    assert found.n == 120
    assert found.method == "Wilson over 2 groups"


def test_recentring_brings_a_noisy_statistic_back_around_its_value() -> None:
    values = np.random.default_rng(0).normal(size=100)  # |mean| grows with noise when resampled

    def distance(index: np.ndarray) -> float:
        return float(abs(values[index].mean() - values.mean()))

    plain = bootstrap(distance, Resampling(n=100))
    recentred = bootstrap(distance, Resampling(n=100), recentre=True)

    assert plain.low > plain.value == pytest.approx(0)
    assert recentred.low < recentred.value < recentred.high


def test_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"at least one image, with one stratum and one group each, found lengths \[2, 3\]"
    ):
        Resampling(n=3, groups=["a", "b"])
    with pytest.raises(DataError, match=r"found lengths \[0\]"):
        Resampling(n=0)
