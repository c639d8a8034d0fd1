"""Learning the identity: the printed numbers are reproduced, and what the claim rests on is measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.lab import identity
from headstart.lab.experiment import Experiment


@pytest.fixture(scope="module")
def outcome() -> Experiment:
    return identity.run()


@pytest.mark.slow
def test_the_first_five_rows_of_both_tables_are_those_of_the_chapter(outcome: Experiment) -> None:
    plain, residual = (np.array(table.rows, dtype=float) for table in outcome.tables)

    x = [-0.9012059, 0.56559485, -0.48822638, 0.75069577, 0.58925384]
    assert plain[:, 0] == pytest.approx(x, abs=1e-6)
    assert plain[:, 1] == pytest.approx([0.0, 0.56559485, 0.0, 0.7506957, 0.58925384], abs=1e-6)
    assert residual == pytest.approx(np.column_stack([x, x]), abs=1e-6)


@pytest.mark.slow
def test_weight_bias_and_largest_point_are_those_of_the_chapter(outcome: Experiment) -> None:
    found = {name: round(outcome.number(name).value, 4) for name in ("weight", "bias", "largest point")}

    assert found == {"weight": 0.1490, "bias": -0.3329, "largest point": 2.2347}
    assert outcome.holds
    assert outcome.is_reproduced


@pytest.mark.slow
def test_the_points_are_those_that_a_plain_generator_draws(outcome: Experiment) -> None:
    points = torch.randn((100, 1), generator=torch.Generator().manual_seed(23))

    assert outcome.number("largest point").value == pytest.approx(float(points.max()))
    error = outcome.number("plain unit: largest error, at the smallest point")
    assert error.value == pytest.approx(-float(points.min()), abs=1e-5)


@pytest.mark.slow
def test_in_full_precision_the_relu_is_slightly_active_at_the_largest_point(outcome: Experiment) -> None:
    weight, bias, most = (outcome.number(name).value for name in ("weight", "bias", "largest point"))

    assert 0 < most - -bias / weight < 1e-4
    relu = outcome.number("residual unit: largest output of its ReLU")
    assert relu.value == pytest.approx(weight * most + bias, abs=1e-7)  # of float32
    assert "below the largest point" in outcome.interpretation[0]


def test_after_a_short_training_the_claim_fails() -> None:
    short = identity.run(plain_epochs=5, residual_epochs=5)

    assert not short.holds
    assert "does not hold" in short.verdict
    assert "residual unit: largest error" in short.verdict


@pytest.mark.slow
def test_with_other_points_the_claim_holds_but_the_printed_numbers_are_not_reproduced() -> None:
    other = identity.run(points_seed=7, plain_epochs=20, residual_epochs=200)

    assert other.holds
    assert not other.is_reproduced
