"""Dropout with batch norm: the claim does not come out, and the verdict says so."""

from __future__ import annotations

import pytest

from headstart.lab import dropout_with_batch_norm


@pytest.mark.slow
def test_dropout_helps_a_network_with_batch_norm_and_the_claim_fails() -> None:
    outcome = dropout_with_batch_norm.run()

    assert not outcome.holds
    assert "gain by dropout, with minus without batch norm" in outcome.verdict
    accuracy = {row[0]: row[1] for row in outcome.tables[0].rows}
    assert accuracy["both"] > accuracy["dropout"] > accuracy["neither"]  # type: ignore[operator]
    assert outcome.number("with both, test loss once the statistics are taken again").holds


def test_without_batch_norm_there_are_no_statistics_to_take_again() -> None:
    rows = {row[0]: row for row in dropout_with_batch_norm.run(seeds=2, steps=2, points=64).tables[0].rows}

    assert rows["neither"][2] == rows["neither"][3]
    assert rows["batch norm"][2] != rows["batch norm"][3]
