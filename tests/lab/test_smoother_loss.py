"""Smoother loss: the theorem in one layer, the ratios, and the start at which the claim fails."""

from __future__ import annotations

import pytest

from headstart.lab import smoother_loss


@pytest.mark.slow
def test_loss_and_gradient_change_less_with_batch_norm() -> None:
    outcome = smoother_loss.run()

    assert outcome.holds, str(outcome)
    plain, normed = outcome.tables[0].rows
    assert plain[1] > 3 * normed[1]  # type: ignore[operator]


@pytest.mark.slow
def test_on_the_plateau_of_small_weights_the_plain_network_is_the_smoother() -> None:
    outcome = smoother_loss.run(init="pytorch", steps=14)

    assert outcome.number("theorem 4.1: squared gradient, relative error").holds
    assert not outcome.holds
