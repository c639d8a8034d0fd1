"""A bias before batch norm: no effect, no gradient; and both without the norm."""

from __future__ import annotations

from headstart.lab import bias_before_batch_norm


def test_outputs_are_equal_and_no_gradient_arrives() -> None:
    outcome = bias_before_batch_norm.run(spread=10.0)

    assert outcome.holds
    assert outcome.number("largest difference of outputs, training").value < 1e-12
    assert outcome.number("largest gradient of a bias").value < 1e-12
    assert outcome.number("smallest gradient of a filter's weights").value > 1e-2


def test_without_the_norm_the_bias_matters_and_learns_and_the_claim_fails() -> None:
    bare = bias_before_batch_norm.run(norm=False)

    assert not bare.holds
    assert bare.number("largest difference of outputs, training").value > 0.1
    assert bare.number("largest gradient of a bias").value > 1e-3
