"""Metrics against scikit-learn and small cases worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from headstart.errors import DataError
from headstart.evaluation import metrics


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of 5 unbalanced classes, correct about two times in three."""
    rng = np.random.default_rng(0)
    labels = rng.choice(5, size=300, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    logits = rng.normal(size=(300, 5)) + 1.8 * np.eye(5)[labels]
    probabilities = np.exp(logits)
    return probabilities / probabilities.sum(axis=1, keepdims=True), labels


def test_metrics_agree_with_scikit_learn(answers: tuple[np.ndarray, np.ndarray]) -> None:
    p, y = answers
    predicted = p.argmax(axis=1)

    assert metrics.accuracy(p, y) == pytest.approx(sk.accuracy_score(y, predicted), abs=1e-12)
    assert metrics.balanced_accuracy(p, y) == pytest.approx(sk.balanced_accuracy_score(y, predicted), abs=1e-12)
    assert metrics.macro_f1(p, y) == pytest.approx(sk.f1_score(y, predicted, average="macro"), abs=1e-12)
    assert metrics.negative_log_likelihood(p, y) == pytest.approx(sk.log_loss(y, p), abs=1e-12)
    assert metrics.brier_score(p, y) == pytest.approx(sk.brier_score_loss(y, p, scale_by_half=False), abs=1e-12)


def test_per_class_scores_agree_with_scikit_learn(answers: tuple[np.ndarray, np.ndarray]) -> None:
    p, y = answers
    precision, recall, f1, _ = sk.precision_recall_fscore_support(y, p.argmax(axis=1))

    confusion = metrics.confusion_matrix(p, y)

    assert (confusion == sk.confusion_matrix(y, p.argmax(axis=1))).all()
    assert metrics.precision_of(confusion) == pytest.approx(precision)
    assert metrics.recall_of(confusion) == pytest.approx(recall)
    assert metrics.f1_of(confusion) == pytest.approx(f1)


def test_rows_of_the_confusion_matrix_are_the_truth() -> None:
    p = [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]

    assert metrics.confusion_matrix(p, [0, 0, 1]).tolist() == [[1, 1], [0, 1]]


def test_classes_without_test_images_are_left_out_of_the_averages() -> None:
    p = np.eye(4)[[0, 0, 1, 3]]  # the last image, of class 1, is predicted as class 3, which has no test image
    y = np.array([0, 0, 1, 1])

    assert metrics.balanced_accuracy(p, y) == pytest.approx((1 + 1 / 2) / 2)
    assert metrics.macro_f1(p, y) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.macro_f1(p, y) == pytest.approx(sk.f1_score(y, p.argmax(axis=1), labels=[0, 1], average="macro"))


def test_what_is_not_defined_is_nan_not_zero() -> None:
    confusion = metrics.confusion_matrix(np.eye(3)[[0, 0]], [0, 1])  # class 1 never answered, class 2 not there

    assert metrics.recall_of(confusion).tolist()[:2] == [1, 0]
    assert math.isnan(metrics.recall_of(confusion)[2])
    assert math.isnan(metrics.precision_of(confusion)[1])
    assert metrics.f1_of(confusion)[1] == 0
    assert math.isnan(metrics.f1_of(confusion)[2])


def test_a_certain_mistake_keeps_the_likelihood_finite() -> None:
    assert metrics.negative_log_likelihood([[1.0, 0.0]], [1]) == pytest.approx(-math.log(np.finfo(np.float64).eps))


def test_brier_score_is_summed_over_classes() -> None:
    assert metrics.brier_score([[0.0, 1.0]], [0]) == 2.0
    assert metrics.brier_score([[0.5, 0.3, 0.2]], [0]) == pytest.approx(0.25 + 0.09 + 0.04)


def test_half_precision_softmax_is_close_enough_to_one() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 1000)).astype(np.float32)
    p = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float16)

    assert 0 <= metrics.accuracy(p, np.zeros(20, np.int64)) <= 1


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        ([0.5, 0.5], [0], r"probabilities N×C with N >= 1 and C >= 2, found shape \(2,\)"),
        ([[1.0], [1.0]], [0, 0], r"C >= 2, found shape \(2, 1\)"),
        (np.empty((0, 2)), [], r"N >= 1 and C >= 2, found shape \(0, 2\)"),
        ([[math.nan, 0.5]], [0], "finite probabilities, found 1 that are nan"),
        ([[2.5, -1.0]], [0], "probabilities in \\[0, 1\\], rows that sum to 1.*Apply softmax"),
        ([[0.5, 0.4]], [0], "row sums off by up to 0.1"),
        ([[1.2, -0.2]], [0], "found values from -0.2 to 1.2"),
        ([[0.5, 0.5]], [2], "labels from 0 to 1, found labels from 2 to 2"),
        ([[0.5, 0.5]], [-1], "labels from 0 to 1, found labels from -1"),
        ([[0.5, 0.5]], [0.0], "1 whole-number labels, found float64"),
        ([[0.5, 0.5]], [0, 1], r"1 whole-number labels, found int64 of shape \(2,\)"),
    ],
)
def test_bad_input_is_named(probabilities: object, labels: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        metrics.accuracy(probabilities, labels)  # type: ignore[arg-type]
