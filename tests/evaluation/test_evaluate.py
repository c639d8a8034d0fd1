"""Evaluate: each number against its own instrument."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sk

from headstart.errors import DataError
from headstart.evaluation.evaluate import BaselinePredictions, evaluate_probabilities
from headstart.evaluation.intervals import macro_f1_interval, mean_share_interval, share_interval, wilson
from headstart.evaluation.paired import paired_difference
from small_evaluations import CLASSES, evaluation, images, predictions


def test_the_numbers_are_those_of_their_instruments() -> None:
    p, y = predictions()
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
    assert e.balanced_accuracy == mean_share_interval(predicted == y, y)
    assert e.macro_f1 == macro_f1_interval(predicted, y)


def test_per_class_scores_and_the_worst_class() -> None:
    p, y = predictions()
    precision, recall, f1, support = sk.precision_recall_fscore_support(y, p.argmax(axis=1))

    e = evaluation()

    assert [s.name for s in e.per_class] == list(CLASSES)
    assert [s.support for s in e.per_class] == support.tolist()
    assert [s.recall.value for s in e.per_class] == pytest.approx(recall.tolist())
    assert [s.precision for s in e.per_class] == pytest.approx(precision.tolist())
    assert [s.f1 for s in e.per_class] == pytest.approx(f1.tolist())
    worst = e.per_class[int(recall.argmin())]
    assert (e.worst_class.name, e.worst_class.recall.value) == (worst.name, worst.recall.value)
    exact = binomtest(round(worst.recall.value * worst.support), worst.support)
    picked = exact.proportion_ci(1 - 0.05 / 3, method="exact")
    assert (e.worst_class.recall.low, e.worst_class.recall.high) == pytest.approx((picked.low, picked.high))
    assert e.worst_class.recall.method == "Clopper-Pearson, lowest of 3 classes"


def test_the_majority_is_that_of_the_training_images() -> None:
    _, y = predictions()

    e = evaluation(train_counts=[10, 30, 20])

    assert e.baselines[0].name == "majority"
    assert e.baselines[0].accuracy == wilson(int((y == 1).sum()), 120)
    assert e.baselines[0].about == "always predicts bee, the largest class of the training images (30 of 60)"


def test_without_training_counts_the_majority_says_where_it_comes_from() -> None:
    _, y = predictions()

    (majority,) = evaluation().baselines

    assert majority.accuracy == wilson(int((y == 0).sum()), 120)
    assert (
        f"the test images themselves ({(y == 0).sum()} of 120), as the training counts are not known" in majority.about
    )


def test_further_baselines_follow_the_majority() -> None:
    _, y = predictions()
    knn = np.where(np.arange(120) % 4 == 0, (y + 1) % 3, y)

    e = evaluation(baselines={"kNN": BaselinePredictions(knn, "20 nearest training images")})

    assert [one.name for one in e.baselines] == ["majority", "kNN"]
    assert e.baselines[1].accuracy == wilson(90, 120)
    assert e.baselines[0].is_beaten
    assert list(e.to_dict()["baselines"]) == ["majority", "kNN"]
    p, _ = predictions()
    found = paired_difference((p.argmax(axis=1) == y).astype(int) - (knn == y))
    assert e.to_dict()["baselines"]["kNN"] == {
        "accuracy": wilson(90, 120).to_dict(),
        "about": "20 nearest training images",
        "difference": found.difference.to_dict(),
        "p_value": found.p_value,
    }


def test_groups_widen_what_rests_on_them() -> None:
    p, y = predictions(40)
    p, y = np.repeat(p, 6, axis=0), np.repeat(y, 6)
    groups = [str(i // 6) for i in range(240)]

    grouped = evaluate_probabilities(p, images(y, groups=groups))
    plain = evaluate_probabilities(p, images(y))

    correct = p.argmax(axis=1) == y
    assert grouped.accuracy_over_groups == share_interval(correct, groups)
    assert (grouped.groups, plain.groups) == (40, 0)
    assert grouped.accuracy == plain.accuracy
    assert plain.accuracy_over_groups is None
    for name in ("balanced_accuracy", "macro_f1"):
        wide, narrow = getattr(grouped, name), getattr(plain, name)
        assert wide.value == narrow.value
        assert wide.high - wide.low > 1.7 * (narrow.high - narrow.low)
        assert "240 images in 40 groups" in wide.method
    for score in (grouped.worst_class, *grouped.per_class):
        assert "groups count as" in score.recall.method
    (majority,) = grouped.baselines
    assert majority.accuracy == share_interval(y == np.bincount(y).argmax(), groups)
    assert (
        majority.difference
        == paired_difference(correct.astype(int) - (y == np.bincount(y).argmax()), groups).difference
    )
    assert "240 images in 40 groups" in grouped.calibration.ece.method


def test_groups_of_one_are_no_groups() -> None:
    assert evaluation(groups=[None] * 120).accuracy_over_groups is None
    assert evaluation(groups=[str(i) for i in range(120)]) == evaluation()


def test_leaked_images_are_counted_and_taken_out() -> None:
    p, y = predictions()
    correct = p.argmax(axis=1) == y
    leaked = np.arange(120) < 30

    e = evaluation(leaked=leaked)

    assert e.leaked == 30
    assert e.without_leaks == wilson(int(correct[30:].sum()), 90)
    assert evaluation().without_leaks is None
    assert evaluation().leaked == 0


def test_everything_leaked_leaves_nothing_to_measure() -> None:
    e = evaluation(leaked=np.ones(120, np.bool_))

    assert e.without_leaks == wilson(0, 0)
    assert "not measured [0.0, 100.0]" in str(e)


def test_no_mistake_at_all_is_not_certainty() -> None:
    y = np.arange(60) % 3

    e = evaluate_probabilities(np.eye(3)[y] * 0.94 + 0.02, images(y))

    for interval in (e.accuracy, e.balanced_accuracy, e.macro_f1):
        assert (interval.value, interval.high) == (1.0, 1.0)
        assert 0.9 < interval.low < 0.95
    assert e.mistakes == ()


def test_mistakes_come_most_confident_first_and_at_most_fifty() -> None:
    p, y = predictions(600, gap=0.5)
    wrong = p.argmax(axis=1) != y

    e = evaluation(600, gap=0.5)

    assert wrong.sum() > 50 == len(e.mistakes)
    assert [one.probability for one in e.mistakes] == sorted(p.max(axis=1)[wrong].tolist(), reverse=True)[:50]
    for one in e.mistakes:
        place = int(one.name[:3])
        assert (one.true, one.predicted) == (CLASSES[y[place]], CLASSES[p[place].argmax()])
        assert one.true != one.predicted


def test_a_class_without_test_images_is_no_worst_class() -> None:
    y = np.arange(40) % 2
    p = np.eye(3)[np.where(np.arange(40) < 4, 1 - y, y)]

    e = evaluate_probabilities(p, images(y))

    assert e.worst_class.name in ("ant", "bee")
    assert e.per_class[2].recall == wilson(0, 0)
    assert (e.per_class[2].precision, e.per_class[2].f1) == (None, None)
    assert e.balanced_accuracy.value == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_counts": [1, 2]}, "Expected 3 train_counts, found 2"),
        ({"groups": ["a"]}, "Expected 120 groups, found 1"),
        ({"leaked": np.zeros(120)}, "a mask of 120 truth values, found float64"),
        ({"baselines": {"kNN": BaselinePredictions(np.full(120, 3))}}, "labels from 0 to 2, found labels from 3"),
        ({"baselines": {"majority": BaselinePredictions(np.zeros(120, np.int64))}}, "another name for this baseline"),
    ],
)
def test_arguments_that_do_not_fit_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluation(**options)


def test_classes_and_names_must_fit_the_columns_and_rows() -> None:
    p, y = predictions(3)
    with pytest.raises(DataError, match="Expected 3 classes, found 2"):
        evaluate_probabilities(p, images(y, classes=("ant", "bee")))
    with pytest.raises(DataError, match="classes with different names"):
        evaluate_probabilities(p, images(y, classes=("ant", "bee", "bee")))
    with pytest.raises(DataError, match="Expected 3 names, found 1"):
        evaluate_probabilities(p, images(y, names=["1"]))
