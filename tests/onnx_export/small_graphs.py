"""A part of an exported graph as a function, to be compared with what it stands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime

from headstart.onnx_export.graph_builder import GraphBuilder


def function_of(graph: GraphBuilder, *outputs: str, **inputs: tuple[int, list[object]]) -> Callable[..., list[Any]]:
    """Runs the nodes; inputs: name → element type of ONNX and shape."""
    made = onnx.helper.make_graph(
        graph.nodes,
        "part",
        [onnx.helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in outputs],
        initializer=graph.constants,
    )
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda **values: list(session.run(list(outputs), {k: np.ascontiguousarray(v) for k, v in values.items()}))
