"""Calibration errors in bins: simulated perfect models against closed forms, the interval against what it inverts."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.evaluation.calibration_error import BinnedGaps, bin_numbers, edges_of, mid_p, true_error_interval
from headstart.evaluation.design_effect import INDEPENDENT, DesignEffect


def gaps(confidence: float, correct: int, n: int) -> BinnedGaps:
    """One bin, so many of n correct."""
    return BinnedGaps.of(np.full(n, confidence), (np.arange(n) < correct).astype(float), 15)


def test_bins_sum_their_images() -> None:
    found = BinnedGaps.of(np.array([0.61, 0.65, 0.99, 0.63]), np.array([1.0, 0.0, 1.0, 1.0]), 15)

    assert found.counts.tolist() == [3, 1]
    assert found.confidence == pytest.approx([0.63, 0.99])
    assert found.accuracy == pytest.approx([2 / 3, 1])
    assert found.bin_of.tolist() == [0, 0, 1, 0]
    assert found.error == pytest.approx(0.75 * (2 / 3 - 0.63) + 0.25 * 0.01)
    assert bin_numbers(np.array([0.2, 0.2001, 0.0]), edges_of(5)).tolist() == [0, 1, 0]


def test_a_perfect_model_varies_as_the_binomial_and_with_groups_by_the_design_effect() -> None:
    one = gaps(0.8, 80, 100)

    plain = one.signed(INDEPENDENT, 20_000, 0)
    grouped = one.signed(DesignEffect(4.0, np.inf, 25), 20_000, 0)
    uncertain = one.signed(DesignEffect(4.0, 6.0, 25), 20_000, 0)

    assert plain.mean() == pytest.approx(0, abs=0.001)
    assert plain.std() == pytest.approx(np.sqrt(0.8 * 0.2 / 100), rel=0.02)
    assert grouped.std() == pytest.approx(2 * plain.std(), rel=0.02)
    # the variance of t with 6 degrees of freedom is 6/4 of the normal's, less where an effective n is cut at 1
    assert uncertain.std() == pytest.approx(np.sqrt(6 / 4) * grouped.std(), rel=0.06)
    assert one.calibrated(INDEPENDENT, 20_000, 0) == pytest.approx(np.abs(plain))


def test_ties_count_half() -> None:
    assert mid_p(np.array([0.0, 1.0, 1.0, 2.0]), 1.0) == 0.5


def test_the_interval_holds_the_errors_that_would_show_the_observed_one() -> None:
    one = gaps(0.9, 640, 800)  # accuracy 0.8 where 0.9 is stated
    found = true_error_interval(one, one.calibrated(INDEPENDENT, 2000, 0), effect=INDEPENDENT, seed=0)

    assert found.value == pytest.approx(0.1, abs=0.004)
    for end, tail in ((found.low, 1), (found.high, -1)):
        accuracy = 0.9 - end
        assert (0.1 - end) / np.sqrt(accuracy * (1 - accuracy) / 800) == pytest.approx(1.96 * tail, abs=0.2)


def test_noise_alone_has_no_error_at_its_lower_end() -> None:
    one = gaps(0.9, 89, 100)
    found = true_error_interval(one, one.calibrated(INDEPENDENT, 2000, 0), effect=INDEPENDENT, seed=0)

    assert found.low == 0
    assert 0.05 < found.high < 0.12
    wide = DesignEffect(4.0, 10.0, 25)
    assert true_error_interval(one, one.calibrated(wide, 2000, 0), effect=wide, seed=0).high > 1.5 * found.high
