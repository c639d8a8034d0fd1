"""Placement: equivalent in shallow networks; a margin of zero is never met."""

from __future__ import annotations

import pytest

from headstart.lab import batch_norm_placement


@pytest.mark.slow
def test_the_place_matters_only_in_deep_networks() -> None:
    outcome = batch_norm_placement.run(seeds=8)

    assert outcome.holds, str(outcome)
    assert "before is better" in outcome.interpretation[2]


def test_without_a_margin_and_without_training_the_claim_fails() -> None:
    outcome = batch_norm_placement.run(seeds=2, depths=(1, 2, 3), steps=2, margin=0.0)

    assert not outcome.holds
    assert len(outcome.tables[0].rows) == 3
