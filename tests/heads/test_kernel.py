"""Kernel ridge against scikit-learn's and against refitting without the rows; landmarks, and the choice of auto."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import KernelCenterer

from headstart.heads import kernel as kernel_module
from headstart.heads.kernel import WIDTHS, landmark_rows, solve_auto, solve_kernel
from headstart.heads.kernel_map import signed_roots
from headstart.heads.linear_probe import TrainingRows, fit_linear_probe
from headstart.heads.regularization_path import LabelledFeatures, Validation
from headstart.heads.ridge import indicators
from made_features import make_features, make_view

COUNT, WIDTH = 45, 16


def predicted(train: np.ndarray, held: np.ndarray, y: np.ndarray, *, gamma: float, lambda_: float) -> np.ndarray:
    """scikit-learn's kernel ridge; its intercept is that of a centred kernel and centred targets."""
    centre = KernelCenterer()
    k = centre.fit_transform(rbf_kernel(train, gamma=gamma))
    model = KernelRidge(alpha=lambda_, kernel="precomputed").fit(k, y - y.mean(axis=0))
    return model.predict(centre.transform(rbf_kernel(held, train, gamma=gamma))) + y.mean(axis=0)


def crossed(count: int, seed: int = 0) -> LabelledFeatures:
    """Two stages with an angle each, and the class is whether both point to the same side: no plane parts them."""
    rng = np.random.default_rng(seed)
    sides = rng.integers(0, 2, (count, 2))
    angles = 0.6 * (2 * sides - 1) + 0.1 * rng.normal(size=(count, 2))
    x = np.stack([np.cos(angles), np.sin(angles)], axis=2).reshape(count, 4)
    view = make_features(x).view(np.arange(count), ("early", "late"))
    return LabelledFeatures.of(view, (sides[:, 0] == sides[:, 1]).astype(np.int64), 2)


@pytest.mark.slow
@pytest.mark.parametrize("grouped", [False, True])
def test_leave_out_scores_are_those_of_scikit_learn_without_the_rows(grouped: bool) -> None:
    view, labels = make_view(COUNT, WIDTH)
    groups = np.arange(COUNT) // 3 if grouped else np.arange(COUNT)
    path = solve_kernel(LabelledFeatures.of(view, labels, 3, groups=groups))

    assert path.kernel is not None
    x, y = signed_roots(view.array(), (8, 8)), indicators(labels, 3)
    gamma, lambda_ = path.kernel.gamma, path.lambda_
    left_out = np.empty_like(y)
    for group in np.unique(groups):
        out = groups == group
        left_out[out] = predicted(x[~out], x[out], y[~out], gamma=gamma, lambda_=lambda_)
    np.testing.assert_allclose(path.held_scores, left_out, atol=1e-5)
    assert path.losses[path.best] == pytest.approx(np.square(left_out - y).mean(), rel=1e-5)


def test_scores_of_new_rows_are_those_of_scikit_learn() -> None:
    view, labels = make_view(COUNT, WIDTH)
    new, _ = make_view(20, WIDTH, seed=5)
    path = solve_kernel(LabelledFeatures.of(view, labels, 3))

    assert path.kernel is not None
    expected = predicted(
        signed_roots(view.array(), (8, 8)),
        signed_roots(new.array(), (8, 8)),
        indicators(labels, 3),
        gamma=path.kernel.gamma,
        lambda_=path.lambda_,
    )
    scores = path.kernel.similarities(new.array()) @ path.weight + path.bias
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_width_and_lambda_have_the_lowest_error_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    view, labels = make_view(COUNT, WIDTH)
    data = LabelledFeatures.of(view, labels, 3)
    chosen = solve_kernel(data)
    losses = []
    for width in WIDTHS:
        monkeypatch.setattr(kernel_module, "WIDTHS", (width,))
        losses.append(solve_kernel(data).losses.min())
    assert chosen.losses[chosen.best] == min(losses)


@pytest.mark.slow
def test_an_image_that_is_there_twice_is_no_trouble() -> None:
    view, labels = make_view(COUNT, WIDTH)
    twice = view.take(np.repeat(np.arange(COUNT), 2))
    path = solve_kernel(LabelledFeatures.of(twice, np.repeat(labels, 2), 3, groups=np.repeat(np.arange(COUNT), 2)))
    assert np.isfinite(path.weight).all()
    assert np.isfinite(path.held_scores).all()


@pytest.mark.slow
def test_beyond_the_limit_landmarks_stand_for_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    data = crossed(300)
    whole = solve_kernel(data)
    monkeypatch.setattr(kernel_module, "LANDMARKS", 60)
    few = solve_kernel(data)
    assert few.kernel is not None
    assert few.kernel.landmarks.shape == (60, 4)
    assert few.weight.shape == (60, 2)
    assert len(few.held_labels) == 300  # lambda is chosen on all rows
    assert few.accuracy >= whole.accuracy - 0.02


def test_landmarks_are_taken_from_each_class_in_turn() -> None:
    labels = np.array([0] * 90 + [1] * 6 + [2] * 4)
    rows = landmark_rows(labels, 20)
    assert np.bincount(labels[rows]).tolist() == [10, 6, 4]
    assert np.array_equal(rows, landmark_rows(labels, 20))
    assert np.array_equal(landmark_rows(labels, 100), np.arange(100))


def test_validation_rows_choose_in_place_of_left_out_ones() -> None:
    view, labels = make_view(COUNT, WIDTH)
    held, held_labels = make_view(60, WIDTH, seed=3)
    path = solve_kernel(LabelledFeatures.of(view, labels, 3), validation=Validation(held, held_labels))
    assert path.held_labels is held_labels
    scores = path.kernel.similarities(held.array()) @ path.weight + path.bias
    np.testing.assert_allclose(path.held_scores, scores, atol=1e-6)


@pytest.mark.slow
def test_auto_takes_the_kernel_where_no_plane_parts_the_classes_and_ridge_where_they_tie() -> None:
    curved = solve_auto(crossed(200))
    assert curved.kind == "kernel"
    assert curved.reason.startswith("--head auto takes kernel: squared error leaving out one image at a time: ridge ")
    rng = np.random.default_rng(0)
    noise = make_features(np.abs(rng.normal(size=(80, 8))))
    same = solve_auto(LabelledFeatures.of(noise.view(np.arange(80), ("early", "late")), np.arange(80) % 2, 2))
    assert same.kind == "ridge"
    assert same.kernel is None


def test_a_probe_with_a_kernel_predicts_what_was_solved() -> None:
    view, labels = make_view(COUNT, WIDTH)
    none = np.array([], dtype=np.int64)
    training = TrainingRows(
        rows=np.arange(COUNT),
        labels=labels,
        groups=np.arange(COUNT),
        classes=3,
        validation_rows=none,
        validation_labels=none,
    )
    layers = {"both": ("early", "late"), "late": ("late",)}
    probe = fit_linear_probe(view.features, training, layers=layers, kind="kernel")
    assert probe.head.kind == "kernel"
    assert len(probe.choices) == 1  # other stages would take as long again
    expected = probe.head.kernel.similarities(view.array()) @ probe.head.weight + probe.head.bias
    np.testing.assert_allclose(probe.head.scores(view.array()), expected)
    assert probe.to_dict()["landmarks"] == COUNT
    assert probe.to_dict()["gamma"] == probe.head.kernel.gamma
