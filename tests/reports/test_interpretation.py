"""The sentences beside the numbers: each caveat when there is reason for it, and only then."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from headstart.evaluation.calibration import measure_calibration
from headstart.evaluation.evaluate import BaselinePredictions
from headstart.evaluation.evaluation import Baseline, Evaluation
from headstart.evaluation.intervals import wilson
from headstart.reports.interpretation import calibration_evidence, calibration_verdict, caveats, ends
from small_evaluations import evaluation


def plain(sentences: list[str]) -> list[str]:
    return [sentence.replace("\xa0", " ") for sentence in sentences]


def without_baselines(**options: object) -> Evaluation:
    return dataclasses.replace(evaluation(**{"leaked": np.zeros(120, np.bool_), **options}), baselines=())


def test_a_clean_evaluation_has_no_caveats() -> None:
    assert caveats(without_baselines()) == []


def test_leaks_are_counted_with_the_accuracy_without_them() -> None:
    e = without_baselines(leaked=np.arange(120) < 3)
    one = without_baselines(leaked=np.arange(120) < 1)
    assert e.without_leaks is not None

    (sentence,) = plain(caveats(e))
    (single,) = plain(caveats(one))

    assert sentence.startswith("3 test images are also in the training set. Accuracy without them: ")
    assert f"{e.without_leaks.value * 100:.1f} % (95 % interval {e.without_leaks.low * 100:.1f} to" in sentence
    assert single.startswith("1 test image is also in the training set. Accuracy without it: ")


def test_leaks_that_were_not_checked_are_a_caveat() -> None:
    e = dataclasses.replace(evaluation(), baselines=())

    assert caveats(e) == ["Not checked: whether test images are also in the training set."]


def test_groups_and_unknown_classes_are_caveats() -> None:
    e = without_baselines(groups=[str(i // 4) for i in range(120)], unknown={"wasp": 1, "fly": 2})
    assert e.accuracy_over_groups is not None

    groups, unknown = plain(caveats(e))

    assert f"interval is {e.accuracy_over_groups.low * 100:.1f} to" in groups
    assert "bootstrap over 30 groups" in groups
    assert unknown == "Not scored, since the training set has no such class: wasp (1 image), fly (2 images)."


@pytest.mark.parametrize(
    ("correct", "words"), [(119, "above the whole interval"), (90, "inside the interval"), (20, None)]
)
def test_a_baseline_is_a_caveat_from_the_lower_end_of_the_interval(correct: int, words: str | None) -> None:
    e = dataclasses.replace(without_baselines(), accuracy=wilson(90, 120))
    e = dataclasses.replace(e, baselines=(Baseline("kNN", wilson(correct, 120), ""),))

    found = plain(caveats(e))

    assert len(found) == (words is not None)
    assert all(f"The baseline kNN reaches {correct / 1.2:.1f} %, {words}" in sentence for sentence in found)


def test_the_best_baseline_is_named() -> None:
    e = evaluation(leaked=np.zeros(120, np.bool_), gap=0.0, baselines={"best": BaselinePredictions(np.arange(120) % 3)})
    best = max(e.baselines, key=lambda one: one.accuracy.value)

    assert f"The baseline {best.name} reaches" in caveats(e)[0]


def calibrated(share: float, confidence: float = 0.8, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Two classes, all predictions with one confidence, a share of them correct."""
    p = np.tile([confidence, 1 - confidence], (n, 1))
    return p, (np.arange(n) >= share * n).astype(np.int64)


@pytest.mark.parametrize(
    ("share", "verdict"),
    [
        (0.8, "No evidence of miscalibration."),
        (0.6, "Miscalibrated: the confidence is 20.0 points too high on average, by more than noise explains."),
        (0.95, "Miscalibrated: the confidence is 15.0 points too low on average, by more than noise explains."),
    ],
)
def test_the_verdict_on_calibration_names_its_direction(share: float, verdict: str) -> None:
    assert calibration_verdict(measure_calibration(*calibrated(share))) == verdict


def test_errors_that_cancel_are_no_direction() -> None:
    high, low = calibrated(0.6), calibrated(1.0, 0.6)  # 20 points too high, 40 too low on half as many
    p, y = np.concatenate([high[0], low[0][:200]]), np.concatenate([high[1], low[1][:200]])

    assert "too high for some images and too low for others" in calibration_verdict(measure_calibration(p, y))


def test_the_evidence_has_the_error_and_that_of_a_perfect_model() -> None:
    found = measure_calibration(*calibrated(0.6))

    text = calibration_evidence(found).replace("\xa0", " ")

    assert f"differ by {found.ece.value * 100:.1f} % on average" in text
    assert f"would show {found.noise_floor.mean * 100:.1f} % on a test set of this size" in text
    assert f"less than {found.noise_floor.high * 100:.1f} % in 95 of 100 cases" in text


def test_the_ends_of_an_interval_stay_on_one_line() -> None:
    interval = wilson(146, 153)

    assert ends(interval) == "90.9\xa0–\xa097.8"
    assert ends(interval, "to") == "90.9\xa0to\xa097.8"
