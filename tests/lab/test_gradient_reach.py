"""How far gradients reach: the factors per layer against their closed form."""

from __future__ import annotations

import pytest

from headstart.lab import gradient_reach


def test_the_factors_are_those_of_the_closed_form() -> None:
    outcome = gradient_reach.run()

    assert outcome.holds
    assert outcome.number("factor of one plain layer").value == pytest.approx(6**-0.5, abs=0.01)
    assert outcome.number("factor of one residual layer").value == pytest.approx((7 / 6) ** 0.5, abs=0.01)
    assert outcome.number("share of the gradient at the first plain layer").value < 1e-10


def test_he_initialisation_keeps_the_gradient_of_the_plain_stack_and_the_claim_fails() -> None:
    he = gradient_reach.run(init="he", seeds=3)

    assert not he.holds
    assert he.number("factor of one plain layer").value == pytest.approx(1, abs=0.02)
    assert he.number("factor of one residual layer").value == pytest.approx(2**0.5, abs=0.02)
    assert "first plain layer" in he.verdict


def test_in_a_shallow_stack_enough_gradient_reaches_the_first_layer() -> None:
    assert not gradient_reach.run(depth=3).holds
