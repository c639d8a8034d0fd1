"""Debiased CKA: the estimator against its literal forms, its invariances, and that unrelated features are unrelated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ortho_group

from headstart.inspection.features.cka import cka, cka_with_error, gram, hsic
from reference.cka import hsic_by_matrices, hsic_by_tuples


def drawn(n: int, d: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) + 3.0


def raw_gram(x: np.ndarray) -> np.ndarray:
    products = x @ x.T
    np.fill_diagonal(products, 0)
    return products


def test_hsic_is_the_sum_over_distinct_indices_and_the_formula():
    x, y = drawn(7, 3, 0), drawn(7, 5, 1)
    ours = hsic(gram(x), gram(y))
    assert ours == pytest.approx(hsic_by_tuples(raw_gram(x), raw_gram(y)))  # centring changes nothing
    assert ours == pytest.approx(hsic_by_matrices(gram(x), gram(y)))


def test_hsic_is_unbiased_for_unrelated_features():
    values = [hsic(gram(drawn(12, 4, 2 * s)), gram(drawn(12, 4, 2 * s + 1))) for s in range(400)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 20


def test_unrelated_features_are_unrelated_where_the_biased_form_says_they_are_similar():
    x, y = drawn(100, 512, 0), drawn(100, 512, 1)
    xc, yc = x - x.mean(0), y - y.mean(0)
    biased = np.square(yc.T @ xc).sum() / (np.linalg.norm(xc.T @ xc) * np.linalg.norm(yc.T @ yc))
    assert biased == pytest.approx(0.84, abs=0.01)
    assert abs(cka(gram(x), gram(y))) < 0.06


def test_it_knows_features_again_after_rotation_and_scaling_but_not_after_any_linear_map():
    x = drawn(60, 8, 0) * np.arange(1, 9)
    turned = 7.0 * x @ ortho_group.rvs(8, random_state=0) + 2.0
    assert cka(gram(x), gram(x)) == 1.0
    assert cka(gram(x), gram(turned)) == pytest.approx(1.0, abs=1e-10)
    assert cka(gram(x), gram(x / np.arange(1, 9) ** 2)) < 0.9


def test_features_that_never_differ_have_no_likeness():
    assert np.isnan(cka(gram(np.ones((9, 3))), gram(drawn(9, 3, 0))))


@pytest.mark.slow
def test_the_error_is_that_of_fresh_samples():
    def pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
        x = drawn(80, 6, seed)
        return x, x + 1.5 * np.random.default_rng(1000 + seed).normal(size=x.shape)

    fresh = [cka(gram(x), gram(y)) for x, y in map(pair, range(200))]
    errors = [cka_with_error(*pair(seed))[1] for seed in range(20)]
    assert np.mean(errors) == pytest.approx(np.std(fresh), rel=0.25)
    assert np.isnan(cka_with_error(drawn(6, 3, 0), drawn(6, 3, 1))[1])
