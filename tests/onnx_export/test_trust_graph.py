"""Distances, nearest rows, sets and atypical images of the graph are those of Python, given the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from headstart.classifier.familiarity import FamiliarImages, fit_familiarity  # noqa: E402
from headstart.evaluation.conformal import ConformalSets  # noqa: E402
from headstart.onnx_export.graph_builder import GraphBuilder  # noqa: E402  # needs onnx
from headstart.onnx_export.trust_graph import add_familiarity, add_sets  # noqa: E402
from onnx_export.small_graphs import function_of  # noqa: E402

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("count", "bank"), [(3, True), (300, True), (300, False)])
def test_a_distance_is_that_of_python(count: int, bank: bool) -> None:
    features = RNG.normal(size=(count, 40)).astype(np.float32) + 1
    known = FamiliarImages(features, np.zeros(count, np.int64), np.arange(count), ["x"] * count)
    familiarity = fit_familiarity(known, stage="late", bank=bank)
    graph = GraphBuilder("g")
    names = add_familiarity(graph, familiarity, "x")
    run = function_of(graph, *names, x=(onnx.TensorProto.FLOAT, ["N", 40]))
    x = np.concatenate([RNG.normal(size=(50, 40)) * 3, features[:2], np.zeros((1, 40))]).astype(np.float32)

    distances, *nearest = run(x=x)

    expected = familiarity.measure(x)
    assert distances.shape == (53,)
    assert np.abs(distances - expected.distances).max() < 1e-5
    assert len(nearest) == int(bank)
    if expected.nearest is not None:
        assert np.array_equal(nearest[0][:52], expected.nearest[:52])  # all rows are as near to zeros


@pytest.mark.parametrize(("method", "classes"), [("lac", 2), ("lac", 5), ("raps", 24)])
def test_sets_are_those_of_python(method: str, classes: int) -> None:
    p = RNG.dirichlet(np.full(classes, 0.4), 300)
    p[:3] = 1 / classes  # ties go to the first class in both
    thresholds = RNG.uniform(0.1, 0.4, classes)  # so strict that some sets are empty
    conformal = ConformalSets(
        method=method, error_rate=0.05, thresholds=thresholds, own=np.zeros(classes, bool), images=99, groups=99
    )
    graph = GraphBuilder("g")
    names = add_sets(graph, conformal, "p", classes=classes)
    run = function_of(graph, *names, p=(onnx.TensorProto.DOUBLE, ["N", classes]))

    sets, atypical = run(p=p)

    expected = conformal.sets(p)
    assert np.array_equal(sets, expected.contains)
    assert np.array_equal(atypical, expected.atypical)
    assert sets.any(axis=1).all()
    assert atypical.any() == (method == "lac")
