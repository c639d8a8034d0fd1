"""Familiarity and prediction sets as ONNX nodes: how far an image is from the training images, and its classes."""

from __future__ import annotations

import numpy as np

from headstart.classifier.familiarity import Familiarity
from headstart.evaluation.conformal import LAC, ConformalSets, rank_costs
from headstart.onnx_export.graph_builder import GraphBuilder

FAMILIAR, NEAREST, SET, ATYPICAL = "familiar", "nearest", "set", "atypical"
_SMALLEST = 1e-12  # norm below which a row stays as it is


def add_familiarity(graph: GraphBuilder, familiarity: Familiarity, features: str) -> tuple[str, ...]:
    """Names of the distances N float32, and with a bank of the most similar rows N int64.

    Args:
        features: the value N×D float32 of the stage, scaled or not.
    """
    length = graph.add("ReduceL2", features, graph.constant([1]), keepdims=1)
    unit = graph.add("Div", features, graph.add("Max", length, graph.constant(_SMALLEST, np.float32)))
    columns = graph.constant(familiarity.rows.T, np.float32)
    if familiarity.mean is not None:
        centred = graph.add("Sub", unit, graph.constant(familiarity.mean, np.float32))
        kept = graph.add("MatMul", graph.add("MatMul", centred, columns), graph.constant(familiarity.rows, np.float32))
        residual = graph.add("Sub", centred, kept)
        return (graph.add("ReduceL2", residual, graph.constant([1]), keepdims=0, name=FAMILIAR),)
    cosines = graph.add("MatMul", unit, columns)  # N×M
    k = familiarity.neighbours
    largest, order = graph.add_two("TopK", cosines, graph.constant([k]), axis=1, largest=1, sorted=1)
    last = graph.slice(largest, graph.constant([k - 1]), graph.constant([k]), axis=1)
    distance = graph.add("Sub", graph.constant(1, np.float32), graph.add("Squeeze", last, graph.constant([1])))
    graph.add("Max", distance, graph.constant(0, np.float32), name=FAMILIAR)
    first = graph.slice(order, graph.constant([0]), graph.constant([1]), axis=1)
    graph.add("Squeeze", first, graph.constant([1]), name=NEAREST)
    return FAMILIAR, NEAREST


def add_sets(graph: GraphBuilder, conformal: ConformalSets, probabilities: str, *, classes: int) -> tuple[str, str]:
    """Names of the sets N×C bool, at least the most probable class in each, and of the atypical images N bool.

    Args:
        probabilities: the value N×C float64.
    """
    one = graph.constant(1, np.float64)
    if conformal.method == LAC:
        scores = graph.add("Sub", one, probabilities)
    else:
        every = graph.constant([classes])
        ranked, order = graph.add_two("TopK", probabilities, every, axis=1, largest=1, sorted=1)
        ranked = graph.add("CumSum", ranked, graph.constant(1))
        ranked = graph.add("Add", ranked, graph.constant(rank_costs(classes), np.float64))
        scores = graph.add("ScatterElements", ranked, order, ranked, axis=1)
    inside = graph.add("LessOrEqual", scores, graph.constant(conformal.thresholds, np.float64))
    count = graph.add("ReduceSum", graph.cast(inside, np.int64), graph.constant([1]), keepdims=1)
    empty = graph.add("Equal", count, graph.constant(0))
    best = graph.add("ArgMax", probabilities, axis=1, keepdims=1)
    top = graph.add("Equal", best, graph.constant(np.arange(classes)))
    graph.add("Or", inside, graph.add("And", empty, top), name=SET)
    alone = graph.add("Squeeze", empty, graph.constant([1]))
    known = graph.constant(conformal.method == LAC, np.bool_)
    graph.add("And", alone, known, name=ATYPICAL)
    return SET, ATYPICAL
