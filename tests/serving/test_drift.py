"""FeatureDrift: by hand, against simulation, and the same from one process as from several."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.serving.drift import WINDOW, FeatureDrift, RecentMean, TrainingMean, measure_drift


def unit(rng: np.random.Generator, count: int, width: int = 20, shift: float = 0.0) -> np.ndarray:
    rows = rng.normal(size=(count, width)) + 1
    rows[:, 0] += shift
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def followed(rows: np.ndarray) -> RecentMean:
    drift = FeatureDrift(rows.shape[1])
    for row in rows:
        drift.add(row)
    return drift.recent


def test_the_first_images_have_their_plain_mean_and_later_ones_fade() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    recent = followed(rows)

    assert recent.mean == pytest.approx(rows.mean(axis=0))
    assert recent.squares == pytest.approx(1 / 3)

    long = followed(np.repeat([[1.0, 0.0], [0.0, 1.0]], [WINDOW, 5 * WINDOW], axis=0))
    share = 1 / WINDOW
    assert long.mean[0] == pytest.approx((1 - share) ** (5 * WINDOW))
    weights = share * (1 - share) ** np.arange(5 * WINDOW)
    assert long.squares == pytest.approx((weights**2).sum(), rel=1e-3)  # the first 500 have faded


def test_two_means_by_hand() -> None:
    training = TrainingMean(np.array([0.6, 0.0]), images=4)
    drift = measure_drift(training, [RecentMean(np.array([0.6, 0.4]), 2, 0.5)])

    assert training.spread == pytest.approx(0.8)
    assert drift is not None
    assert (drift.value, drift.images) == (pytest.approx(0.5), 2)
    assert drift.noise == pytest.approx(np.sqrt(1 / 2 + 1 / 4))


def test_the_noise_is_what_images_like_the_training_images_show() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        training = unit(rng, 100)
        mean = TrainingMean(training.mean(axis=0), 100)
        drift = measure_drift(mean, [followed(unit(rng, 60))])
        assert drift is not None
        found.append(drift.value)
        noise = drift.noise
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(noise, rel=0.05)

    shifted = measure_drift(mean, [followed(unit(rng, 60, shift=3.0))])
    assert shifted is not None
    assert shifted.value > 3 * shifted.noise


def test_several_processes_are_as_one() -> None:
    rows = unit(np.random.default_rng(1), 90)
    training = TrainingMean(rows[:50].mean(axis=0), 50)

    together, apart = (
        measure_drift(training, [followed(rows)]),
        measure_drift(training, [followed(rows[:30]), followed(rows[30:]), followed(rows[:0])]),
    )

    assert together is not None
    assert apart is not None
    assert apart.value == pytest.approx(together.value)
    assert apart.noise == pytest.approx(together.noise)


def test_without_images_or_spread_there_is_no_drift() -> None:
    training = TrainingMean(np.array([1.0, 0.0]), 3)
    assert measure_drift(TrainingMean(np.array([0.5, 0.0]), 3), []) is None
    assert measure_drift(training, [RecentMean(np.array([1.0, 0.0]), 1, 1.0)]) is None
