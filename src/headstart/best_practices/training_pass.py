"""TrainingPass: one forward and backward pass in train mode, and what it shows of activations and gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from headstart.inspection.graph import PIXELS, WEIGHTED, Graph, record_graph, tensors_in
from headstart.inspection.module_attributes import attributes_kept
from headstart.preserve import preserve

_SATURATING = ("sigmoid", "tanh", "softsign")
_NEAR_LIMIT = 0.99  # of a tanh: its slope is 2 %; a sigmoid is a tanh in [0, 1]


@dataclass(frozen=True, eq=False)
class TrainingPass:
    """One forward and backward pass in train mode; the backward pass starts from random directions at all outputs.

    Args:
        graph: of the forward pass.
        images: how many there were.
        outputs: of the network, detached.
        reached: names of the parameters at which a gradient arrives.
        at_operations: index of a sum or of the last layer with weights (PIXELS for the input) → root mean square of the
            gradient at its result; None where none arrives.
        sizes: index of each layer with weights → root mean square of its result.
        last_spread: how much images differ in the input of the last layer with weights: root mean square, over units,
            of the standard deviation over images; nan where its first axis is not that of the images.
        saturated: index of each sigmoid and tanh → share of its values near a limit.
        failure: what autograd raised; empty if the backward pass worked.
    """

    graph: Graph
    images: int
    outputs: tuple[Tensor, ...]
    reached: frozenset[str] = frozenset()
    at_operations: Mapping[int, float | None] = field(default_factory=dict)
    sizes: Mapping[int, float] = field(default_factory=dict)
    last_spread: float = float("nan")
    saturated: Mapping[int, float] = field(default_factory=dict)
    failure: str = ""


class _Observer:
    """Reads each operation as it runs: its values now, and later the gradient at its result."""

    def __init__(self) -> None:
        self.sizes: dict[int, float] = {}
        self.saturated: dict[int, float] = {}
        self.edges: dict[int, GradientEdge] = {}
        self.last: tuple[int, Tensor, GradientEdge | None] | None = None

    # as record_graph calls it
    def note(self, index: int, function: str, taken: list[Tensor], result: Tensor) -> None:
        """One operation; the signature is that of `record_graph`."""
        edge = get_gradient_edge(result) if result.requires_grad else None  # now: in-place layers may write into it
        if function == "add" and edge is not None:
            self.edges[index] = edge
        values = result.detach()
        if function in WEIGHTED and taken and result.is_floating_point():
            if not self.sizes and edge is not None:
                self.edges[index] = edge  # of the first layer, which is as far as a gradient has to come
            self.sizes[index] = _size(values)
            self.last = (index, taken[0].detach(), edge)
        elif function in _SATURATING and values.numel():
            centred = values * 2 - 1 if function == "sigmoid" else values
            self.saturated[index] = float((centred.abs() > _NEAR_LIMIT).float().mean())

    def last_spread(self, images: int) -> float:
        """See `TrainingPass`."""
        if self.last is None or len(self.last[1]) != images:
            return float("nan")
        return float(self.last[1].flatten(1).std(0).square().mean().sqrt())

    def all_edges(self) -> dict[int, GradientEdge]:
        """Where gradients are wanted."""
        last = {} if self.last is None or self.last[2] is None else {self.last[0]: self.last[2]}
        return {**self.edges, **last}


def _size(values: Tensor) -> float:
    return float(torch.linalg.vector_norm(values)) / math.sqrt(max(values.numel(), 1))


def run_training_pass(network: nn.Module, pixels: Tensor) -> TrainingPass:
    """Run it; statistics, modes, gradients and random numbers are restored.

    Raises:
        Exception: whatever the network's own forward raises in train mode.
    """
    observer = _Observer()
    found: dict[str, object] = {}

    def run(given: Tensor) -> object:
        if given.requires_grad:
            observer.edges[PIXELS] = get_gradient_edge(given)
        found["output"] = network(given)
        return found["output"]

    with preserve(network, weights=False), attributes_kept(network), torch.inference_mode(False), torch.enable_grad():
        network.train()
        torch.manual_seed(0)
        graph = record_graph(network, pixels, on_meta=False, run=run, on_operation=observer.note)
        outputs = [one for one in tensors_in(found["output"]) if one.is_floating_point()]
        values = tuple(one.detach() for one in outputs)
        reached = _reached(network, outputs)
        edges = observer.all_edges()
        gradients, failure = _gradients(outputs, list(edges.values()))
    return TrainingPass(
        graph,
        len(pixels),
        values,
        reached=reached,
        at_operations={i: None if g is None else _size(g) for i, g in zip(edges, gradients, strict=False)},
        sizes=observer.sizes,
        last_spread=observer.last_spread(len(pixels)),
        saturated=observer.saturated,
        failure=failure,
    )


def gradients_of(network: nn.Module, pixels: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Gradients of some parameters in a training pass; without those that none reaches."""
    wanted = [network.get_parameter(name) for name in names]
    with preserve(network, weights=False), attributes_kept(network), torch.inference_mode(False), torch.enable_grad():
        network.train()
        torch.manual_seed(0)
        outputs = [one for one in tensors_in(network(pixels)) if one.is_floating_point()]
        gradients, _ = _gradients(outputs, wanted)
    return {name: one for name, one in zip(names, gradients, strict=False) if one is not None}


def _reached(network: nn.Module, outputs: list[Tensor]) -> frozenset[str]:
    """Parameters to which autograd has a way from the outputs; their gradients need not be computed for that."""
    names = {id(one): name for name, one in network.named_parameters()}
    waiting = [one.grad_fn for one in outputs if one.grad_fn is not None]
    seen, found = set(waiting), set[str]()
    while waiting:
        node = waiting.pop()
        variable = getattr(node, "variable", None)  # of the node that adds to .grad
        if id(variable) in names:
            found.add(names[id(variable)])
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)
    return frozenset(found)


def _gradients(outputs: list[Tensor], wanted: Any) -> tuple[list[Tensor | None], str]:
    """Gradients of the outputs at tensors or edges, from a seeded random direction each; or what autograd raised."""
    starts = [one for one in outputs if one.requires_grad]
    if not starts or not wanted:
        return [None] * len(wanted), ""
    generator = torch.Generator().manual_seed(0)
    directions = [torch.randn(one.shape, generator=generator).to(one) for one in starts]
    try:
        return list(torch.autograd.grad(starts, wanted, directions, allow_unused=True)), ""
    except RuntimeError as error:  # such as a tensor that an in-place operation has changed since
        return [], (str(error).strip().splitlines() or [""])[0]
