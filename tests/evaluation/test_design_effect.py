"""Design effects against closed forms, a literal jackknife, and groups that say nothing new."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from headstart.errors import DataError
from headstart.evaluation.design_effect import (
    INDEPENDENT,
    DesignEffect,
    count_groups,
    design_effect,
    groups_of,
    shared_groups,
)


def test_copies_of_an_image_count_as_one() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.random(200) < 0.7, 6).astype(float)

    found = design_effect(values, np.repeat(np.arange(200), 6).tolist())

    assert found.factor == pytest.approx(6, rel=0.01)
    assert (found.groups, found.df > 100) == (200, True)


def test_the_variance_is_that_of_a_literal_jackknife_over_groups() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(12), rng.integers(1, 9, 12))
    values = (rng.random(12)[groups] + 0.3 * rng.random(len(groups)) > 0.6).astype(float)
    n = len(values)
    left_out = np.array([values[groups != g].mean() for g in range(12)])
    jackknife = 11 / 12 * ((left_out - values.mean()) ** 2).sum()

    found = design_effect(values, groups.tolist())

    assert found.factor == pytest.approx(jackknife / (values.var(ddof=1) / n))


def test_errors_of_one_group_have_few_degrees_of_freedom() -> None:
    groups = np.repeat(np.arange(20), 8).tolist()
    shared, alone = np.ones(160), np.ones(160)
    shared[::16] = 0  # one error in every other group
    alone[:10] = 0  # all of them in two groups

    assert design_effect(shared, groups) == DesignEffect(1.0, np.inf, 20)  # spread more evenly than by chance
    found = design_effect(alone, groups)
    assert 1 < found.df < 4
    assert found.quantile(0.95) == pytest.approx(t.ppf(0.975, found.df))


def test_where_nothing_varies_images_of_a_group_stand_or_fall_together() -> None:
    found = design_effect(np.ones(30), ["a"] * 20 + ["b"] * 10)

    assert found.factor == pytest.approx((20**2 + 10**2) / 30)
    assert found.quantile(0.95) == pytest.approx(1.959964, abs=1e-6)
    assert design_effect(np.arange(5.0), ["a"] * 5).factor == 5


def test_independent_images_have_the_normal_quantile_and_a_plain_name() -> None:
    assert design_effect(np.arange(9.0), None) is INDEPENDENT
    assert INDEPENDENT.quantile(0.99) == pytest.approx(2.575829, abs=1e-6)
    assert INDEPENDENT.named("Wilson", 9) == "Wilson"
    assert DesignEffect(2.0, 9.0, 12).named("Wilson", 40) == "Wilson, 40 images in 12 groups count as 20"
    few = DesignEffect(1.0, 2.07, 30).named("Wilson", 90)
    assert few == "Wilson, 90 images in 30 groups count as 90, Student's t with 2 degrees of freedom"


def test_an_impossible_confidence_is_refused() -> None:
    with pytest.raises(DataError, match="a confidence between 0 and 1, found 95"):
        INDEPENDENT.quantile(95)


def test_groups_are_counted_and_chosen() -> None:
    groups = ["x", None, "y", "x", None, "x", "y"]

    assert count_groups(groups) == 4
    assert groups_of(groups, np.array([True, False, True, False, True, False, False])) == ["x", "y", None]
    assert groups_of(None, np.ones(3, np.bool_)) is None
    assert shared_groups(groups) is groups
    assert shared_groups([None, None, "x"]) is None
