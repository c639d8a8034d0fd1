"""Batch norm in two dimensions: 0 and 0.9999 for every channel, and why not 1."""

from __future__ import annotations

import pytest

from headstart.lab import batch_norm_2d


def test_every_channel_has_the_printed_mean_and_variance() -> None:
    outcome = batch_norm_2d.run()

    assert outcome.holds
    assert outcome.is_reproduced
    for channel in (1, 2, 3):
        assert outcome.number(f"mean after it, channel {channel}").value == pytest.approx(0, abs=1e-6)
        assert round(outcome.number(f"biased variance as printed, channel {channel}").value, 4) == 0.9999


def test_the_difference_to_one_is_eps_over_a_twelfth() -> None:
    variance = batch_norm_2d.run(images=2000, batch_size=2000).number("biased variance is near 1, channel 1").value

    assert 1 - variance == pytest.approx(12e-5, rel=0.05)  # uniform numbers have variance 1/12


def test_with_a_large_eps_the_formula_holds_and_the_claim_does_not() -> None:
    changed = batch_norm_2d.run(eps=0.1)

    assert not changed.holds
    assert changed.number("biased variance against v/(v + eps), channel 2").holds
    assert not changed.number("biased variance is near 1, channel 2").holds
