"""The sentences beside the numbers: each caveat when there is reason for it, and only then."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from headstart.evaluation.calibration import measure_calibration
from headstart.evaluation.evaluate import BaselinePredictions
from headstart.evaluation.evaluation import Evaluation
from headstart.evaluation.intervals import points, wilson
from headstart.reports.interpretation import calibration_evidence, calibration_verdict, caveats, ends
from small_evaluations import evaluation, predictions


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
    assert "120 images in 30 groups count as" in groups
    assert unknown == "Not scored, since the training set has no such class: wasp (1 image), fly (2 images)."


def test_few_groups_are_a_caveat() -> None:
    found = plain(caveats(without_baselines(groups=[str(i // 20) for i in range(120)])))

    assert (
        "The test images form only 6 groups: all intervals are a rough guide. Test on more independent images." in found
    )


def compared(knn: np.ndarray) -> Evaluation:
    """The evaluation with a baseline that predicts these labels."""
    return evaluation(leaked=np.zeros(120, np.bool_), baselines={"kNN": BaselinePredictions(knn, "")})


def test_a_baseline_is_a_caveat_where_the_paired_test_does_not_show_a_lead() -> None:
    p, y = predictions()
    ours = p.argmax(axis=1)
    wrong = np.flatnonzero(ours != y)
    slightly_worse, much_better = ours.copy(), ours.copy()
    slightly_worse[np.flatnonzero(ours == y)[:2]] = (y[np.flatnonzero(ours == y)[:2]] + 1) % 3
    much_better[wrong[:12]] = y[wrong[:12]]

    (close,) = plain(caveats(compared(slightly_worse)))
    (better,) = plain(caveats(compared(much_better)))

    assert "This test set does not show that the classifier is better (classifier minus baseline +1.7 points [" in close
    assert "p = 0.25, paired test)" in close
    assert "It is better than this classifier (classifier minus baseline -10.0 points [" in better
    assert "Check the training, or use the baseline." in better
    assert caveats(compared((y + (np.arange(120) % 2)) % 3)) == []  # half of it wrong: beaten


def test_a_lead_inside_the_interval_of_the_accuracy_may_be_beyond_doubt_in_pairs() -> None:
    p, y = predictions()
    ours = p.argmax(axis=1)
    knn = ours.copy()
    knn[np.flatnonzero(ours == y)[:7]] = (y[np.flatnonzero(ours == y)[:7]] + 1) % 3  # wrong on seven more, none less

    e = compared(knn)

    assert e.baselines[1].accuracy.value > e.accuracy.low
    assert caveats(e) == []


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


def test_few_images_say_how_far_the_confidence_could_be_off() -> None:
    found = measure_calibration(*calibrated(0.8, n=40))
    assert found.overconfidence is not None

    high, low = found.overconfidence.high * 100, -found.overconfidence.low * 100
    assert calibration_verdict(found) == (
        "Too few images to judge calibration: on average the confidence may be up to "
        f"{high:.1f} points too high or up to {low:.1f} points too low."
    )


def test_errors_that_cancel_are_no_direction() -> None:
    high, low = calibrated(0.6), calibrated(1.0, 0.6)  # 20 points too high, 40 too low on half as many
    p, y = np.concatenate([high[0], low[0][:200]]), np.concatenate([high[1], low[1][:200]])

    assert "too high for some images and too low for others" in calibration_verdict(measure_calibration(p, y))


def test_the_evidence_has_the_error_and_that_of_a_perfect_model() -> None:
    found = measure_calibration(*calibrated(0.6))

    text = calibration_evidence(found).replace("\xa0", " ")

    assert found.plain_ece is not None
    assert found.overconfidence is not None
    assert f"differ by {found.plain_ece * 100:.1f} % on average" in text
    assert f"Without that noise the error is {found.ece.value * 100:.1f} % (95 % interval" in text
    assert f"Mean confidence minus accuracy: {points(found.overconfidence)}" in text
    assert f"would show {found.noise_floor.mean * 100:.1f} % on a test set of this size" in text
    assert f"less than {found.noise_floor.high * 100:.1f} % in 95 of 100 cases" in text


def test_the_ends_of_an_interval_stay_on_one_line() -> None:
    interval = wilson(146, 153)

    assert ends(interval) == "90.9\xa0–\xa097.8"
    assert ends(interval, "to") == "90.9\xa0to\xa097.8"
