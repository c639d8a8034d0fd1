"""Temperature, calibration errors and the noise floor against literal loops, finite differences and known truths."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binom

from headstart.errors import DataError
from headstart.evaluation import calibration
from headstart.evaluation.calibration import (
    Calibration,
    adaptive_calibration_error,
    ece_noise_floor,
    expected_calibration_error,
    fit_temperature,
    measure_calibration,
    reliability_bins,
    softmax,
)
from headstart.evaluation.intervals import wilson


def drawn(n: int, classes: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels for which softmax(logits / temperature) is the truth."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.normal(size=(n, classes))
    steps = softmax(logits, temperature).cumsum(axis=1)
    return logits, np.minimum((rng.random((n, 1)) > steps).sum(axis=1), classes - 1)


def test_soft_targets_recover_the_temperature_exactly() -> None:
    logits, _ = drawn(200, 4, 1.0)

    for truth in (0.3, 1.0, 1.7, 12.0):
        assert calibration._fit(logits, softmax(logits, truth)).value == pytest.approx(truth, rel=1e-9)


def test_sampled_labels_recover_the_temperature_within_six_percent() -> None:
    found = fit_temperature(*drawn(5000, 5, 1.7))

    assert found.value == pytest.approx(1.7, rel=0.06)
    assert not found.at_bound
    assert found.n == 5000


def test_no_other_temperature_is_more_likely() -> None:
    logits, labels = drawn(300, 3, 2.5, seed=4)
    eps = 1 / 302
    targets = np.where(np.eye(3)[labels] == 1, 1 - eps, eps / 2)

    def loss(temperature: float) -> float:
        return float(-(targets * np.log(softmax(logits, temperature))).sum(axis=1).mean())

    found = fit_temperature(logits, labels)
    searched = minimize_scalar(loss, bounds=(0.5, 10), method="bounded", options={"xatol": 1e-9})

    assert found.value == pytest.approx(searched.x, rel=1e-6)
    assert (loss(found.value + 1e-4) - loss(found.value - 1e-4)) / 2e-4 == pytest.approx(0, abs=1e-7)
    assert found.nll == pytest.approx(loss(found.value))
    assert found.nll_before == pytest.approx(loss(1.0))
    assert found.nll <= found.nll_before


@pytest.mark.parametrize("factor", [1e-6, 0.37, 8.0, 1e5])
def test_logits_times_c_give_temperature_times_c(factor: float) -> None:
    logits, labels = drawn(150, 3, 1.4)

    assert fit_temperature(factor * logits, labels).value == pytest.approx(
        factor * fit_temperature(logits, labels).value, rel=1e-9
    )


def test_adding_a_number_to_all_logits_of_an_image_changes_nothing() -> None:
    logits, labels = drawn(150, 3, 1.4)
    shift = np.random.default_rng(1).normal(size=(150, 1)) * 20

    assert fit_temperature(logits + shift, labels).value == pytest.approx(
        fit_temperature(logits, labels).value, rel=1e-9
    )


def test_the_answer_never_changes() -> None:
    logits, labels = drawn(150, 6, 4.0)
    found = fit_temperature(logits, labels)

    assert (softmax(logits, found.value).argmax(axis=1) == logits.argmax(axis=1)).all()


def test_scores_that_are_all_correct_stay_short_of_certainty() -> None:
    labels = np.arange(90) % 3
    logits = np.eye(3)[labels] * 0.2 - 0.05  # right by a small margin, always

    found = fit_temperature(logits, labels)
    confidence = softmax(logits, found.value).max(axis=1)

    assert not found.at_bound
    assert confidence == pytest.approx(np.full(90, 1 - 1 / 92), abs=1e-9)  # one imagined mistake among N + 2


def test_scores_that_mislead_end_at_the_bound_and_say_so() -> None:
    logits, labels = drawn(100, 2, 1.0)

    found = fit_temperature(-5 * logits, labels)

    assert found.at_bound
    assert softmax(-5 * logits, found.value).max() < 0.51


def test_logits_that_say_nothing_leave_the_temperature_at_one() -> None:
    found = fit_temperature(np.full((10, 4), 2.0), np.zeros(10, np.int64))

    assert (found.value, found.at_bound) == (1.0, True)
    assert found.nll == pytest.approx(math.log(4))


def test_softmax_survives_large_logits() -> None:
    assert softmax([[1e4, 0.0, -1e4]]).tolist() == [[1.0, 0.0, 0.0]]
    assert softmax([[2.0, 0.0]], 2.0)[0, 0] == pytest.approx(1 / (1 + math.exp(-1)))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_a_temperature_that_is_none_is_refused(temperature: float) -> None:
    with pytest.raises(DataError, match="a positive, finite temperature"):
        softmax([[1.0, 2.0]], temperature)


def test_bad_logits_are_refused() -> None:
    with pytest.raises(DataError, match=r"finite logits N×C.*found shape \(1, 2\), 1 not finite"):
        fit_temperature([[math.inf, 0.0]], [0])
    with pytest.raises(DataError, match="labels from 0 to 1, found labels from 3"):
        fit_temperature([[1.0, 0.0]], [3])


def literal_error(p: np.ndarray, y: np.ndarray, edges: np.ndarray) -> float:
    """Expected calibration error as the paper's formula reads, one image at a time."""
    total = 0.0
    for low, high in pairwise(edges):
        inside = [i for i in range(len(y)) if low < p[i].max() <= high or (low == edges[0] and p[i].max() == low)]
        if inside:
            confidence = sum(p[i].max() for i in inside) / len(inside)
            correct = sum(p[i].argmax() == y[i] for i in inside) / len(inside)
            total += len(inside) / len(y) * abs(correct - confidence)
    return total


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_calibration_errors_equal_the_literal_loop(bins: int) -> None:
    logits, y = drawn(257, 3, 2.0)
    p = softmax(logits)
    masses = np.quantile(p.max(axis=1), np.linspace(0, 1, bins + 1))

    assert expected_calibration_error(p, y, bins) == pytest.approx(literal_error(p, y, np.linspace(0, 1, bins + 1)))
    assert adaptive_calibration_error(p, y, bins) == pytest.approx(literal_error(p, y, masses))


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    p = np.array([[0.6, 0.4], [0.8, 0.2]])

    found = reliability_bins(p, [0, 1], bins=5)

    assert [(round(b.low, 9), round(b.high, 9), b.count, b.confidence) for b in found] == [
        (0.4, 0.6, 1, 0.6),
        (0.6, 0.8, 1, 0.8),
    ]


def test_equal_confidences_give_the_adaptive_error_in_any_order() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.choice([0.6, 0.7, 0.9], size=60)
    p, y = np.stack([confidence, 1 - confidence], axis=1), rng.integers(0, 2, 60)
    order = rng.permutation(60)

    assert adaptive_calibration_error(p, y) == pytest.approx(adaptive_calibration_error(p[order], y[order]))


def test_reliability_bins_hold_every_image_and_give_back_the_error() -> None:
    logits, y = drawn(400, 4, 2.0)
    p = softmax(logits)

    bins = reliability_bins(p, y)

    assert sum(one.count for one in bins) == 400
    for one in bins:
        assert one.low < one.confidence <= one.high
        assert one.accuracy == wilson(round(one.accuracy.value * one.count), one.count)
    total = sum(one.count / 400 * abs(one.accuracy.value - one.confidence) for one in bins)
    assert total == pytest.approx(expected_calibration_error(p, y))


@pytest.mark.parametrize(
    ("n", "mean", "high"), [(100, 0.074, 0.109), (153, 0.060, 0.087), (372, 0.039, 0.058), (1000, 0.024, 0.034)]
)
def test_the_noise_floor_has_the_known_size(n: int, mean: float, high: float) -> None:
    # the floors come from an earlier, separate computation whose confidences are not on record; this density, rising
    # linearly from 0.5 to 1 as for a good two-class model, gives all four
    confidences = 0.5 + 0.5 * np.sqrt((np.arange(n) + 0.5) / n)

    found = ece_noise_floor(confidences)

    assert found.mean == pytest.approx(mean, rel=0.05)
    assert found.high == pytest.approx(high, rel=0.08)


def test_a_single_bin_has_the_noise_floor_of_a_coin() -> None:
    found = ece_noise_floor(np.full(400, 0.5), repeats=4000)

    assert found.mean == pytest.approx(math.sqrt(2 / math.pi) * 0.5 / 20, rel=0.05)  # E|normal|
    assert found.high == pytest.approx(1.96 * 0.5 / 20, rel=0.05)
    assert found == ece_noise_floor(np.full(400, 0.5), repeats=4000)


def certain(confidence: float, correct: int, n: int) -> Calibration:
    """All predictions with one confidence, so many of them correct."""
    return measure_calibration(
        np.tile([confidence, 1 - confidence], (n, 1)), (np.arange(n) >= correct).astype(np.int64)
    )


@pytest.mark.slow
def test_a_perfect_model_stays_within_the_noise_and_a_boastful_one_does_not() -> None:
    beyond = 0
    for seed in range(20):
        logits, y = drawn(300, 3, 1.0, seed)
        beyond += measure_calibration(softmax(logits), y).is_miscalibrated
        assert measure_calibration(softmax(logits, 0.3), y).is_miscalibrated
    assert beyond <= 4  # 1 in 20 expected


@pytest.mark.parametrize(("correct", "n"), [(24, 30), (27, 30), (30, 30), (70, 76), (380, 400)])
def test_the_p_value_is_that_of_the_binomial_test_where_all_are_equally_confident(correct: int, n: int) -> None:
    chances = binom.pmf(np.arange(n + 1), n, 0.8)
    far = np.abs(np.arange(n + 1) / n - 0.8)
    observed = abs(correct / n - 0.8)
    expected = chances[far > observed + 1e-9].sum() + chances[np.abs(far - observed) < 1e-9].sum() / 2

    found = certain(0.8, correct, n)

    assert found.p_value == pytest.approx(min(1.0, 2 * expected), abs=0.04)  # of 2,000 draws, two looks


def test_overconfidence_of_few_images_is_found_where_it_is_large() -> None:
    found = certain(0.758, 50, 75)  # 75.8 % stated, 66.7 % correct: 1.8 standard errors of a perfect model
    assert not found.is_miscalibrated
    assert not found.is_precise

    found = certain(0.758, 150, 225)  # the same on three times as many: z = 3.2
    assert found.overconfidence is not None
    assert found.overconfidence.value == pytest.approx(0.758 - 2 / 3)
    assert found.is_miscalibrated


def test_overconfidence_has_the_interval_of_the_accuracy_where_all_are_equally_confident() -> None:
    found = certain(0.9, 54, 60).overconfidence
    assert found is not None
    share = wilson(54, 60)

    assert found.value == pytest.approx(0, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((0.9 - share.high, 0.9 - share.low))


def test_confidence_that_knows_the_answer_makes_the_overconfidence_more_certain() -> None:
    correct = np.arange(200) % 4 > 0
    knowing, ignorant = np.where(correct, 0.85, 0.55), np.full(200, 0.775)

    def width(confidence: np.ndarray) -> float:
        p = np.stack([confidence, 1 - confidence], axis=1)
        found = measure_calibration(p, (~correct).astype(np.int64)).overconfidence
        assert found is not None
        assert found.value == pytest.approx(0.025)
        return found.high - found.low

    # gaps of 0.15 and 0.55 in place of 0.225 and 0.775: their deviation is 0.70 of the other
    assert width(knowing) / width(ignorant) == pytest.approx(0.70, abs=0.03)


def test_an_error_of_nothing_is_zero_and_stays_uncertain() -> None:
    confidence = np.repeat([0.55, 0.75, 0.95], 100)
    y = np.tile(np.arange(100), 3) >= np.repeat([55, 75, 95], 100)  # correct exactly as often as said

    found = measure_calibration(np.stack([confidence, 1 - confidence], axis=1), y.astype(np.int64))

    assert found.plain_ece == pytest.approx(0, abs=1e-12)
    assert found.ece.low == found.ece.value == 0
    assert 0.03 < found.ece.high < 0.08


@pytest.mark.slow
def test_the_error_without_its_noise_is_below_the_plain_one_and_in_its_interval() -> None:
    for seed in range(10):
        logits, y = drawn(153, 4, 1.0, seed)

        found = measure_calibration(softmax(logits), y)

        assert found.plain_ece == pytest.approx(expected_calibration_error(softmax(logits), y))
        assert 0 <= found.ece.low <= found.ece.value < found.ece.high <= 1
        assert found.plain_ece is not None
        assert found.ece.value < found.plain_ece


def test_the_error_of_many_images_is_the_plain_one() -> None:
    found = certain(0.9, 16_000, 20_000)

    assert found.ece.value == pytest.approx(0.1, abs=0.002)
    # one bin: the interval is that of the accuracy
    assert (found.ece.low, found.ece.high) == pytest.approx((0.1 - 0.0055, 0.1 + 0.0055), abs=0.0012)


def test_groups_widen_what_is_said_of_calibration() -> None:
    logits, y = (np.repeat(one, 9, axis=0) for one in drawn(60, 3, 0.4))
    groups = np.repeat(np.arange(60), 9).tolist()

    plain, grouped = measure_calibration(softmax(logits), y), measure_calibration(softmax(logits), y, groups=groups)
    alone = measure_calibration(softmax(logits[::9]), y[::9])

    assert grouped.plain_ece == plain.plain_ece
    assert grouped.noise_floor.mean == pytest.approx(alone.noise_floor.mean, rel=0.05)  # copies tell nothing new
    assert grouped.ece.high - grouped.ece.value > 2 * (plain.ece.high - plain.ece.value)
    assert grouped.ece.method.endswith("540 images in 60 groups count as 60")


def test_the_groups_that_it_names_are_those_that_were_given() -> None:
    confident, doubtful = [0.97, 0.03], [0.6, 0.4]  # of each group one in either bin
    calibration = measure_calibration(
        np.array([confident, doubtful] * 6), np.array([0, 0, 0, 1] * 3), groups=[*"aabbccddeeff"]
    )

    assert "12 images in 6 groups" in calibration.ece.method


def test_all_correct_is_not_certainty() -> None:
    found = certain(0.97, 40, 40)
    assert found.ece.low == 0
    assert found.ece.high > 0.05  # an accuracy of 92 % is all correct on 40 images in 1 of 28 cases

    labels = np.repeat([0, 1], [19, 1])  # one burst of 20, of which 19 are correct: a single draw
    sure = np.tile([0.9, 0.1], (20, 1))
    grouped = measure_calibration(sure, labels, groups=["burst"] * 20)
    assert grouped.overconfidence is not None
    assert grouped.overconfidence.high - grouped.overconfidence.low > 0.5
    assert not grouped.is_precise


@pytest.mark.slow
def test_a_temperature_from_few_images_is_shrunk_and_one_from_many_is_not() -> None:
    for n, least, most in ((23, 1.3, 2.6), (20_000, 3.8, 4.2)):
        logits, labels = drawn(n, 4, 4.0, seed=2)
        assert least < fit_temperature(logits, labels, shrink=0.5).value < most

    logits, labels = drawn(60, 4, 4.0, seed=2)
    eps = 1 / 62
    targets = np.where(np.eye(4)[labels] == 1, 1 - eps, eps / 3)

    def posterior(log_temperature: float) -> float:
        likelihood = (targets * np.log(softmax(logits, math.exp(log_temperature)))).sum()
        return float(log_temperature**2 / (2 * 0.5**2) - likelihood)

    found = fit_temperature(logits, labels, shrink=0.5)
    searched = minimize_scalar(posterior, bounds=(-1, 2), method="bounded", options={"xatol": 1e-9})
    assert math.log(found.value) == pytest.approx(searched.x, abs=1e-6)
    for end in (found.low, found.high):
        assert 2 * (posterior(math.log(end)) - posterior(searched.x)) == pytest.approx(3.841459, abs=1e-4)


def test_the_interval_of_a_temperature_narrows_with_the_root_of_n() -> None:
    spans = []
    for n in (500, 8000):
        found = fit_temperature(*drawn(n, 3, 2.0))
        assert found.low < 2.0 < found.high
        spans.append(math.log(found.high / found.low))
    assert spans[0] / spans[1] == pytest.approx(4, rel=0.15)


def test_logits_that_say_nothing_bound_no_temperature() -> None:
    found = fit_temperature(np.full((10, 4), 2.0), np.zeros(10, np.int64))
    assert (found.low, found.high) == (0.0, math.inf)
    assert "the scores say nothing about the classes" in str(found)


def test_confidences_out_of_range_are_refused() -> None:
    with pytest.raises(DataError, match=r"one or more confidences in \[0, 1\], found \[0.5 1.5\]"):
        ece_noise_floor([0.5, 1.5])
