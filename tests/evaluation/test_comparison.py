"""Comparison of two runs: pairing by content, McNemar by hand, and a verdict that claims no more than it can."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binomtest

from headstart.errors import DataError
from headstart.evaluation.comparison import Outcomes, compare, mcnemar
from headstart.evaluation.intervals import accuracy_over_groups, wilson

CLASSES = ("ant", "bee")


def outcomes(right: Sequence[bool], prefix: str = "k", groups: tuple[str | None, ...] | None = None) -> Outcomes:
    """A run on images k0, k1 … of two classes in turn, right where said."""
    labels = tuple(CLASSES[i % 2] for i in range(len(right)))
    predicted = tuple(CLASSES[(i + (not good)) % 2] for i, good in enumerate(right))
    return Outcomes(tuple(f"{prefix}{i}" for i in range(len(right))), labels, predicted, CLASSES, groups)


def test_mcnemar_by_hand_and_by_the_binomial_test() -> None:
    assert mcnemar(1, 7) == pytest.approx(2 * (1 + 8) / 2**8)
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(4, 4) == 1.0
    for a, b in [(0, 5), (3, 11), (40, 22)]:
        assert mcnemar(a, b) == pytest.approx(binomtest(a, a + b, 0.5).pvalue)


def test_a_clear_difference_is_named_with_its_size() -> None:
    a = outcomes([i >= 30 for i in range(150)])  # wrong on 30
    b = outcomes([i >= 30 or i < 24 for i in range(150)])  # wrong on 6 of these

    found = compare(a, b)

    assert (found.n, found.only_a_right, found.only_b_right, found.left_out) == (150, 0, 24, 0)
    assert (found.a, found.b) == (wilson(120, 150), wilson(144, 150))
    assert found.difference.value == pytest.approx(0.16)
    half = 1.96 * np.sqrt(0.16 * 0.84 / 150)  # closed form of a share that is gained or not
    assert (found.difference.low, found.difference.high) == pytest.approx((0.16 - half, 0.16 + half), abs=0.01)
    assert found.p == pytest.approx(2 / 2**24)
    assert found.verdict.startswith("B is better than A by 16.0 points [")


def test_the_other_way_round_a_is_better_by_as_much() -> None:
    a, b = outcomes([True] * 40), outcomes([i >= 12 for i in range(40)])

    found, turned = compare(a, b), compare(b, a)

    assert found.verdict.startswith("A is better than B by 30.0 points [")
    assert (found.difference.low, found.difference.high) == pytest.approx(
        (-turned.difference.high, -turned.difference.low)
    )


def test_a_small_difference_is_not_claimed() -> None:
    a, b = outcomes([i >= 8 for i in range(153)]), outcomes([i >= 5 for i in range(153)])

    found = compare(a, b)

    assert found.verdict.startswith("No difference that these 153 images can show: B - A is +2.0 points [")
    assert "only A right 0, only B right 3, McNemar p = 0.25" in str(found)


def test_the_interval_alone_does_not_make_a_winner() -> None:
    found = compare(outcomes([i >= 5 for i in range(153)]), outcomes([True] * 153))

    assert found.difference.low > 0
    assert found.p == pytest.approx(2 / 2**5)
    assert not found.is_significant


def test_equal_answers_still_leave_room_for_a_difference() -> None:
    a = outcomes([i >= 2 for i in range(20)])

    found = compare(a, a)

    assert found.difference.value == 0
    assert found.difference.high == wilson(0, 20).high == -found.difference.low
    assert (found.p, found.is_significant) == (1.0, False)


def test_images_pair_by_content_whatever_their_order() -> None:
    rng = np.random.default_rng(0)
    a, b = outcomes((rng.random(60) < 0.8).tolist()), outcomes((rng.random(60) < 0.7).tolist())
    order = rng.permutation(60)
    shuffled = Outcomes(
        *(tuple(values[i] for i in order) for values in (b.keys, b.labels, b.predicted)), ("bee", "ant")
    )

    straight, found = compare(a, b), compare(a, shuffled)

    assert (found.only_a_right, found.only_b_right) == (straight.only_a_right, straight.only_b_right)
    assert found.difference == straight.difference


def test_only_common_images_with_the_same_truth_are_compared() -> None:
    a = Outcomes(("1", "2", "3", "4"), ("ant", "ant", "bee", "bee"), ("ant",) * 4, CLASSES)
    b = Outcomes(("3", "2", "4", "9"), ("bee", "ant", "ant", "bee"), ("bee",) * 4, CLASSES)

    found = compare(a, b)  # 2 and 3 agree; 4 was relabelled; 1 and 9 are in one run only

    assert (found.n, found.only_a_right, found.only_b_right, found.left_out) == (2, 1, 1, 4)
    assert "4 images were not compared" in str(found)


def test_a_repeated_image_pairs_with_its_repetition() -> None:
    a = Outcomes(("x", "x", "y"), ("ant",) * 3, ("ant", "ant", "bee"), CLASSES)
    b = Outcomes(("x", "y", "x"), ("ant",) * 3, ("ant", "ant", "ant"), CLASSES)

    found = compare(a, b)

    assert (found.n, found.only_a_right, found.only_b_right) == (3, 0, 1)


def test_groups_widen_the_difference() -> None:
    rng = np.random.default_rng(1)
    a, b = np.repeat(rng.random(60) < 0.7, 8).tolist(), np.repeat(rng.random(60) < 0.8, 8).tolist()
    groups = tuple(str(i // 8) for i in range(480))

    plain, grouped = compare(outcomes(a), outcomes(b)), compare(outcomes(a, groups=groups), outcomes(b))

    def width(c: object) -> float:
        return c.difference.high - c.difference.low  # type: ignore[attr-defined,no-any-return]

    assert grouped.difference.value == plain.difference.value
    assert width(grouped) / width(plain) == pytest.approx(np.sqrt(8), rel=0.1)
    assert grouped.difference.method == "bootstrap over 60 groups"
    assert compare(outcomes(a), outcomes(b, groups=groups)).difference == grouped.difference


def test_groups_known_to_one_run_follow_their_images() -> None:
    a, b = outcomes([True, False, False, True]), outcomes([True] * 4, groups=("x", "x", "y", "y"))
    turned = Outcomes(a.keys[::-1], a.labels[::-1], a.predicted[::-1], CLASSES)
    halved = Outcomes(b.keys[:3], b.labels[:3], b.predicted[:3], CLASSES, ("x", "x", "y"))

    found = compare(turned, halved)  # images 2, 1, 0 of the first run: B gains 1, 1, 0 in groups y, x, x

    assert found.difference.method == "bootstrap over 2 groups"
    assert (found.difference.low, found.difference.high) == (0.5, 1.0)  # x twice, y twice


def test_without_a_common_image_the_runs_are_not_paired() -> None:
    found = compare(outcomes([i < 48 for i in range(80)]), outcomes([i < 56 for i in range(70)], "other"))

    assert not found.paired
    assert found.p is None
    # Newcombe 1998, table II, method 10: 56/70 - 48/80
    assert (found.difference.low, found.difference.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert found.verdict == "B is better than A by 20.0 points [5.2, 33.4] on 80 and 70 different images."
    assert "The two runs share no test image" in str(found)


def test_without_a_common_image_groups_still_count() -> None:
    groups = tuple(str(i // 10) for i in range(80))
    right = [i // 10 % 3 > 0 for i in range(80)]

    found = compare(outcomes(right, groups=groups), outcomes([True] * 70, "other"))

    assert found.a == accuracy_over_groups(np.array(right), groups)


def test_a_comparison_is_strict_json() -> None:
    for b in (outcomes([True] * 9), outcomes([True] * 9, "other")):
        saved = json.loads(json.dumps(compare(outcomes([False, True] * 4), b).to_dict(), allow_nan=False))

        assert saved["verdict"] == compare(outcomes([False, True] * 4), b).verdict
        assert list(saved["difference"])[:4] == ["value", "low", "high", "n"]


def test_runs_on_other_classes_are_not_compared() -> None:
    a = outcomes([True] * 4)
    b = Outcomes(a.keys, a.labels, a.predicted, ("ant", "bee", "cat"))

    with pytest.raises(DataError, match="the same classes in both runs, found 'cat' in one run only"):
        compare(a, b)


def test_lists_of_unequal_length_are_refused() -> None:
    a = outcomes([True] * 4)

    with pytest.raises(DataError, match=r"one label and one answer for each.*found lengths \[3, 4\] \(run B\)"):
        compare(a, Outcomes(a.keys, a.labels[:3], a.predicted, CLASSES))
    with pytest.raises(DataError, match=r"found lengths \[0\] \(run A\)"):
        compare(Outcomes((), (), (), CLASSES), a)
