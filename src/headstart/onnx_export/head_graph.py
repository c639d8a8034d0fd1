"""The head as ONNX nodes: features of the network become scores and calibrated probabilities."""

from __future__ import annotations

import numpy as np

from headstart.heads.head import Head
from headstart.heads.kernel_map import KernelMap
from headstart.onnx_export.graph_builder import GraphBuilder

FEATURES, SCORES, PROBABILITIES = "features", "scores", "probabilities"
_SMALLEST = 1e-12  # norm below which a stage stays as it is; the eps of torch's normalize


def add_flips(graph: GraphBuilder, pixels: str) -> str:
    """N×3×S×S → 2N×3×S×S: the images, then their horizontal flips."""
    least = np.iinfo(np.int64).min
    flipped = graph.slice(pixels, graph.constant([-1]), graph.constant([least]), axis=3, step=-1)
    return graph.add("Concat", pixels, flipped, axis=0)


def add_head(graph: GraphBuilder, head: Head, stages: str, *, widths: tuple[int, ...]) -> str:
    """The value N×C float64 of the probabilities; `FEATURES` N×D as the head takes them, `SCORES` and `PROBABILITIES`
    N×C, all float32, become values of these names.

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
    inputs = x if head.kernel is None else add_similarities(graph, head.kernel, x)
    scores = graph.add("Add", graph.add("MatMul", inputs, weight), bias)
    tempered = graph.add("Div", scores, graph.constant(head.temperature, np.float64))
    probabilities = graph.add("Softmax", tempered, axis=1)
    float32 = {"to": 1}  # onnx.TensorProto.FLOAT
    graph.add("Cast", x, name=FEATURES, **float32)
    graph.add("Cast", scores, name=SCORES, **float32)
    graph.add("Cast", probabilities, name=PROBABILITIES, **float32)
    return probabilities


def add_similarities(graph: GraphBuilder, kernel: KernelMap, x: str) -> str:
    """The value N×M float64 of the similarities to the landmarks: matrix products, a square root and exp.

    Args:
        x: the value N×D float64, features as the head takes them.
    """
    roots = graph.add("Mul", graph.add("Sign", x), graph.add("Sqrt", graph.add("Abs", x)))
    roots = _unit_stages(graph, roots, widths=kernel.widths, dtype=np.float64)
    marks = kernel.landmarks.astype(np.float64)
    columns = graph.cast(graph.constant(kernel.landmarks.T, np.float32), np.float64)  # half the bytes in the file
    own = graph.add("ReduceSumSquare", roots, graph.constant([1]), keepdims=1)  # N×1
    both = graph.add("Add", own, graph.constant(np.square(marks).sum(axis=1), np.float64))  # N×M
    products = graph.add("Mul", graph.add("MatMul", roots, columns), graph.constant(2, np.float64))
    squares = graph.add("Max", graph.add("Sub", both, products), graph.constant(0, np.float64))
    return graph.add("Exp", graph.add("Mul", squares, graph.constant(-kernel.gamma, np.float64)))


def stage_features(graph: GraphBuilder, head: Head, stage: str, *, width: int) -> str:
    """The value N×D float32 of one stage as the classifier measures it: with flip TTA the mean over both views.

    Args:
        stage: the value N×D float32 (2N×D with flip TTA), raw.
    """
    if not head.flip_tta:
        return stage
    if head.unit:
        stage = _unit_stages(graph, stage, widths=(width,), dtype=np.float32)
    pairs = graph.add("Reshape", stage, graph.constant([2, -1, width]))
    return graph.add("ReduceMean", pairs, graph.constant([0]), keepdims=0)


def _unit_stages(graph: GraphBuilder, x: str, *, widths: tuple[int, ...], dtype: type) -> str:
    ends = np.cumsum(widths)
    parts = []
    for end, width in zip(ends, widths, strict=True):
        part = graph.slice(x, graph.constant([end - width]), graph.constant([end]), axis=1)
        length = graph.add("ReduceL2", part, graph.constant([1]), keepdims=1)
        parts.append(graph.add("Div", part, graph.add("Max", length, graph.constant(_SMALLEST, dtype))))
    return graph.add("Concat", *parts, axis=1)
