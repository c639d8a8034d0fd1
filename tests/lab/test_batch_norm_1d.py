"""Batch norm in one dimension: printed numbers, the statistics against numpy, and the chapter's error."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.lab import batch_norm_1d
from headstart.lab.experiment import Experiment


@pytest.fixture(scope="module")
def outcome() -> Experiment:
    return batch_norm_1d.run()


def pair(outcome: Experiment, name: str) -> list[float]:
    return [round(outcome.number(f"{name}, feature {i}").value, 4) for i in (1, 2)]


def test_the_numbers_of_the_chapter_are_reproduced(outcome: Experiment) -> None:
    assert pair(outcome, "third batch in eval mode: mean") == [0.1350, 0.1450]
    assert pair(outcome, "third batch in eval mode: variance") == [1.0134, 1.2981]
    assert pair(outcome, "the same mean as printed") == [-0.0228, -0.0212]
    assert pair(outcome, "the same variance as printed") == [1.2743, 1.3761]
    assert outcome.holds
    assert outcome.is_reproduced


def test_the_error_of_the_chapter_is_shown_beside_the_correct_value(outcome: Experiment) -> None:
    assert pair(outcome, "the chapter's check by hand (an error)") == [0.8772, 0.8788]
    assert pair(outcome, "stored mean, with momentum") == [-0.0228, -0.0212]
    assert outcome.number("what the error adds to the correct mean").value == pytest.approx(0.9, abs=1e-6)
    assert "The rule is correct, the chapter is not" in outcome.interpretation[1]


def test_the_batches_are_those_that_a_shuffled_loader_draws_after_points_and_labels(outcome: Experiment) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(23)
        points = (torch.randn((200, 2)) + torch.randn((200, 2)) * 2).numpy().astype(np.float64)
        torch.randint(2, (200, 1))
        torch.empty((), dtype=torch.int64).random_()  # the loader's seed of its workers
        order = torch.Generator().manual_seed(int(torch.empty((), dtype=torch.int64).random_()))
        order_of_points = torch.randperm(200, generator=order).numpy()
    first = points[order_of_points[:64]]

    row = outcome.tables[0].rows[0]
    assert row[2:4] == pytest.approx(first.mean(0), abs=1e-5)
    assert row[4:6] == pytest.approx(first.var(0), abs=1e-5)
    assert row[6:8] == pytest.approx(first.var(0, ddof=1), abs=1e-5)
    assert pair(outcome, "stored variance, with momentum") == [round(0.9 + 0.1 * v, 4) for v in first.var(0, ddof=1)]


def test_with_a_large_eps_the_batch_is_not_standardised() -> None:
    changed = batch_norm_1d.run(eps=1.0)

    assert not changed.holds
    assert "its biased variance, feature 1" in changed.verdict


def test_with_another_momentum_the_rule_holds_but_not_the_printed_numbers() -> None:
    changed = batch_norm_1d.run(momentum=0.5)

    assert changed.holds
    assert not changed.is_reproduced
    assert changed.number("what the error adds to the correct mean").value == pytest.approx(0.5, abs=1e-6)
