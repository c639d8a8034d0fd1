"""CutNetwork: a feature extractor split at a frozen boundary into a prefix, whose outputs are cached, and a tail."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, fx, nn

from headstart.errors import BackboneError


class CutNetwork:
    """Prefix and tail of a feature extractor; `tail(*prefix(pixels))` is the whole.

    Everything that depends on no trained module belongs to the prefix, pooled early stages too, so that few and small
    tensors pass the boundary. Both share their weights with the network.

    Attributes:
        prefix: pixels N×3×S×S → the tensors at the boundary.
        tail: these tensors → features N×D.

    Raises:
        BackboneError: nothing is frozen, nothing trains, or the network cannot be traced.
    """

    def __init__(self, body: nn.Module, trains: Callable[[str], bool]) -> None:
        if not isinstance(body, fx.GraphModule):
            raise BackboneError(
                expected="a network whose graph can be traced",
                found=type(body).__name__,
                where="unfreeze",
                hint="Fine-tune all of it (--strategy full), or train a head only (--strategy probe).",
            )
        late = _late_nodes(body.graph, trains)
        early = [node for node in body.graph.nodes if node not in late and node.op != "output"]
        calls = [node for node in body.graph.nodes if node.op in ("call_module", "get_attr")]
        frozen = [node for node in calls if node not in late]
        if not frozen or len(frozen) == len(calls):
            which = "nothing before it" if not frozen else "nothing after it"
            raise BackboneError(
                expected="a boundary with frozen modules before it and trained ones after it",
                found=which,
                where="unfreeze",
                hint="Name a later stage." if not frozen else "Name an earlier stage.",
            )
        boundary = [node for node in early if any(user in late for user in node.users)]
        self.prefix = _prefix(body, late, boundary)
        self.tail = _tail(body, late, boundary)


def _late_nodes(graph: fx.Graph, trains: Callable[[str], bool]) -> set[fx.Node]:
    """Nodes that run a trained module or need the result of one."""
    late: set[fx.Node] = set()
    for node in graph.nodes:
        own = node.op in ("call_module", "get_attr") and trains(str(node.target))
        if own or node.op == "output" or any(other in late for other in node.all_input_nodes):
            late.add(node)
    return late


def _prefix(body: fx.GraphModule, late: set[fx.Node], boundary: list[fx.Node]) -> fx.GraphModule:
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in body.graph.nodes:
        if node not in late:
            copies[node] = graph.node_copy(node, lambda other: copies[other])
    graph.output(tuple(copies[node] for node in boundary))
    return _module(body, graph, "Prefix")


def _tail(body: fx.GraphModule, late: set[fx.Node], boundary: list[fx.Node]) -> fx.GraphModule:
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for i, node in enumerate(boundary):
        copies[node] = graph.placeholder(f"boundary_{i}")
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
def boundary_shapes(prefix: nn.Module, size: int) -> tuple[tuple[int, ...], ...]:
    """Shapes, without the first dimension, of the tensors at the boundary, for images of this side in px."""
    outputs: tuple[Tensor, ...] = prefix(torch.zeros(1, 3, size, size))
    return tuple(tuple(value.shape[1:]) for value in outputs)
