"""What to improve next: only what the numbers say, with a command that can be typed."""

from __future__ import annotations

import dataclasses
import shlex

import numpy as np
import pytest

from headstart.backbones.catalogue import find_spec
from headstart.data.finding import Finding
from headstart.evaluation.evaluate import evaluate_probabilities
from headstart.evaluation.evaluation import Evaluation, HeldOutAccuracy
from headstart.evaluation.intervals import Interval, wilson
from headstart.reports.next_steps import NextStep, next_steps
from small_evaluations import CLASSES, images

EMBEDDED, LITE = find_spec("embedded"), find_spec("efficientnet_lite0")


def answers(correct: dict[str, tuple[int, int]], confidence: float = 0.8) -> Evaluation:
    """Class → (correct, test images); every answer has this confidence."""
    rows, labels = [], []
    for number, name in enumerate(CLASSES):
        right, total = correct[name]
        for k in range(total):
            row = np.full(3, (1 - confidence) / 2)
            row[number if k < right else (number + 1) % 3] = confidence
            rows.append(row)
            labels.append(number)
    return evaluate_probabilities(np.array(rows), images(labels))


def steps(evaluation: Evaluation, findings: tuple[Finding, ...] = (), **options: object) -> list[NextStep]:
    given = {"source": "my photos", "train_counts": {"cat": 12}, "backbone": LITE, "others": (EMBEDDED, LITE)}
    return next_steps(evaluation, findings, **{**given, **options})  # type: ignore[arg-type]


def test_a_test_below_the_held_out_images_is_the_first_thing_to_look_at() -> None:
    tested = answers(dict.fromkeys(CLASSES, (160, 200)))
    worse = dataclasses.replace(tested, held_out=HeldOutAccuracy(wilson(576, 600), "600 training images"))
    assert "differ from the training images: their accuracy is 16.0 points" in steps(worse)[0].text
    as_good = dataclasses.replace(tested, held_out=HeldOutAccuracy(wilson(490, 600), "600 training images"))
    assert not any("differ from the training" in step.text for step in steps(as_good))


def test_a_good_classifier_on_many_images_needs_nothing() -> None:
    assert steps(answers({"ant": (395, 400), "bee": (396, 400), "cat": (394, 400)})) == []


def test_the_worst_class_is_named_only_if_its_interval_lies_below_the_accuracy() -> None:
    (low,) = steps(answers({"ant": (390, 400), "bee": (390, 400), "cat": (200, 400)}))
    noise = steps(answers({"ant": (19, 20), "bee": (19, 20), "cat": (17, 20)}))

    assert "Add images of cat: its recall is 50.0" in low.text
    assert "12 training images" in low.text
    assert not any("Add images" in one.text for one in noise)
    assert any("Test on more images: with 60 test images" in one.text for one in noise)


def test_images_are_asked_for_only_where_the_second_half_gained_beyond_doubt() -> None:
    good = answers({"ant": (395, 400), "bee": (396, 400), "cat": (394, 400)})
    gain = Interval(0.03, 0.01, 0.05, 400, method="")

    (more,) = steps(good, second_half=gain, run="my runs/one")
    (other,) = steps(good, second_half=dataclasses.replace(gain, low=-0.01), run="my runs/one")

    assert "Add images: the second half of the training images gained +3.0 points [+1.0, +5.0]" in more.text
    assert shlex.split(more.command) == ["headstart", "advise", "more", "my runs/one"]
    assert "rather than add more" in other.text
    assert shlex.split(other.command) == ["headstart", "advise", "my photos"]


@pytest.mark.parametrize(("confidence", "expected"), [(0.85, False), (0.95, True)])
def test_labels_are_to_be_checked_where_mistakes_are_confident(confidence: float, expected: bool) -> None:
    found = steps(answers({"ant": (395, 400), "bee": (396, 400), "cat": (394, 400)}, confidence))

    assert [one.text.startswith("Check labels") for one in found] == [True] * expected
    if expected:
        assert "15 mistakes at a confidence of 90.0" in found[0].text
        assert shlex.split(found[0].command) == ["headstart", "show", "my photos"]


def test_labels_of_a_run_are_checked_by_its_review() -> None:
    (step,) = steps(answers({"ant": (395, 400), "bee": (396, 400), "cat": (394, 400)}, 0.95), run="my runs/one")

    assert shlex.split(step.command) == ["headstart", "review", "my runs/one"]


def test_pictures_with_two_labels_are_counted() -> None:
    finding = Finding("two-labels", "problem", "2 pictures", groups=(("a.jpg", "b.jpg"), ("c.jpg", "d.jpg")))

    (step,) = steps(answers({"ant": (395, 400), "bee": (396, 400), "cat": (394, 400)}), (finding,))

    assert step.text == "Check labels: 2 pictures have two labels."


def test_a_backbone_is_suggested_by_measured_accuracy_alone() -> None:
    good = answers({"ant": (395, 400), "bee": (396, 400), "cat": (394, 400)})

    (step,) = steps(good, backbone=EMBEDDED)
    unmeasured = steps(good, backbone=dataclasses.replace(EMBEDDED, accuracy=0.0))

    assert shlex.split(step.command) == ["headstart", "train", "my photos", "--backbone", "efficientnet_lite0"]
    assert f"{LITE.accuracy:.1%}".rstrip("%") in step.text
    assert f"{EMBEDDED.accuracy:.1%}".rstrip("%") in step.text
    assert unmeasured == []
