"""Forecasts of learning curves whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.advice.curve_fit import forecast

SIZES = np.array([25.0, 50, 100, 200, 400])


def samples(truth: np.ndarray, *, n: int = 400, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.vstack([truth, *(rng.binomial(n, truth) / n for _ in range(200))])


@pytest.mark.parametrize(("floor", "exponent"), [(0.0, 0.5), (0.05, 0.5), (0.02, 1.0)])
def test_a_power_law_measured_without_noise_is_continued(floor: float, exponent: float) -> None:
    def error(n: np.ndarray) -> np.ndarray:
        return floor + 2 * n**-exponent

    exact = np.vstack([error(SIZES)] * 40)
    found = forecast(SIZES, exact, [800, 1600])
    truth = error(np.array([800.0, 1600.0]))
    assert [one.error for one in found] == pytest.approx(truth.tolist(), abs=0.003)


def test_the_band_widens_with_the_distance_and_holds_the_forecast() -> None:
    near, far = forecast(SIZES, samples(0.1 + SIZES**-0.5), [600, 1600])
    assert far.high - far.low > near.high - near.low
    for one in (near, far):
        assert 0 <= one.low <= one.error <= one.high <= 1


def test_a_flat_curve_stays_flat_and_no_forecast_rises() -> None:
    (flat,) = forecast(SIZES, samples(np.full(5, 0.3)), [1600])
    assert flat.error == pytest.approx(0.3, abs=0.02)
    (rising,) = forecast(SIZES, samples(np.linspace(0.2, 0.4, 5)), [1600])
    assert rising.error < 0.4


def test_the_same_seed_gives_the_same_band() -> None:
    made = samples(0.1 + SIZES**-0.5)
    assert forecast(SIZES, made, [800], seed=1) == forecast(SIZES, made, [800], seed=1)
