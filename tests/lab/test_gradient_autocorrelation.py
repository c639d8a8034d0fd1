"""Shattered gradients: order of the networks, closed form of one layer, and settings under which nothing shatters."""

from __future__ import annotations

import pytest

from headstart.lab import gradient_autocorrelation as lab


@pytest.mark.slow
def test_deep_plain_gradients_are_noise_and_residual_ones_are_not() -> None:
    outcome = lab.run(seeds=4)

    assert outcome.holds
    lag_5 = {row[0]: row[2] for row in outcome.tables[0].rows}
    assert lag_5["24 plain layers"] < lag_5["50 residual, branch × 0.1"] < lag_5["1 plain layer"]


def test_one_layer_has_the_cosines_of_the_closed_form() -> None:
    assert lab._pair_cosine(0.0, 400, seed=3) == pytest.approx(1 / 2, abs=0.02)
    assert lab._pair_cosine(1.0, 400, seed=3) == pytest.approx(3 / 4, abs=0.02)


@pytest.mark.parametrize("change", [{"plain_depth": 1}, {"norm": False}])
def test_gradients_of_a_shallow_network_or_without_norm_do_not_shatter_and_the_claim_fails(
    change: dict[str, object],
) -> None:
    outcome = lab.run(seeds=3, residual_depth=4, width=100, **change)  # type: ignore[arg-type]

    assert not outcome.holds
    assert "plain, lag 5" in outcome.verdict
