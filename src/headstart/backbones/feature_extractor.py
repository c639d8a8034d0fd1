"""StageNetwork: the part of a network that its features need, pixels in and pooled features out, as one plain graph."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from headstart.backbones.spec import Stage
from headstart.errors import BackboneError

POOL: dict[str, Callable[[Tensor], Tensor]] = {
    "map": lambda x: x.mean((2, 3)),  # N×C×H×W
    "map-last": lambda x: x.mean((1, 2)),  # N×H×W×C
    "tokens-class": lambda x: x[:, 0],  # N×L×C
    "tokens-mean": lambda x: x.mean(1),  # N×L×C
    "vector": lambda x: x.flatten(1),  # N×C, or N×C×1×1
}


class FeatureExtractor(nn.Module):
    """Pixels N×3×S×S → features N×D float32: the stages pooled, raw, side by side in the order given.

    `body` is a traced graph (torch.fx) of the network in eval mode, cut after the last stage asked for. It holds no
    hook, so it can be exported, compiled and folded. It shares its weights with the network and puts it in eval mode.

    Raises:
        BackboneError: the network cannot be traced, or it never runs a stage's module.
    """

    def __init__(self, network: nn.Module, stages: Sequence[Stage]) -> None:
        super().__init__()
        self.widths = tuple(stage.width for stage in stages)
        self.body = _graph_of(network.eval(), stages)
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """Features N×D of pixels N×3×S×S."""
        features: Tensor = self.body(pixels)
        return features


class _Tracer(fx.Tracer):
    """Traces a network and pools each wanted stage as soon as it is there."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        functions, kinds = _timm_leaves()
        super().__init__(autowrap_functions=functions)
        self._leaf_kinds = kinds
        self._stages = stages
        self.pooled: dict[str, fx.Proxy] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self._leaf_kinds) or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        self._look(m, "input", args[0] if args else None)
        output = super().call_module(m, forward, args, kwargs)
        self._look(m, "output", output)
        return output

    def _look(self, module: nn.Module, side: str, value: object) -> None:
        path = self.path_of_module(module)
        for stage in self._stages:
            if (stage.module, stage.side) == (path, side) and isinstance(value, fx.Proxy):
                # pooled at once: a later in-place layer would write into the value
                self.pooled[stage.name] = POOL[stage.pool](value)  # type: ignore[arg-type,assignment]


def _graph_of(network: nn.Module, stages: Sequence[Stage]) -> fx.GraphModule:
    tracer = _Tracer(stages)
    try:
        graph = tracer.trace(network)
    except Exception as error:  # a network's own code may fail in any way on symbols
        raise BackboneError(
            expected="a network whose graph can be traced",
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            where=type(network).__name__,
            hint="Choose another network.",
        ) from error
    missing = [stage.name for stage in stages if stage.name not in tracer.pooled]
    if missing:
        raise BackboneError(
            expected="every stage to be run by the network",
            found=f"no output for {', '.join(missing)}",
            where=type(network).__name__,
            hint="The row of this backbone names modules that its network does not call.",
        )
    return _cut(network, graph, [tracer.pooled[stage.name].node for stage in stages])


def _cut(network: nn.Module, graph: fx.Graph, pooled: list[fx.Node]) -> fx.GraphModule:
    """The graph with the pooled stages as its only output, and nothing that they do not need."""
    old = next(node for node in reversed(graph.nodes) if node.op == "output")
    with graph.inserting_before(old):
        joined = graph.call_function(torch.cat, (pooled, 1))
        new = graph.call_method("float", (joined,))
        graph.output(new)
    graph.erase_node(old)
    cut = fx.GraphModule(network, graph, class_name="StageGraph")
    cut.graph.eliminate_dead_code()
    for node in [node for node in cut.graph.nodes if node.op == "placeholder" and not node.users]:
        cut.graph.erase_node(node)  # optional arguments of forward
    cut.delete_all_unused_submodules()
    cut.graph.lint()
    cut.recompile()
    return cut


def _timm_leaves() -> tuple[tuple[Callable[..., Any], ...], tuple[type[nn.Module], ...]]:
    """Functions and modules that timm asks not to be traced into; none when timm has not been used."""
    if "timm" not in sys.modules:
        return (), ()
    layers = importlib.import_module("timm.layers")
    return tuple(layers.get_notrace_functions()), tuple(layers.get_notrace_modules())
