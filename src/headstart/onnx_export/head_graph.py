"""The head as ONNX nodes: features of the network become scores and calibrated probabilities."""

from __future__ import annotations

import numpy as np

from headstart.heads.head import Head
from headstart.onnx_export.graph_builder import GraphBuilder

FEATURES, SCORES, PROBABILITIES = "features", "scores", "probabilities"
_SMALLEST = 1e-12  # norm below which a stage stays as it is; the eps of torch's normalize


def add_flips(graph: GraphBuilder, pixels: str) -> str:
    """N×3×S×S → 2N×3×S×S: the images, then their horizontal flips."""
    least = np.iinfo(np.int64).min
    flipped = graph.slice(pixels, graph.constant([-1]), graph.constant([least]), axis=3, step=-1)
    return graph.add("Concat", pixels, flipped, axis=0)


def add_head(graph: GraphBuilder, head: Head, stages: str, *, widths: tuple[int, ...]) -> tuple[str, str, str]:
    """Names of the features N×D as the head takes them, the scores N×C and the probabilities N×C, all float32.

    Computed in float64, as Python does: a steep head makes visible what float32 rounds away.

    Args:
        stages: the value N×D float32 (2N×D with flip TTA). widths: numbers of each of the head's stages.
    """
    x = graph.cast(stages, np.float32 if head.flip_tta else np.float64)
    if head.unit:
        x = _unit_stages(graph, x, widths=widths, dtype=np.float32 if head.flip_tta else np.float64)
    if head.flip_tta:
        pairs = graph.add("Reshape", x, graph.constant([2, -1, sum(widths)]))
        x = graph.cast(graph.add("ReduceMean", pairs, graph.constant([0]), keepdims=0), np.float64)
    weight, bias = graph.constant(head.weight, np.float64), graph.constant(head.bias, np.float64)
    scores = graph.add("Add", graph.add("MatMul", x, weight), bias)
    tempered = graph.add("Div", scores, graph.constant(head.temperature, np.float64))
    probabilities = graph.add("Softmax", tempered, axis=1)
    float32 = {"to": 1}  # onnx.TensorProto.FLOAT
    graph.add("Cast", x, name=FEATURES, **float32)
    graph.add("Cast", scores, name=SCORES, **float32)
    graph.add("Cast", probabilities, name=PROBABILITIES, **float32)
    return FEATURES, SCORES, PROBABILITIES


def _unit_stages(graph: GraphBuilder, x: str, *, widths: tuple[int, ...], dtype: type) -> str:
    ends = np.cumsum(widths)
    parts = []
    for end, width in zip(ends, widths, strict=True):
        part = graph.slice(x, graph.constant([end - width]), graph.constant([end]), axis=1)
        length = graph.add("ReduceL2", part, graph.constant([1]), keepdims=1)
        parts.append(graph.add("Div", part, graph.add("Max", length, graph.constant(_SMALLEST, dtype))))
    return graph.add("Concat", *parts, axis=1)
