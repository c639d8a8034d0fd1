"""Evaluation: the table, strict JSON and back, and evaluations that version 0.1 wrote."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.errors import RunError, shown
from headstart.evaluation.evaluate import evaluate_probabilities
from headstart.evaluation.evaluation import Baseline, Evaluation, HeldOutAccuracy
from headstart.evaluation.intervals import Interval, wilson
from small_evaluations import evaluation, images


@pytest.mark.slow
@pytest.mark.parametrize("missing", [False, True])
def test_an_evaluation_survives_strict_json(missing: bool) -> None:
    if missing:  # one class without test images, never answered: nan everywhere it can be
        e = evaluate_probabilities(np.eye(3)[[0, 1, 1]], images([0, 1, 0]))
    else:
        held_out = HeldOutAccuracy(wilson(200, 240), "240 training images, leaving out one image at a time")
        e = evaluation(
            leaked=np.arange(120) < 9,
            groups=[str(i // 2) for i in range(120)],
            unknown={"dog": 2},
            held_out=held_out,
        )

    text = json.dumps(e.to_dict(), allow_nan=False)

    assert Evaluation.from_dict(json.loads(text)) == e
    assert Evaluation.from_dict(json.loads(text)) != evaluation(100)


def test_the_first_key_is_accuracy_and_baselines_come_later() -> None:
    saved = evaluation().to_dict()

    assert next(iter(saved)) == "accuracy"
    assert list(saved["accuracy"])[:4] == ["value", "low", "high", "n"]
    assert list(saved)[1:8] == [
        "accuracy_over_groups",
        "balanced_accuracy",
        "macro_f1",
        "worst_class",
        "per_class",
        "calibration",
        "baselines",
    ]


def test_a_damaged_evaluation_is_refused() -> None:
    saved = evaluation().to_dict()
    del saved["macro_f1"]

    with pytest.raises(RunError, match="an evaluation as headstart writes it, found no macro_f1"):
        Evaluation.from_dict(saved)
    with pytest.raises(RunError, match="unexpected keyword"):
        Evaluation.from_dict({**evaluation().to_dict(), "speed": 1})


def test_the_table_has_a_row_for_each_number() -> None:
    e = evaluation(train_counts=[5, 1, 1], leaked=np.arange(120) < 7, unknown={"wa\x1b[31msp": 3})

    lines = str(e).splitlines()

    assert lines[0].split("  ")[0] == "accuracy"
    assert str(e.accuracy) in lines[0]
    assert any(
        line.startswith("  without leaks") and "7 test images are also in the training set" in line for line in lines
    )
    assert any(line.startswith("baseline majority") and str(e.baselines[0].accuracy) in line for line in lines)
    assert any(line.startswith(f"worst class {e.worst_class.name}") for line in lines)
    assert any("classifier minus baseline +" in line and "p = " in line for line in lines)
    assert any(line.startswith("overconfidence") and "mean confidence minus accuracy" in line for line in lines)
    assert any(line.startswith("calibration error") and "a perfectly calibrated model" in line for line in lines)
    assert "unknown class wa\\x1b[31msp" in str(e)
    assert "\x1b" not in str(e)


def test_the_held_out_accuracy_is_shown_beside_the_test() -> None:
    held_out = HeldOutAccuracy(wilson(200, 240), "240 training images, leaving out one image at a time")

    lines = str(evaluation(held_out=held_out)).splitlines()

    (line,) = [line for line in lines if line.startswith("  held out")]
    assert str(wilson(200, 240)) in line
    assert "240 training images, leaving out one image at a time; not the test images" in line


def test_a_test_below_the_held_out_images_is_said_with_newcombe_s_interval() -> None:
    """The second example of Newcombe 1998, Table II: 56 of 70 against 48 of 80, 0.20 [0.0524, 0.3339]."""
    e = evaluate_probabilities(np.eye(3)[[0] * 48 + [1] * 32], images([0] * 80))
    worse = dataclasses.replace(e, held_out=HeldOutAccuracy(wilson(56, 70), "70 training images"))
    gap = worse.minus_held_out
    assert gap is not None
    assert (gap.value, gap.low, gap.high) == pytest.approx((-0.2, -0.3339, -0.0524), abs=5e-5)
    assert worse.is_below_held_out
    assert "test minus held out -20.0 points [-33.4, -5.2]" in str(worse)
    equal = dataclasses.replace(e, held_out=HeldOutAccuracy(wilson(42, 70), "70 training images"))
    assert not equal.is_below_held_out
    assert "minus held out" not in str(equal)
    assert e.minus_held_out is None


def test_few_groups_are_said() -> None:
    assert "fewer than 10 groups" in str(evaluation(groups=[str(i // 20) for i in range(120)]))
    assert "fewer than 10 groups" not in str(evaluation(groups=[str(i // 4) for i in range(120)]))


@pytest.mark.parametrize(
    ("low", "p_value", "beaten"), [(0.01, 0.03, True), (0.01, 0.06, False), (-0.01, 0.03, False), (-0.2, 0.001, False)]
)
def test_a_baseline_is_beaten_where_interval_and_test_agree(low: float, p_value: float, beaten: bool) -> None:
    difference = Interval(low + 0.05, low, low + 0.1, 100, "Tango, paired")

    assert Baseline("kNN", wilson(80, 100), "", difference, p_value).is_beaten is beaten


def test_names_of_any_language_are_shown_as_they_are() -> None:
    assert shown("Ämeise 蚂蚁 [bold]") == "Ämeise 蚂蚁 [bold]"
    assert shown("a\nb\x00\u202e") == "a\\nb\\x00\\u202e"


def test_an_evaluation_of_version_0_1_still_opens() -> None:
    saved = json.loads(Path(__file__).with_name("evaluation_0.1.json").read_text(encoding="utf-8"))

    e = Evaluation.from_dict(saved)

    assert (e.accuracy.value, e.accuracy.n) == (10 / 12, 12)
    assert e.correct == 10
    assert e.accuracy_over_groups is not None
    assert e.accuracy_over_groups.method == "bootstrap over 6 groups"
    assert [one.is_beaten for one in e.baselines] == [None, None]
    assert (e.calibration.overconfidence, e.calibration.is_precise) == (None, True)
    assert [one.name for one in e.baselines] == ["majority", "kNN"]
    assert (e.leaked, e.unknown, e.classes) == (2, {"wasp": 2}, ("ant", "bee", "cat", "dog"))
    assert [one.name for one in e.mistakes] == [one["name"] for one in saved["mistakes"]]
    again = e.to_dict()
    assert {key: again[key] for key in saved} == {
        **saved,
        "baselines": {name: {**one, "difference": None, "p_value": None} for name, one in saved["baselines"].items()},
        "calibration": {**saved["calibration"], "plain_ece": None, "overconfidence": None, "p_value": None},
    }
    assert Evaluation.from_dict(again) == e


def test_the_confusion_matrix_is_an_array_with_the_true_classes_as_rows() -> None:
    measured = evaluate_probabilities(np.eye(3)[[0, 1, 1, 2, 0]], images([0, 1, 0, 2, 2]))
    matrix = measured.confusion_matrix()
    assert matrix.dtype == np.int64
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert matrix.trace() == measured.correct == 3


@pytest.mark.parametrize(
    ("way", "value", "said"),
    [
        (("accuracy", "value"), 7.0, "accuracy is 7.0"),
        (("accuracy", "value"), -1.0, "accuracy is -1.0"),
        (("balanced_accuracy", "low"), 0.99999, "balanced_accuracy is"),
        (("accuracy", "n"), -1, "n is -1, not a number of images"),
        (("classes",), ["a", "a"], "2 different classes"),
        (("classes",), ["a"], "1 different classes"),
        (("confusion",), [[1], [2, 3], [4]], "3 different classes"),
        (("confusion",), [[1, -1, 0], [2, 3, 0], [0, 0, 9]], "count is -1, not a number of images"),
        (("worst_class", "name"), "zebra", "the worst class is 'zebra'"),
        (("worst_class",), None, "NoneType"),
        (("worst_class", "support"), 99, "the worst class has 99 images"),
        (("accuracy", "n"), 99, "accuracy is .* of 99 images"),
        (("accuracy", "value"), 0.88, "are correct"),
        (("per_class", 0, "support"), 7, "other numbers of images"),
        (("per_class", 0, "f1"), -0.1, "f1 is -0.1"),
        (("groups",), 10**6, "images or groups"),
        (("macro_f1", "n"), 10**6, "images or groups"),
        (("calibration", "nll"), -2.0, "nll is -2.0"),
        (("baselines", "majority", "difference", "low"), -7.0, "difference is"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(way: tuple[str | int, ...], value: object, said: str) -> None:
    plain = evaluation().to_dict()
    place: Any = plain
    for key in way[:-1]:
        place = place[key]
    place[way[-1]] = value
    with pytest.raises(RunError, match=said):
        Evaluation.from_dict(plain)
