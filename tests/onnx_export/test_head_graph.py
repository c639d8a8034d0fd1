"""The head's graph computes the head's formula: stages of unit length, scores, temperature, means over flips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from headstart.heads.head import Head  # noqa: E402
from headstart.heads.kernel_map import KernelMap  # noqa: E402
from headstart.onnx_export.graph_builder import GraphBuilder  # noqa: E402  # needs onnx
from headstart.onnx_export.head_graph import FEATURES, PROBABILITIES, SCORES, add_flips, add_head  # noqa: E402
from onnx_export.small_graphs import function_of  # noqa: E402

RNG = np.random.default_rng(0)
WIDTHS = (5, 3)


def head(*, unit: bool, flip_tta: bool) -> Head:
    weight, bias = RNG.normal(size=(8, 4)), RNG.normal(size=4)
    return Head("ridge", ("a", "b"), weight, bias, temperature=0.3, unit=unit, flip_tta=flip_tta)


def by_hand(head: Head, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    parts = [x[:, :5], x[:, 5:]]
    if head.unit:
        parts = [part / np.sqrt((part**2).sum(1, keepdims=True)) for part in parts]
    x = np.concatenate(parts, 1)
    if head.flip_tta:
        x = (x[: len(x) // 2] + x[len(x) // 2 :]) / 2
    scores = x @ head.weight + head.bias
    powers = np.exp(scores / head.temperature)
    return scores, powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("flip_tta", [True, False])
def test_scores_and_probabilities_follow_the_formula(unit: bool, flip_tta: bool) -> None:
    one, x = head(unit=unit, flip_tta=flip_tta), RNG.normal(size=(6, 8)).astype(np.float32)
    graph = GraphBuilder("g")
    add_head(graph, one, "x", widths=WIDTHS)
    run = function_of(graph, FEATURES, SCORES, PROBABILITIES, x=(onnx.TensorProto.FLOAT, ["N", 8]))

    features, scores, probabilities = run(x=x)

    expected = by_hand(one, x.astype(np.float64))
    assert features.shape == (3 if flip_tta else 6, 8)
    assert scores == pytest.approx(expected[0], abs=1e-6)
    assert probabilities == pytest.approx(expected[1], abs=1e-6)


@pytest.mark.parametrize("flip_tta", [True, False])
def test_a_kernel_compares_with_its_landmarks(flip_tta: bool) -> None:
    marks = RNG.normal(size=(7, 8)).astype(np.float32)
    plain = head(unit=True, flip_tta=flip_tta)
    one = replace(plain, weight=RNG.normal(size=(7, 4)), kernel=KernelMap(marks, 0.7, WIDTHS))
    x = RNG.normal(size=(6, 8)).astype(np.float32)
    graph = GraphBuilder("g")
    add_head(graph, one, "x", widths=WIDTHS)

    features, scores, probabilities = function_of(
        graph, FEATURES, SCORES, PROBABILITIES, x=(onnx.TensorProto.FLOAT, ["N", 8])
    )(x=x)

    unit = [x[:, :5] / np.linalg.norm(x[:, :5], axis=1)[:, None], x[:, 5:] / np.linalg.norm(x[:, 5:], axis=1)[:, None]]
    own = np.concatenate(unit, axis=1).astype(np.float64)
    own = (own[:3] + own[3:]) / 2 if flip_tta else own
    expected = np.zeros((len(own), 4))
    for row, feature in enumerate(own):  # the formula for one pair after another
        roots = [np.sign(v) * np.sqrt(abs(v)) for v in feature]
        parts = [np.array(roots[:5]), np.array(roots[5:])]
        mapped = np.concatenate([part / np.sqrt((part**2).sum()) for part in parts])
        for mark, weights in zip(marks, one.weight, strict=True):
            expected[row] += np.exp(-0.7 * ((mapped - mark) ** 2).sum()) * weights
    expected += one.bias
    powers = np.exp(expected / one.temperature)
    assert features == pytest.approx(own, abs=1e-6)
    assert scores == pytest.approx(expected, abs=1e-6)
    assert probabilities == pytest.approx(powers / powers.sum(axis=1, keepdims=True), abs=1e-6)


def test_a_stage_of_zeros_stays_zero() -> None:
    one = head(unit=True, flip_tta=False)
    graph = GraphBuilder("g")
    add_head(graph, one, "x", widths=WIDTHS)
    run = function_of(graph, FEATURES, x=(onnx.TensorProto.FLOAT, ["N", 8]))

    assert not run(x=np.zeros((1, 8), np.float32))[0].any()


def test_flips_come_after_the_images() -> None:
    graph = GraphBuilder("g")
    run = function_of(graph, add_flips(graph, "x"), x=(onnx.TensorProto.FLOAT, ["N", 3, 2, 4]))
    x = RNG.normal(size=(2, 3, 2, 4)).astype(np.float32)

    (found,) = run(x=x)

    assert np.array_equal(found, np.concatenate([x, x[..., ::-1]]))
