"""Vanishing gradients: the two factors against their closed forms, and what is learned."""

from __future__ import annotations

import math

import pytest

from headstart.lab import vanishing_gradients


@pytest.mark.slow
def test_the_factors_are_those_of_the_closed_forms() -> None:
    outcome = vanishing_gradients.run(seeds=2, steps=1, depth=1)

    assert outcome.number("factor of one plain layer").value == pytest.approx(1 / math.sqrt(6), abs=0.01)
    assert outcome.number("factor of one layer with batch norm").value == pytest.approx(1.2112, abs=0.02)
    assert not outcome.holds  # after one step nothing is learned


@pytest.mark.slow
def test_twelve_layers_learn_with_batch_norm_alone_and_twenty_learn_less() -> None:
    outcome = vanishing_gradients.run()

    assert outcome.holds, str(outcome)
    assert "change the test accuracy by -0." in outcome.interpretation[1]
