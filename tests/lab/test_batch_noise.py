"""Batch noise: its size against the closed form; with less noise the claim finds nothing."""

from __future__ import annotations

import pytest

from headstart.lab import batch_noise


@pytest.mark.slow
def test_the_noise_has_the_size_of_the_closed_form() -> None:
    outcome = batch_noise.run(seeds=2, steps=1)

    # (1 - mean) / deviation: variance 1/n of the mean, 1/(2n) of the deviation at the value 1
    assert outcome.number("noise of a value among 1024, times √1024").value == pytest.approx(1.5**0.5, rel=0.03)
    assert len(outcome.tables[0].rows) == 3


@pytest.mark.slow
def test_few_points_fit_less_and_predict_with_a_lower_loss() -> None:
    outcome = batch_noise.run()

    assert outcome.holds, str(outcome)
    assert "No effect on test accuracy" in outcome.interpretation[1]
