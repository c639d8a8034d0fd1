"""GraphBuilder: nodes and constants of an ONNX graph, written one operation after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike


class GraphBuilder:
    """Collects nodes; each method returns the name of the value that it makes.

    Args:
        prefix: before the names of values and nodes, so that parts of one file do not meet.

    Attributes:
        nodes: in order. constants: their initializers.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: ArrayLike, dtype: DTypeLike = np.int64) -> str:
        """A constant tensor."""
        name = f"{self._prefix}_constant_{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(self, operation: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """A node with one output.

        Args:
            operation: of ONNX, such as `Resize`. inputs: names of values; empty: the input is left out.
            name: of the output; empty: one is made. attributes: of the node.
        """
        output = name or f"{self._prefix}_{operation.lower()}_{len(self.nodes)}"
        node = onnx.helper.make_node(operation, list(inputs), [output], name=f"{self._prefix}_{output}", **attributes)
        self.nodes.append(node)
        return output

    def add_two(self, operation: str, *inputs: str, **attributes: Any) -> tuple[str, str]:
        """A node with two outputs, as `add`."""
        first = self.add(operation, *inputs, **attributes)
        second = f"{first}_second"
        self.nodes[-1].output.append(second)
        return first, second

    def cast(self, value: str, dtype: DTypeLike) -> str:
        """The same numbers in another type."""
        return self.add("Cast", value, to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def slice(self, value: str, start: str, end: str, *, axis: int, step: int = 1) -> str:
        """A part of one axis; start and end are tensors of one number."""
        return self.add("Slice", value, start, end, self.constant([axis]), self.constant([step]))
