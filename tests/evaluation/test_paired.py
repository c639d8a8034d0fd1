"""Paired differences: Tango's interval against a search for the likelihood, the test against all sign flips."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binom, norm

from headstart.evaluation.intervals import wilson
from headstart.evaluation.paired import mcnemar, paired_difference, sign_flip_test, tango

Z = norm.ppf(0.975)


def score(won: int, lost: int, n: int, delta: float) -> float:
    """Tango's statistic with the likelihood maximised by search: P(lost) = q, P(won) = q + delta."""

    def loss(q: float) -> float:
        return float(-(won * np.log(q + delta) + lost * np.log(q) + (n - won - lost) * np.log(1 - 2 * q - delta)))

    bounds = (max(1e-12, 1e-12 - delta), (1 - delta) / 2 - 1e-12)
    q = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    return float((won - lost - n * delta) / np.sqrt(n * (2 * q + delta * (1 - delta))))


@pytest.mark.parametrize(("won", "lost", "n"), [(1, 7, 60), (12, 3, 153), (5, 5, 40), (30, 9, 76)])
def test_tangos_ends_are_where_the_score_test_just_rejects(won: int, lost: int, n: int) -> None:
    low, high = tango(won, lost, n=n, z=Z)

    assert score(won, lost, n, low) == pytest.approx(Z, abs=1e-4)
    assert score(won, lost, n, high) == pytest.approx(-Z, abs=1e-4)
    turned = tango(lost, won, n=n, z=Z)
    assert (low, high) == pytest.approx((-turned[1], -turned[0]), abs=1e-9)


def test_equal_answers_leave_as_much_room_as_none_of_n() -> None:
    reach = wilson(0, 40).high

    assert tango(0, 0, n=40, z=Z) == pytest.approx((-reach, reach), abs=1e-6)
    assert paired_difference(np.zeros(40)).difference.value == 0


@pytest.mark.parametrize(("won", "lost"), [(3, 0), (0, 5), (40, 0)])
def test_a_gain_on_every_image_reaches_the_edge(won: int, lost: int) -> None:
    low, high = tango(won, lost, n=won + lost, z=Z)

    assert -1 <= low < high <= 1
    assert (high if won else low) == pytest.approx(1 if won else -1, abs=1e-6)


def test_the_sign_flip_test_equals_all_sign_flips() -> None:
    for d in ([3, -1, 2, 2, -5, 1, 4], [1, 1, 1, 0, 0, -1], [7], [2, -2], [0, 0]):
        sums = np.array([abs(np.dot(signs, d)) for signs in product((-1, 1), repeat=len(d))])
        observed = abs(sum(d))

        expected = (sums > observed).mean() + (sums == observed).mean() / (2 if observed else 1)

        assert sign_flip_test(d) == pytest.approx(expected)


def test_mcnemar_is_the_binomial_tail_with_its_own_probability_counted_half() -> None:
    assert mcnemar(1, 7) == pytest.approx(2 * (1 + 8 / 2) / 2**8)
    assert mcnemar(0, 0) == mcnemar(4, 4) == 1.0
    for a, b in [(0, 5), (3, 11), (40, 22), (900, 1010)]:
        less, equal = binom.cdf(min(a, b) - 1, a + b, 0.5), binom.pmf(min(a, b), a + b, 0.5)
        assert mcnemar(a, b) == mcnemar(b, a) == pytest.approx(2 * less + equal, rel=1e-9)


def test_groups_change_sign_together_and_widen_the_interval() -> None:
    gain = np.repeat([1, 0, 0, -1, 1, 1, 0, 1, 0, 1], 8)
    groups = np.repeat(np.arange(10), 8).tolist()

    plain, grouped = paired_difference(gain), paired_difference(gain, groups)

    assert plain.p_value == pytest.approx(mcnemar(8, 40))
    assert grouped.p_value == pytest.approx(mcnemar(1, 5))  # ten groups, each of one mind
    assert grouped.difference.value == plain.difference.value
    ratio = (grouped.difference.high - grouped.difference.low) / (plain.difference.high - plain.difference.low)
    assert ratio == pytest.approx(np.sqrt(8), rel=0.2)
    assert plain.is_significant
    assert not grouped.is_significant


def test_many_images_are_tested_at_once() -> None:
    rng = np.random.default_rng(0)
    gain = rng.choice([-1, 0, 1], 30_000, p=[0.05, 0.89, 0.06])
    found = paired_difference(gain, (np.arange(30_000) // 7).tolist())
    sums = np.add.reduceat(gain, np.arange(0, 30_000, 7))
    z = abs(sums.sum()) / np.sqrt((sums**2).sum())
    assert found.p_value == pytest.approx(2 * norm.sf(z), rel=0.05)
