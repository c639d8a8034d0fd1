"""The inception module: the paper's own counts for 3a."""

from __future__ import annotations

from headstart.lab import inception_module


def test_weights_and_multiply_adds_are_those_of_table_1() -> None:
    outcome = inception_module.run()

    assert outcome.holds
    assert outcome.is_reproduced
    by_hand = 192 * 64 + (192 * 96 + 9 * 96 * 128) + (192 * 16 + 25 * 16 * 32) + 192 * 32
    spent = {row[0]: (row[1], row[2]) for row in outcome.tables[0].rows}
    assert sum(with_reductions for with_reductions, _ in spent.values()) == by_hand * 28 * 28 / 1e6
    assert spent["five"] == ((192 * 16 + 25 * 16 * 32) * 784 / 1e6, 25 * 192 * 32 * 784 / 1e6)
    assert "387,072" in outcome.interpretation[0]


def test_wide_reductions_save_nothing_and_the_claim_fails() -> None:
    wide = inception_module.run(reduced=(192, 192), side=7)

    assert not wide.holds
    assert "multiply-adds relative to the plain module" in wide.verdict
