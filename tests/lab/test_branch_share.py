"""The share of a branch: 1/√(l + 1) with a norm, 1/√2 in every block without."""

from __future__ import annotations

import pytest

from headstart.lab import branch_share


@pytest.mark.slow
def test_the_shares_are_those_of_the_formula() -> None:
    outcome = branch_share.run()

    assert outcome.holds
    shares = [outcome.number(f"share of block {block}").value for block in (1, 2, 4, 8, 16, 32)]
    assert shares == pytest.approx([0.707, 0.577, 0.447, 0.333, 0.243, 0.174], abs=0.02)
    variances = [row[3] for row in outcome.tables[0].rows]
    assert variances == pytest.approx([2, 3, 5, 9, 17, 33], rel=0.05)


def test_without_a_norm_every_block_doubles_the_variance_and_the_claim_fails() -> None:
    bare = branch_share.run(norm=False, depth=8)

    assert not bare.holds
    assert bare.number("share of block 8").value == pytest.approx(2**-0.5, abs=0.05)
