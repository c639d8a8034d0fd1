"""A stage network cut in two at a frozen boundary: a prefix whose outputs can be kept, and the tail that trains."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, fx, nn

from headstart.errors import BackboneError


class CutNetwork:
    """Prefix and tail of a stage network; `tail(*prefix(pixels))` is the whole.

    Everything that depends on no trained module belongs to the prefix, pooled early stages too: so few and small
    tensors cross the cut. Both share their weights with the network.

    Attributes:
        prefix: pixels N×3×S×S → the tensors that cross the cut.
        tail: these tensors → features N×D.

    Raises:
        BackboneError: nothing is frozen, or nothing trains.
    """

    def __init__(self, body: fx.GraphModule, trains: Callable[[str], bool]) -> None:
        late = _late_nodes(body.graph, trains)
        early = [node for node in body.graph.nodes if node not in late and node.op != "output"]
        calls = [node for node in body.graph.nodes if node.op in ("call_module", "get_attr")]
        frozen = [node for node in calls if node not in late]
        if not frozen or len(frozen) == len(calls):
            which = "nothing before it" if not frozen else "nothing after it"
            raise BackboneError(
                expected="a boundary with a frozen part before it and a trained part after it",
                found=which,
                where="unfreeze",
                hint="Name a later stage." if not frozen else "Name an earlier stage.",
            )
        crossing = [node for node in early if any(user in late for user in node.users)]
        self.prefix = _prefix(body, late, crossing)
        self.tail = _tail(body, late, crossing)


def _late_nodes(graph: fx.Graph, trains: Callable[[str], bool]) -> set[fx.Node]:
    """Nodes that run a trained module or need the result of one."""
    late: set[fx.Node] = set()
    for node in graph.nodes:
        own = node.op in ("call_module", "get_attr") and trains(str(node.target))
        if own or node.op == "output" or any(other in late for other in node.all_input_nodes):
            late.add(node)
    return late


def _prefix(body: fx.GraphModule, late: set[fx.Node], crossing: list[fx.Node]) -> fx.GraphModule:
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in body.graph.nodes:
        if node not in late:
            copies[node] = graph.node_copy(node, lambda other: copies[other])
    graph.output(tuple(copies[node] for node in crossing))
    return _module(body, graph, "Prefix")


def _tail(body: fx.GraphModule, late: set[fx.Node], crossing: list[fx.Node]) -> fx.GraphModule:
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for i, node in enumerate(crossing):
        copies[node] = graph.placeholder(f"crossing_{i}")
    for node in body.graph.nodes:
        if node in late:
            copies[node] = graph.node_copy(node, lambda other: copies[other])
    return _module(body, graph, "Tail")


def _module(body: fx.GraphModule, graph: fx.Graph, name: str) -> fx.GraphModule:
    graph.lint()
    module = fx.GraphModule(body, graph, class_name=name)
    module.delete_all_unused_submodules()
    return module


@torch.inference_mode()
def crossing_shapes(prefix: nn.Module, size: int) -> tuple[tuple[int, ...], ...]:
    """Shapes, without the first dimension, of what crosses the cut for images of a side."""
    outputs: tuple[Tensor, ...] = prefix(torch.zeros(1, 3, size, size))
    return tuple(tuple(value.shape[1:]) for value in outputs)
