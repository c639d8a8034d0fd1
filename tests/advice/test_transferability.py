"""LogME and H-score against dense computations of their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from headstart.advice.transferability import h_score, log_evidences, logme
from headstart.errors import DataError


def drawn(n: int, d: int, *, signal: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=n)
    return rng.normal(size=(n, d)) + signal * rng.normal(size=(3, d))[labels], labels


@pytest.mark.parametrize(("n", "d", "signal"), [(40, 7, 1.0), (40, 120, 1.0), (40, 40, 0.0), (60, 300, 0.2)])
def test_evidence_is_the_density_of_the_targets_under_the_model(n: int, d: int, signal: float) -> None:
    features, labels = drawn(n, d, signal=signal)
    targets = np.eye(3)[labels]
    centred, wanted = features - features.mean(0), targets - targets.mean(0)
    for column, found in zip(wanted.T, log_evidences(features, targets), strict=True):
        covariance = np.eye(n) / found.beta + centred @ centred.T / found.alpha
        assert found.value * n == pytest.approx(multivariate_normal(np.zeros(n), covariance).logpdf(column), abs=1e-8)


@pytest.mark.parametrize(("n", "d"), [(80, 7), (80, 30)])
def test_the_precisions_maximise_the_evidence(n: int, d: int) -> None:
    features, labels = drawn(n, d)
    labels = np.where(np.arange(n) % 4 == 0, 2 - labels, labels)  # noise
    target = np.eye(3)[labels][:, :1]
    (found,) = log_evidences(features, target)
    centred, wanted = features - features.mean(0), (target - target.mean(0))[:, 0]

    def density(alpha: float, beta: float) -> float:
        covariance = np.eye(n) / beta + centred @ centred.T / alpha
        return float(multivariate_normal(np.zeros(n), covariance).logpdf(wanted))

    best = density(found.alpha, found.beta)
    for a, b in ((1.3, 1), (1 / 1.3, 1), (1, 1.3), (1, 1 / 1.3)):
        assert density(found.alpha * a, found.beta * b) < best


def test_logme_prefers_features_that_tell_the_classes_apart_also_where_they_outnumber_the_images() -> None:
    scores = [logme(*drawn(50, 200, signal=signal), 3) for signal in (0.0, 0.5, 1.0, 2.0)]
    assert scores == sorted(scores)
    # more directions of pure noise are no better: the published code's score rises with D
    wide = [logme(*drawn(50, d, signal=0.0), 3) for d in (100, 400, 1600)]
    assert max(wide) - min(wide) < 0.2


def test_a_class_without_images_and_a_target_without_signal_give_finite_scores() -> None:
    features, labels = drawn(30, 90)
    assert math.isfinite(logme(features, labels, 5))
    assert math.isfinite(logme(np.random.default_rng(1).normal(size=(30, 4)), labels, 3))


@pytest.mark.parametrize(("n", "d"), [(200, 12), (40, 90)])
def test_h_score_is_the_trace_of_its_definition(n: int, d: int) -> None:
    covariances = pytest.importorskip("sklearn.covariance")
    features, labels = drawn(n, d, signal=0.4)
    covariance, shrinkage = covariances.ledoit_wolf(features)
    means = np.stack([features[labels == label].mean(0) for label in labels])  # the class mean of every image
    between = np.cov(means.T, bias=True)
    expected = (1 - shrinkage) * np.trace(np.linalg.solve(covariance, between))
    assert h_score(features, labels) == pytest.approx(expected, rel=1e-9)


def test_h_score_stays_below_the_number_of_classes_minus_one() -> None:
    features, labels = drawn(300, 5, signal=50.0)
    assert 1.5 < h_score(features, labels) < 2


def test_features_that_do_not_differ_are_refused() -> None:
    with pytest.raises(DataError, match="differ between images"):
        logme(np.ones((10, 4)), np.arange(10) % 2, 2)
    with pytest.raises(DataError, match="9 rows for 10 images"):
        h_score(np.ones((9, 4)), np.arange(10) % 2)
