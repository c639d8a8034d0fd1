"""Dropout and batch norm: the measured shift against the closed form, in both orders."""

from __future__ import annotations

import pytest

from headstart.lab import batch_norm_and_dropout


@pytest.mark.slow
def test_the_shift_is_that_of_the_closed_form() -> None:
    outcome = batch_norm_and_dropout.run()

    assert outcome.holds
    assert outcome.number("variance stored after dropout").value == pytest.approx(
        2.25, abs=0.02
    )  # (0.25 + 1)/0.5 - 0.25
    assert outcome.number("variance of the eval outputs after dropout").value == pytest.approx(0.444, abs=0.01)
    assert outcome.number("the same with dropout after the norm").value == pytest.approx(1, abs=0.01)


@pytest.mark.slow
def test_independent_terms_shift_as_much_however_many_are_summed() -> None:
    outcome = batch_norm_and_dropout.run(correlation=0.0, batches=20)

    ratios = [row[1] for row in outcome.tables[0].rows]
    assert ratios == pytest.approx([1 / 2.25] * 5, abs=0.03)


@pytest.mark.slow
def test_equal_terms_shift_less_and_less() -> None:
    outcome = batch_norm_and_dropout.run(mean=0.0, correlation=1.0, batches=20)

    # a sum of d equal terms: variance d², and dropout adds d (1/p - 1)
    assert [row[2] for row in outcome.tables[0].rows] == pytest.approx([d / (d + 1) for d in (1, 4, 16, 64, 256)])
    assert [row[1] for row in outcome.tables[0].rows] == pytest.approx(
        [d / (d + 1) for d in (1, 4, 16, 64, 256)], abs=0.03
    )


def test_without_dropout_nothing_shifts_and_the_claim_fails() -> None:
    harmless = batch_norm_and_dropout.run(keep=1.0, batches=20, draws=500)

    assert not harmless.holds
    assert "distance of the eval variance from 1" in harmless.verdict
