"""GraphBuilder: what it writes is a graph that ONNX takes."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from headstart.onnx_export.graph_builder import GraphBuilder  # noqa: E402  # needs onnx


def test_operations_run_one_after_another() -> None:
    graph = GraphBuilder("part")
    backwards = graph.slice("x", graph.constant([-1]), graph.constant([-(2**63)]), axis=0, step=-1)
    graph.add("Mul", graph.cast(backwards, np.float64), graph.constant(0.5, np.float64), name="y")
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "g",
            [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.INT64, [3])],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.DOUBLE, [3])],
            initializer=graph.constants,
        ),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.array([1, 2, 4])})[0].tolist() == [2.0, 1.0, 0.5]
    assert all(name.startswith("part_") for node in graph.nodes for name in node.input if name != "x")
