"""Frozen is not frozen: hashes before and after, with requires_grad=False and with headstart.freeze."""

from __future__ import annotations

import pytest

from headstart.lab import frozen_is_not_frozen
from headstart.lab.experiment import Experiment


@pytest.fixture(scope="module")
def outcome() -> Experiment:
    return frozen_is_not_frozen.run(epochs=2)


@pytest.mark.slow
def test_without_gradients_all_statistics_drift_and_no_parameter_does(outcome: Experiment) -> None:
    usual, kept = outcome.tables[0].rows

    assert usual[3:] == (0, 24)  # 12 batch norms, mean and variance each
    assert usual[1] != usual[2]
    assert kept[3:] == (0, 0)
    assert kept[1] == kept[2] == usual[1]
    assert outcome.holds


def test_features_of_the_same_images_move_only_where_statistics_drift(outcome: Experiment) -> None:
    assert outcome.number("requires_grad=False: largest change of a feature in standard deviations").value > 0.1
    assert outcome.number("headstart.freeze: largest change of a feature").value == 0
    assert outcome.number("headstart.freeze: largest change of a weight of the head").value > 1e-4


@pytest.mark.slow
def test_without_training_nothing_drifts_and_the_claim_fails() -> None:
    still = frozen_is_not_frozen.run(epochs=0)

    assert not still.holds
    assert "requires_grad=False: statistics that changed" in still.verdict
