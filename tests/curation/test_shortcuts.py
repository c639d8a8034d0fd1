"""Shortcuts: what separates the classes without the subject raises an alarm, chance and weak hints do not."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.curation.shortcuts import (
    ClassifierAccuracy,
    Shortcut,
    balanced_accuracy,
    chosen_rows,
    find_shortcuts,
    shortcut_finding,
)

LABELS = np.arange(120) % 2
SIX = np.arange(240) % 6


def full(accuracy: float, classes: int = 2) -> ClassifierAccuracy:
    return ClassifierAccuracy(accuracy, np.full(classes, (1 + accuracy) / 2 if classes > 2 else accuracy))


def looked(
    families: dict[str, np.ndarray], labels: np.ndarray, groups: np.ndarray, accuracy: float, permutations: int = 200
) -> tuple[Shortcut, ...]:
    names = [f"class {c}" for c in range(int(labels.max()) + 1)]
    own = full(accuracy, len(names))
    return find_shortcuts(families, labels, groups, full=own, classes=names, permutations=permutations)


def noise(seed: int, width: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(120, width))


@pytest.mark.slow
def test_a_descriptor_that_gives_the_class_away_is_an_alarm_in_twenty_of_twenty_draws() -> None:
    for seed in range(20):
        x = noise(seed)
        x[:, 3] += 4 * LABELS
        found = looked({"border": x}, LABELS, np.arange(120), 0.95, permutations=100)
        assert found[0].is_alarm
        assert found[0].limit == pytest.approx(0.725)


@pytest.mark.slow
def test_noise_is_no_alarm_in_twenty_of_twenty_draws() -> None:
    for seed in range(20):
        found = looked({"a": noise(seed), "b": noise(100 + seed)}, LABELS, np.arange(120), 0.6)
        assert not any(one.is_alarm for one in found)


def test_a_hint_that_reaches_less_than_half_the_way_is_no_alarm() -> None:
    x = noise(0)
    x[:, 3] += 0.9 * LABELS
    (found,) = looked({"metadata": x}, LABELS, np.arange(120), 1.0)
    assert 0.5 < found.accuracy.value < 0.8
    assert not found.is_alarm


@pytest.mark.slow
def test_images_of_one_group_do_not_vouch_for_each_other() -> None:
    groups = np.arange(120) // 10 * 2 + LABELS  # five images of one class each
    x = np.eye(24)[groups]  # gives the group away, and with it the label, but only to those who have seen the group
    alone = looked({"session": x}, LABELS, np.arange(120), 0.9)
    together = looked({"session": x}, LABELS, groups, 0.9)
    assert alone[0].is_alarm
    assert not together[0].is_alarm


@pytest.mark.slow
def test_permuted_labels_bound_what_chance_reaches_in_a_small_set() -> None:
    few = np.arange(12) % 2
    x = np.random.default_rng(1).normal(size=(12, 3))
    x[:, 0] += 5 * few
    (found,) = looked({"border": x}, few, np.arange(12), 0.6, 200)
    assert 0.6 < found.chance <= 1.0


def test_nothing_is_said_of_a_class_with_one_group() -> None:
    groups = np.where(LABELS == 1, 500, np.arange(120))
    assert looked({"border": noise(0)}, LABELS, groups, 0.9) == ()
    assert "not looked for" in shortcut_finding((), 0.9).message


@pytest.mark.slow
def test_the_finding_names_alarms_first_and_else_all_numbers() -> None:
    x = noise(0)
    x[:, 3] += 4 * LABELS
    found = looked({"border": x, "metadata": noise(1)}, LABELS, np.arange(120), 0.95)
    warned = shortcut_finding(found, 0.95)
    assert warned.severity == "warning"
    assert "border" in warned.message
    assert "metadata" not in warned.message
    calm = shortcut_finding(found[1:], 0.95)
    assert calm.severity == "note"
    assert "metadata" in calm.message


def six(seed: int, width: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(240, width))


@pytest.mark.slow
def test_a_shortcut_of_one_class_among_six_is_found_and_named() -> None:
    x = six(0)
    x[:, 3] += 6 * (SIX == 4)
    found = looked({"border": x, "metadata": six(1)}, SIX, np.arange(240), 0.95)
    overall, alone = found[0], found[1]
    assert (overall.label, overall.is_alarm) == ("", False)  # a mean over classes hides it
    assert (alone.family, alone.label, alone.is_alarm) == ("border", "class 4", True)
    assert alone.limit == pytest.approx(0.5 + 0.5 * (0.975 - 0.5))
    assert [one.family for one in found] == ["border", "border", "metadata"]
    assert "border for class 4 against the others" in shortcut_finding(found, 0.95).message


@pytest.mark.slow
def test_noise_in_six_classes_and_five_families_is_no_alarm() -> None:
    for seed in range(10):
        families = {name: six(10 * seed + i, 5) for i, name in enumerate(("metadata", "border", "session", "x", "y"))}
        assert not any(one.is_alarm for one in looked(families, SIX, np.arange(240), 0.6, permutations=50))


def test_more_families_and_classes_widen_the_interval() -> None:
    x = six(0)
    x[:, 3] += 6 * (SIX == 4)
    one = looked({"border": x}, SIX, np.arange(240), 0.95, permutations=20)
    many = looked({"border": x, "a": six(1), "b": six(2)}, SIX, np.arange(240), 0.95, permutations=20)
    assert many[1].accuracy.low < one[1].accuracy.low
    assert many[1].accuracy.value == one[1].accuracy.value


@pytest.mark.slow
def test_what_the_inside_tells_as_well_is_not_the_border() -> None:
    x, inside = six(0), six(1)
    x[:, 3] += 6 * (SIX == 4)
    inside[:, 0] += 6 * (SIX == 4)
    found = looked({"border": x, "inside": inside}, SIX, np.arange(240), 0.95, permutations=50)
    assert found[1].is_above
    assert not found[1].is_alarm
    assert found[1].inside is not None
    assert found[1].inside.low <= 0 <= found[1].inside.high
    assert "Also tells classes apart: border for class 4" in shortcut_finding(found, 0.95).message
    for other in (six(1), six(1)[:, :0]):  # of an inside where nothing varies, too
        assert looked({"border": x, "inside": other}, SIX, np.arange(240), 0.95, 50)[1].is_alarm


def test_what_shows_the_subject_itself_is_told_but_no_alarm() -> None:
    x = noise(0)
    x[:, 3] += 4 * LABELS
    for family in ("colours", "blurred picture", "file name"):
        found = looked({family: x}, LABELS, np.arange(120), 0.95)
        assert found[0].is_above
        finding = shortcut_finding(found, 0.95)
        assert (finding.severity, "Also tells classes apart: " + family in finding.message) == ("note", True)


def test_one_vs_rest_accuracy_of_the_classifier_by_hand() -> None:
    scores = np.eye(4)[[0, 0, 1, 1, 2, 0]]  # labels below: two of three, one of two, one of one
    found = ClassifierAccuracy.of(scores, np.array([0, 0, 0, 1, 2, 1]))
    assert found.overall == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    np.testing.assert_allclose(found.one_vs_rest, [(2 / 3 + 2 / 3) / 2, (1 / 2 + 3 / 4) / 2, 1.0, np.nan])


def test_balanced_accuracy_and_the_choice_of_rows_by_hand() -> None:
    scores = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert balanced_accuracy(scores, np.array([0, 0, 1, 1])) == 0.75
    assert balanced_accuracy(scores, np.array([0, 0, 0, 1])) == 1.0
    groups = np.repeat(np.arange(10), 3)
    rows = chosen_rows(groups, 10)
    assert len(rows) == 9
    assert (np.bincount(groups[rows], minlength=10) % 3 == 0).all()
    assert chosen_rows(groups, 30).tolist() == list(range(30))
