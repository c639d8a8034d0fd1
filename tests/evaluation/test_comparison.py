"""Comparison of two runs: pairing by content, intervals by groups, a verdict that claims no more than it can."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.evaluation.comparison import RunPredictions, compare
from headstart.evaluation.evaluate import EvaluatedImages, evaluate_probabilities
from headstart.evaluation.intervals import add_intervals, share_interval, wilson
from headstart.evaluation.paired import mcnemar, paired_difference

CLASSES = ("ant", "bee")


def predictions(
    correct: Sequence[bool], prefix: str = "k", groups: tuple[str | None, ...] | None = None
) -> RunPredictions:
    """A run on images k0, k1 … of two classes in turn, correct where said."""
    labels = tuple(CLASSES[i % 2] for i in range(len(correct)))
    predicted = tuple(CLASSES[(i + (not good)) % 2] for i, good in enumerate(correct))
    keys = tuple(f"{prefix}{i}" for i in range(len(correct)))
    return RunPredictions(keys=keys, labels=labels, predicted=predicted, classes=CLASSES, groups=groups)


def run(keys: str, labels: str, predicted: str) -> RunPredictions:
    """A run on images of one letter each, of the classes ant and bee."""
    names = {"a": "ant", "b": "bee"}
    return RunPredictions(
        keys=tuple(keys),
        labels=tuple(names[letter] for letter in labels),
        predicted=tuple(names[letter] for letter in predicted),
        classes=CLASSES,
    )


def test_a_clear_difference_is_named_with_its_size() -> None:
    a = predictions([i >= 30 for i in range(150)])  # wrong on 30
    b = predictions([i >= 30 or i < 24 for i in range(150)])  # wrong on 6 of these

    found = compare(a, b)

    assert (found.n, found.only_a_correct, found.only_b_correct, found.not_compared) == (150, 0, 24, 0)
    assert (found.a, found.b) == (wilson(120, 150), wilson(144, 150))
    assert found.difference.value == pytest.approx(0.16)
    half = 1.96 * np.sqrt(0.16 * 0.84 / 150)  # closed form of a share that is gained or not
    assert (found.difference.low, found.difference.high) == pytest.approx((0.16 - half, 0.16 + half), abs=0.01)
    assert found.p_value == mcnemar(0, 24) == pytest.approx(1 / 2**24)
    assert found.verdict.startswith("B is better than A by 16.0 points [")


def test_the_other_way_round_a_is_better_by_as_much() -> None:
    a, b = predictions([True] * 40), predictions([i >= 12 for i in range(40)])

    found, turned = compare(a, b), compare(b, a)

    assert found.verdict.startswith("A is better than B by 30.0 points [")
    assert (found.difference.low, found.difference.high) == pytest.approx(
        (-turned.difference.high, -turned.difference.low)
    )


def test_a_small_difference_is_not_claimed() -> None:
    a, b = predictions([i >= 8 for i in range(153)]), predictions([i >= 5 for i in range(153)])

    found = compare(a, b)

    assert found.verdict.startswith("No significant difference on these 153 images: B - A is +2.0 points [")
    assert "only A correct 0, only B correct 3, McNemar: p = 0.125 (mid-p)" in str(found)


def test_the_interval_alone_does_not_make_a_winner() -> None:
    found = compare(predictions([i >= 4 for i in range(153)]), predictions([True] * 153))

    assert found.difference.low > 0
    assert found.p_value == pytest.approx(1 / 2**4)
    assert not found.is_significant


def test_equal_answers_still_leave_room_for_a_difference() -> None:
    a = predictions([i >= 2 for i in range(20)])

    found = compare(a, a)

    assert found.difference.value == 0
    assert found.difference.high == pytest.approx(wilson(0, 20).high)
    assert found.difference.low == pytest.approx(-wilson(0, 20).high)
    assert (found.p_value, found.is_significant) == (1.0, False)


def test_images_pair_by_content_whatever_their_order() -> None:
    rng = np.random.default_rng(0)
    a, b = predictions((rng.random(60) < 0.8).tolist()), predictions((rng.random(60) < 0.7).tolist())
    order = rng.permutation(60)
    shuffled = RunPredictions(
        keys=tuple(b.keys[i] for i in order),
        labels=tuple(b.labels[i] for i in order),
        predicted=tuple(b.predicted[i] for i in order),
        classes=("bee", "ant"),
    )

    straight, found = compare(a, b), compare(a, shuffled)

    assert (found.only_a_correct, found.only_b_correct) == (straight.only_a_correct, straight.only_b_correct)
    assert found.difference == straight.difference


def test_only_common_images_with_the_same_truth_are_compared() -> None:
    a = run("1234", "aabb", "aaaa")
    b = run("3249", "baab", "bbbb")

    found = compare(a, b)  # 2 and 3 agree; 4 was relabelled; 1 and 9 are in one run only

    assert (found.n, found.only_a_correct, found.only_b_correct, found.not_compared) == (2, 1, 1, 4)
    assert "4 images were not compared" in str(found)


def test_a_repeated_image_pairs_with_its_repetition() -> None:
    a = run("xxy", "aaa", "aab")
    b = run("xyx", "aaa", "aaa")

    found = compare(a, b)

    assert (found.n, found.only_a_correct, found.only_b_correct) == (3, 0, 1)


def test_groups_widen_the_difference() -> None:
    rng = np.random.default_rng(1)
    a, b = np.repeat(rng.random(60) < 0.7, 8).tolist(), np.repeat(rng.random(60) < 0.8, 8).tolist()
    groups = tuple(str(i // 8) for i in range(480))

    plain, grouped = compare(predictions(a), predictions(b)), compare(predictions(a, groups=groups), predictions(b))

    def width(c: object) -> float:
        return c.difference.high - c.difference.low  # type: ignore[attr-defined,no-any-return]

    assert grouped.difference.value == plain.difference.value
    assert width(grouped) / width(plain) == pytest.approx(np.sqrt(8), rel=0.1)
    assert grouped.difference.method == "Tango, paired, 480 images in 60 groups count as 60"
    assert "sign flips of 60 groups: p = " in str(grouped)
    assert compare(predictions(a), predictions(b, groups=groups)).difference == grouped.difference


def test_groups_known_to_one_run_follow_their_images() -> None:
    a, b = predictions([True, False, False, True]), predictions([True] * 4, groups=("x", "x", "y", "y"))
    turned = dataclasses.replace(a, keys=a.keys[::-1], labels=a.labels[::-1], predicted=a.predicted[::-1])
    halved = RunPredictions(
        keys=b.keys[:3], labels=b.labels[:3], predicted=b.predicted[:3], classes=CLASSES, groups=("x", "x", "y")
    )

    found = compare(turned, halved)  # images 2, 1, 0 of the first run: B gains 1, 1, 0 in groups y, x, x

    expected = paired_difference([1, 1, 0], ["y", "x", "x"])
    assert (found.difference, found.p_value) == (expected.difference, expected.p_value)
    assert found.groups == 2
    assert "Only 2 groups of images: the intervals are a rough guide." in str(found)


def test_without_a_common_image_the_runs_are_not_paired() -> None:
    found = compare(predictions([i < 48 for i in range(80)]), predictions([i < 56 for i in range(70)], "other"))

    assert not found.paired
    assert found.p_value is None
    # Newcombe 1998, table II, method 10: 56/70 - 48/80
    assert (found.difference.low, found.difference.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert found.verdict == "B is better than A by 20.0 points [5.2, 33.4] on 80 and 70 different images."
    assert "The two runs share no test image" in str(found)


def test_without_a_common_image_groups_still_count() -> None:
    groups = tuple(str(i // 10) for i in range(80))
    correct = [i // 10 % 3 > 0 for i in range(80)]

    found = compare(predictions(correct, groups=groups), predictions([True] * 70, "other"))

    assert found.a == wilson(sum(correct), 80)
    assert found.a_over_groups == share_interval(np.array(correct), groups)
    assert found.b_over_groups is None
    assert found.difference == add_intervals([found.b, found.a_over_groups], [1, -1], "Newcombe, different images")


@pytest.mark.parametrize("other", ["same images", "other images"])
@pytest.mark.parametrize("size", [1, 5])
def test_a_run_has_the_intervals_of_its_own_report(other: str, size: int) -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 60)
    predicted = np.where(rng.random(60) < 0.85, y, 1 - y)
    groups = [str(i // size) for i in range(60)]
    images = EvaluatedImages(labels=y, classes=CLASSES, names=[f"{i}" for i in range(60)], groups=groups)
    reported = evaluate_probabilities(np.eye(2)[predicted], images, seed=7)
    mine = RunPredictions(
        keys=tuple(f"k{i}" for i in range(60)),
        labels=tuple(CLASSES[i] for i in y),
        predicted=tuple(CLASSES[i] for i in predicted),
        classes=CLASSES,
        groups=tuple(groups),
    )
    order = rng.permutation(60)
    theirs = RunPredictions(
        keys=tuple(f"{'k' if other == 'same images' else 'o'}{i}" for i in order),
        labels=tuple(CLASSES[y[i]] for i in order),
        predicted=tuple(CLASSES[y[i]] for i in order),
        classes=CLASSES,
    )

    as_a, as_b = compare(mine, theirs), compare(theirs, mine)

    assert as_a.paired == (other == "same images")
    assert as_a.a == as_b.b == reported.accuracy
    assert as_a.a_over_groups == as_b.b_over_groups == reported.accuracy_over_groups
    assert (reported.accuracy_over_groups is None) == (size == 1)
    if as_a.paired:
        gain = np.ones(60, np.int64) - (predicted == y)
        assert as_a.difference == paired_difference(gain, groups if size > 1 else None).difference
    else:
        assert as_a.difference.method == "Newcombe, different images"
    assert str(reported.accuracy) in str(as_a)


def test_a_comparison_is_strict_json() -> None:
    for b in (predictions([True] * 9), predictions([True] * 9, "other")):
        saved = json.loads(json.dumps(compare(predictions([False, True] * 4), b).to_dict(), allow_nan=False))

        assert saved["verdict"] == compare(predictions([False, True] * 4), b).verdict
        assert list(saved["difference"])[:4] == ["value", "low", "high", "n"]


def test_runs_on_other_classes_are_not_compared() -> None:
    a = predictions([True] * 4)
    b = dataclasses.replace(a, classes=("ant", "bee", "cat"))

    with pytest.raises(DataError, match="the same classes in both runs, found 'cat' in one run only"):
        compare(a, b)


def test_lists_of_unequal_length_are_refused() -> None:
    a = predictions([True] * 4)

    with pytest.raises(DataError, match=r"one label and one prediction for each.*found lengths \[3, 4\] \(run B\)"):
        compare(a, dataclasses.replace(a, labels=a.labels[:3]))
    with pytest.raises(DataError, match=r"found no test image \(run A\)"):
        compare(run("", "", ""), a)
