"""Evaluation: each number against its own instrument, the table, and the way through strict JSON and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from headstart.errors import DataError, RunError, shown
from headstart.evaluation.evaluate import Evaluation, evaluate_probabilities
from headstart.evaluation.intervals import accuracy_over_groups, wilson

CLASSES = ("ant", "bee", "cat")


def answers(n: int = 120, strength: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.choice(3, size=n, p=[0.5, 0.3, 0.2])
    logits = np.exp(rng.normal(size=(n, 3)) + strength * np.eye(3)[y])
    return logits / logits.sum(axis=1, keepdims=True), y


def evaluation(n: int = 120, strength: float = 2.0, **options: Any) -> Evaluation:
    p, y = answers(n, strength)
    return evaluate_probabilities(p, y, CLASSES, names=[f"{i:03}.jpg" for i in range(n)], **options)


def test_the_numbers_are_those_of_their_instruments() -> None:
    p, y = answers()
    predicted = p.argmax(axis=1)

    e = evaluation()

    assert e.accuracy == wilson(int((predicted == y).sum()), 120)
    assert e.balanced_accuracy.value == pytest.approx(sk.balanced_accuracy_score(y, predicted))
    assert e.macro_f1.value == pytest.approx(sk.f1_score(y, predicted, average="macro"))
    assert e.confusion == tuple(map(tuple, sk.confusion_matrix(y, predicted).tolist()))
    assert e.calibration.nll == pytest.approx(sk.log_loss(y, p))
    assert e.calibration.brier == pytest.approx(sk.brier_score_loss(y, p, scale_by_half=False))
    for interval in (e.balanced_accuracy, e.macro_f1):
        assert interval.low < interval.value < interval.high
        assert interval.method == "bootstrap over images within classes"


def test_per_class_scores_and_the_worst_class() -> None:
    p, y = answers()
    precision, recall, f1, support = sk.precision_recall_fscore_support(y, p.argmax(axis=1))

    e = evaluation()

    assert [s.name for s in e.per_class] == list(CLASSES)
    assert [s.support for s in e.per_class] == support.tolist()
    assert [s.recall.value for s in e.per_class] == pytest.approx(recall.tolist())
    assert [s.precision for s in e.per_class] == pytest.approx(precision.tolist())
    assert [s.f1 for s in e.per_class] == pytest.approx(f1.tolist())
    assert e.worst_class == e.per_class[int(recall.argmin())]


def test_the_majority_is_that_of_the_training_images() -> None:
    _, y = answers()

    e = evaluation(train_labels=[10, 30, 20])

    assert e.baselines[0].name == "majority"
    assert e.baselines[0].accuracy == wilson(int((y == 1).sum()), 120)
    assert e.baselines[0].about == "always answers bee, the largest class of the training images (30 of 60)"


def test_without_training_counts_the_majority_says_where_it_comes_from() -> None:
    _, y = answers()

    (majority,) = evaluation().baselines

    assert majority.accuracy == wilson(int((y == 0).sum()), 120)
    assert (
        f"the test images themselves ({(y == 0).sum()} of 120), for the training counts are not known" in majority.about
    )


def test_further_rivals_follow_the_majority() -> None:
    _, y = answers()
    knn = np.where(np.arange(120) % 4 == 0, (y + 1) % 3, y)

    e = evaluation(predictions_of_baselines={"kNN": knn}, about_baselines={"kNN": "20 nearest training images"})

    assert [one.name for one in e.baselines] == ["majority", "kNN"]
    assert e.baselines[1].accuracy == wilson(90, 120)
    assert list(e.to_dict()["baselines"]) == ["majority", "kNN"]
    assert e.to_dict()["baselines"]["kNN"] == {
        "accuracy": wilson(90, 120).to_dict(),
        "about": "20 nearest training images",
    }


def test_groups_widen_what_rests_on_them() -> None:
    p, y = answers(40)
    many = {"names": [str(i) for i in range(240)], "classes": CLASSES}
    p, y = np.repeat(p, 6, axis=0), np.repeat(y, 6)
    groups = [str(i // 6) for i in range(240)]

    grouped = evaluate_probabilities(p, y, groups=groups, **many)
    plain = evaluate_probabilities(p, y, **many)

    assert grouped.accuracy_over_groups == accuracy_over_groups(p.argmax(axis=1) == y, groups)
    assert grouped.accuracy == plain.accuracy
    assert plain.accuracy_over_groups is None
    for name in ("balanced_accuracy", "macro_f1"):
        wide, narrow = getattr(grouped, name), getattr(plain, name)
        assert wide.value == narrow.value
        assert wide.high - wide.low > 1.7 * (narrow.high - narrow.low)
        assert wide.method == "bootstrap over 40 groups"
    assert grouped.calibration.ece.method == "recentred bootstrap over 40 groups"


def test_groups_of_one_are_no_groups() -> None:
    assert evaluation(groups=[None] * 120).accuracy_over_groups is None
    assert evaluation(groups=[str(i) for i in range(120)]) == evaluation()


def test_leaked_images_are_counted_and_taken_out() -> None:
    p, y = answers()
    right = p.argmax(axis=1) == y
    leaked = np.arange(120) < 30

    e = evaluation(leaked=leaked)

    assert e.leaked == 30
    assert e.without_leaks == wilson(int(right[30:].sum()), 90)
    assert evaluation().without_leaks is None
    assert evaluation().leaked == 0


def test_everything_leaked_leaves_nothing_to_measure() -> None:
    e = evaluation(leaked=np.ones(120, np.bool_))

    assert e.without_leaks == wilson(0, 0)
    assert "not measured [0.0, 100.0]" in str(e)


def test_no_mistake_at_all_is_not_certainty() -> None:
    y = np.arange(60) % 3

    e = evaluate_probabilities(np.eye(3)[y] * 0.94 + 0.02, y, CLASSES, names=[str(i) for i in range(60)])

    for interval in (e.accuracy, e.balanced_accuracy, e.macro_f1):
        assert (interval.value, interval.high) == (1.0, 1.0)
        assert 0.9 < interval.low < 0.95
    assert e.mistakes == ()


def test_mistakes_come_most_confident_first_and_at_most_fifty() -> None:
    p, y = answers(600, strength=0.5)
    wrong = p.argmax(axis=1) != y

    e = evaluation(600, strength=0.5)

    assert wrong.sum() > 50 == len(e.mistakes)
    assert [one.probability for one in e.mistakes] == sorted(p.max(axis=1)[wrong].tolist(), reverse=True)[:50]
    for one in e.mistakes:
        place = int(one.name[:3])
        assert (one.true, one.predicted) == (CLASSES[y[place]], CLASSES[p[place].argmax()])
        assert one.true != one.predicted


def test_a_class_without_test_images_is_no_worst_class() -> None:
    y = np.arange(40) % 2
    p = np.eye(3)[np.where(np.arange(40) < 4, 1 - y, y)]

    e = evaluate_probabilities(p, y, CLASSES, names=[str(i) for i in range(40)])

    assert e.worst_class.name in ("ant", "bee")
    assert e.per_class[2].recall == wilson(0, 0)
    assert (e.per_class[2].precision, e.per_class[2].f1) == (None, None)
    assert e.balanced_accuracy.value == pytest.approx(0.9)


@pytest.mark.parametrize("missing", [False, True])
def test_an_evaluation_survives_strict_json(missing: bool) -> None:
    if missing:  # one class without test images, never answered: nan everywhere it can be
        e = evaluate_probabilities(np.eye(3)[[0, 1, 1]], [0, 1, 0], CLASSES, names=["a", "b", "c"])
    else:
        e = evaluation(leaked=np.arange(120) < 9, groups=[str(i // 2) for i in range(120)], unknown={"dog": 2})

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

    with pytest.raises(RunError, match="an evaluation as this version writes it, found KeyError: 'macro_f1'"):
        Evaluation.from_dict(saved)
    with pytest.raises(RunError, match="unexpected keyword"):
        Evaluation.from_dict({**evaluation().to_dict(), "speed": 1})


def test_the_table_says_it_in_plain_words() -> None:
    e = evaluation(train_labels=[5, 1, 1], leaked=np.arange(120) < 7, unknown={"wa\x1b[31msp": 3})

    lines = str(e).splitlines()

    assert lines[0].split("  ")[0] == "accuracy"
    assert str(e.accuracy) in lines[0]
    assert any(line.startswith("  without leaks") and "7 test images are in training too" in line for line in lines)
    assert any(line.startswith("baseline majority") and str(e.baselines[0].accuracy) in line for line in lines)
    assert any(line.startswith(f"worst class {e.worst_class.name}") for line in lines)
    assert any(line.startswith("calibration error") and "a perfect model reads" in line for line in lines)
    assert "unknown class wa\\x1b[31msp" in str(e)
    assert "\x1b" not in str(e)


def test_names_of_any_language_are_shown_as_they_are() -> None:
    assert shown("Ämeise 蚂蚁 [bold]") == "Ämeise 蚂蚁 [bold]"
    assert shown("a\nb\x00\u202e") == "a\\nb\\x00\\u202e"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_labels": [1, 2]}, "Expected 3 train_labels, found 2"),
        ({"groups": ["a"]}, "Expected 120 groups, found 1"),
        ({"leaked": np.zeros(120)}, "a mask of 120 truth values, found float64"),
        ({"predictions_of_baselines": {"kNN": np.full(120, 3)}}, "labels from 0 to 2, found labels from 3"),
        ({"predictions_of_baselines": {"majority": np.zeros(120, np.int64)}}, "another name for this baseline"),
    ],
)
def test_arguments_that_do_not_fit_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluation(**options)


def test_classes_and_names_must_fit_the_columns_and_rows() -> None:
    p, y = answers(3)
    with pytest.raises(DataError, match="Expected 3 classes, found 2"):
        evaluate_probabilities(p, y, ("ant", "bee"), names=["1", "2", "3"])
    with pytest.raises(DataError, match="classes with different names"):
        evaluate_probabilities(p, y, ("ant", "bee", "bee"), names=["1", "2", "3"])
    with pytest.raises(DataError, match="Expected 3 names, found 1"):
        evaluate_probabilities(p, y, CLASSES, names=["1"])
