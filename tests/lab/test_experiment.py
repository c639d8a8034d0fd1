"""Experiment: the verdict follows from the numbers."""

from __future__ import annotations

import math

import pytest
import torch

from headstart.errors import RecipeError
from headstart.inspection.inspection_result import Table
from headstart.lab.experiment import Experiment, Number, numbers, require, seeded


def experiment(*found: Number) -> Experiment:
    return Experiment("identity", "source", {"seed": 1}, numbers=found)


@pytest.mark.parametrize(
    ("number", "holds"),
    [
        (Number("n", 1.05, 1.0, 0.05001), True),
        (Number("n", 1.05, 1.0, 0.04), False),
        (Number("n", 0.95, 1.0, 0.05001), True),
        (Number("n", 3.0, 1.0, relation="≥"), True),
        (Number("n", 0.9, 1.0, 0.2, relation="≥"), True),
        (Number("n", 0.7, 1.0, 0.2, relation="≥"), False),
        (Number("n", -3.0, 1.0, relation="≤"), True),
        (Number("n", 1.1, 1.0, relation="≤"), False),
        (Number("n", math.nan, 1.0, 9.0), False),
        (Number("n", math.inf, 1.0, 9.0), False),
    ],
)
def test_a_number_holds_within_its_tolerance_or_beyond_its_bound(number: Number, holds: bool) -> None:
    assert number.holds is holds
    assert number.to_dict()["holds"] is holds
    assert ("✓" in str(number)) is holds


def test_a_claim_holds_when_all_its_numbers_do() -> None:
    correct, wrong = Number("correct", 1, 1), Number("wrong", 2, 1)

    assert experiment(correct).verdict == "The claim holds."
    assert experiment(correct, wrong).verdict == "The claim does not hold here: wrong."
    assert not experiment().holds  # no number, no claim


def test_printed_numbers_do_not_decide_the_claim() -> None:
    correct, printed = Number("correct", 1, 1), Number("printed", 2, 1, printed=True)

    outcome = experiment(correct, printed)

    assert outcome.holds
    assert not outcome.is_reproduced
    assert outcome.verdict == "The claim holds. 0 of the 1 numbers printed in the source were reproduced."
    assert not experiment(Number("printed", 1, 1, printed=True)).holds


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (Number("n", 0.5655949, 0.5655944, 1e-6), "✓ n: 0.565595, expected = 0.565594 ± 1e-06"),
        (Number("n", 0.25, 1.0, 0.1), "✗ n: 0.2500, expected = 1 ± 0.1"),
        (Number("n", 24.0, 24.0), "✓ n: 24, expected = 24"),
        (Number("n", 2.3e-12, 1e-3, relation="≤"), "✓ n: 2.30e-12, expected ≤ 0.0010"),
        (Number("n", math.nan, 0.5, printed=True), "✗ n: nan, expected = 0.5000 (printed)"),
    ],
)
def test_a_number_has_as_many_decimals_as_its_tolerance_needs(number: Number, shown: str) -> None:
    assert str(number) == shown


def test_a_table_aligns_its_columns() -> None:
    lines = str(Table("title", ("a", "long head"), ((1, 0.5), ("word", 123456.0)))).split("\n")

    assert lines[0] == "title"
    assert len({len(line) for line in lines[1:]}) == 1
    assert lines[2].split() == ["1", "0.5000"]


def test_numbers_for_features_are_counted_from_one_and_must_fit() -> None:
    assert [n.name for n in numbers("mean, feature", [1.0, 2.0], [1.0, 2.0], tolerance=0.1)] == [
        "mean, feature 1",
        "mean, feature 2",
    ]
    with pytest.raises(ValueError):
        numbers("mean", [1.0], [1.0, 2.0], tolerance=0.1)


def test_a_setting_that_does_not_fit_is_named() -> None:
    require(True, "a", found=1, where="depth")
    with pytest.raises(RecipeError, match=r"Expected two, found 1 \(depth\)"):
        require(False, "two", found=1, where="depth")


def test_seeded_seeds_inside_and_restores_the_generators() -> None:
    state = torch.get_rng_state()

    with seeded(5):
        first = torch.rand(3)

    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, torch.rand(3, generator=torch.Generator().manual_seed(5)))
