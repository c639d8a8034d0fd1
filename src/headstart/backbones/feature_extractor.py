"""FeatureExtractor: the part of a network that its features need, pixels in and pooled features out."""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn

from headstart.backbones.spec import BackboneSpec, Stage
from headstart.errors import BackboneError, kind_and_line
from headstart.hooks import watch_inputs, watch_outputs

_Module = TypeVar("_Module", bound=nn.Module)

POOL: dict[str, Callable[[Tensor], Tensor]] = {
    "map": lambda x: x.mean((2, 3)),  # N×C×H×W
    "map-last": lambda x: x.mean((1, 2)),  # N×H×W×C
    "tokens-class": lambda x: x[:, 0],  # N×L×C
    "tokens-first-two": lambda x: (x[:, 0] + x[:, 1]) / 2,  # N×L×C: class and distillation, as timm averages them
    "tokens-mean": lambda x: x.mean(1),  # N×L×C
    "vector": lambda x: x.flatten(1),  # N×C, or N×C×1×1
}

_MOST_GRAPHS = 32
_graphs: dict[tuple[object, ...], _Traced] = {}  # traced graphs by spec, modules and stages; they hold no weights


@dataclass(frozen=True)
class _Traced:
    """A graph, and the tensors in it that the network makes while it runs: name → value."""

    graph: fx.Graph
    constants: Mapping[str, Tensor]

    def on(self, network: nn.Module) -> fx.GraphModule:
        """The graph over the modules of a network."""
        root = copy.copy(network)  # shares weights and modules; the constants are its own attributes
        vars(root).update(self.constants)
        return fx.GraphModule(root, self.graph, class_name="StageGraph")


class FeatureExtractor(nn.Module):
    """Pixels N×3×S×S → features N×D float32: the stages pooled, raw, side by side in the given order.

    `body` is a traced graph (torch.fx) of the network in eval mode, cut after the last stage. It holds no hook, so it
    can be exported, compiled and folded. It shares weights and modules with the network, and so follows their modes. A
    user's own network, or one of timm's, that cannot be traced is run whole instead (`WatchedNetwork`).

    Args:
        stages: in the order of the features.
        spec: of the network: one of the catalogue is traced once per process, and a user's own may be watched.

    Raises:
        BackboneError: it cannot be traced, or a stage's module never runs.
    """

    def __init__(self, network: nn.Module, stages: Sequence[Stage], *, spec: BackboneSpec | None = None) -> None:
        super().__init__()
        self.widths = tuple(stage.width for stage in stages)
        self.body: fx.GraphModule | WatchedNetwork
        try:
            self.body = _graph_of(network, tuple(stages), spec).on(network)
        except BackboneError:
            if spec is None or (spec.builder and not spec.is_timm):
                raise
            self.body = WatchedNetwork(network, stages)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features N×D of pixels N×3×S×S."""
        features: Tensor = self.body(pixels)
        return features


class WatchedNetwork(nn.Module):
    """Runs a network that cannot be traced, and pools its stages as they pass; several threads may call it at once."""

    def __init__(self, network: nn.Module, stages: Sequence[Stage]) -> None:
        super().__init__()
        self.network = network
        self.stages = {stage.name: stage for stage in stages}

    def forward(self, pixels: Tensor) -> Tensor:
        """Features N×D of pixels N×3×S×S."""
        network, pooled = _view(self.network), dict[str, Tensor]()
        modules = {name: network.get_submodule(stage.module) for name, stage in self.stages.items()}
        for module in modules.values():  # hooks of this call alone
            for kind in ("_forward_hooks", "_forward_pre_hooks"):
                vars(module)[kind] = vars(module)[kind].copy()

        def pool(name: str, value: Tensor) -> None:
            pooled[name] = POOL[self.stages[name].pool](value)  # at once: a later in-place layer would write into it

        inputs = {name: module for name, module in modules.items() if self.stages[name].side == "input"}
        outputs = {name: module for name, module in modules.items() if name not in inputs}
        with watch_inputs(inputs, pool), watch_outputs(outputs, pool):
            network(pixels)
        _check_all_ran(network, list(self.stages.values()), pooled)
        return torch.cat([pooled[name] for name in self.stages], 1).float()


def eval_view(module: _Module) -> _Module:
    """The same module in eval mode for good: weights, buffers and hooks are shared, the mode is its own.

    `train()` on the original, by a user or by an exporter that forgets to go back, does not reach it, so its outputs
    stay and its batch-norm statistics cannot move.
    """
    return _view(module, training=False)


def _view(module: _Module, *, training: bool | None = None, seen: dict[int, nn.Module] | None = None) -> _Module:
    """A second module over the same dicts of parameters, buffers and hooks; None keeps each module's mode."""
    seen = {} if seen is None else seen
    if id(module) in seen:
        return seen[id(module)]  # type: ignore[return-value]
    view = seen[id(module)] = object.__new__(type(module))
    vars(view).update(vars(module))
    vars(view).pop("train", None)  # a frozen module's own, which would answer for the original
    if training is not None:
        vars(view)["training"] = training
    children = vars(module)["_modules"]
    vars(view)["_modules"] = {
        name: None if child is None else _view(child, training=training, seen=seen) for name, child in children.items()
    }
    return view


class _Tracer(fx.Tracer):
    """Traces a network and pools each wanted stage as soon as it is there.

    Args:
        buffers: whether what is computed from buffers belongs to the graph; otherwise it is a constant in it.

    Both have defaults, because torch makes an empty one when it unpickles a graph.
    """

    def __init__(self, stages: Sequence[Stage] = (), *, buffers: bool = False) -> None:
        functions, kinds = _timm_leaves()
        super().__init__(autowrap_functions=functions)
        self.proxy_buffer_attributes = buffers
        self._leaf_kinds = kinds
        self._stages = stages
        self.pooled: dict[str, fx.Proxy] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self._leaf_kinds) or super().is_leaf_module(m, module_qualified_name)

    # the signature of torch's own method
    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        self._pool(m, "input", args[0] if args else None)
        output = super().call_module(m, forward, args, kwargs)
        self._pool(m, "output", output)
        return output

    def _pool(self, module: nn.Module, side: str, value: object) -> None:
        path = self.path_of_module(module)
        for stage in self._stages:
            if (stage.module, stage.side) == (path, side) and isinstance(value, fx.Proxy):
                # at once: a later in-place layer would write into the value
                self.pooled[stage.name] = POOL[stage.pool](value)  # type: ignore[arg-type,assignment]


def _graph_of(network: nn.Module, stages: tuple[Stage, ...], spec: BackboneSpec | None) -> _Traced:
    """The graph of a network, cut after its stages; one of the catalogue's is traced once, whatever its weights."""
    if spec is None or not spec.builder:  # only its code says what a user's module does
        return _trace(network, stages)
    key = (spec.builder, spec.options, stages, *((path, type(module)) for path, module in network.named_modules()))
    found = _graphs.get(key) or _trace(network, stages)
    if not found.constants:  # they may depend on the weights
        while len(_graphs) >= _MOST_GRAPHS and key not in _graphs:
            _graphs.pop(next(iter(_graphs)))
        _graphs[key] = found
    return found


def _trace(network: nn.Module, stages: Sequence[Stage]) -> _Traced:
    """Trace with buffers as constants, which is what most networks allow; else with all that they lead to."""
    traced = _traced(network, stages, buffers=False)
    if not traced.constants:
        return traced
    try:
        return _traced(network, stages, buffers=True)
    except BackboneError:  # it decides by the values of a buffer
        return traced


def _traced(network: nn.Module, stages: Sequence[Stage], *, buffers: bool) -> _Traced:
    tracer, network = _Tracer(stages, buffers=buffers), eval_view(network)
    own = set(vars(network))
    try:
        graph = tracer.trace(network)
    except Exception as error:  # a network's own code may fail in any way on symbols
        raise BackboneError(
            expected="a network whose graph can be traced",
            found=kind_and_line(error),
            where=type(network).__name__,
            hint="Choose another network.",
        ) from error
    _check_all_ran(network, stages, tracer.pooled)
    graph = _cut(network, graph, [tracer.pooled[stage.name].node for stage in stages])
    made = {name: value for name, value in vars(network).items() if name not in own and isinstance(value, Tensor)}
    return _Traced(graph, {str(node.target): made[str(node.target)] for node in graph.nodes if node.target in made})


def _check_all_ran(network: nn.Module, stages: Sequence[Stage], pooled: dict[str, Any]) -> None:
    missing = [stage.name for stage in stages if stage.name not in pooled]
    if missing:
        raise BackboneError(
            expected="every stage to be run by the network",
            found=f"no output for {', '.join(missing)}",
            where=type(network).__name__,
            hint="The spec of this backbone names modules that its network does not call.",
        )


def _cut(network: nn.Module, graph: fx.Graph, pooled: list[fx.Node]) -> fx.Graph:
    """The graph with the pooled stages as its only output, and nothing that they do not need."""
    old = next(node for node in reversed(graph.nodes) if node.op == "output")
    with graph.inserting_before(old):
        joined = graph.call_function(torch.cat, (pooled, 1))
        new = graph.call_method("float", (joined,))
        graph.output(new)
    graph.erase_node(old)
    cut = fx.GraphModule(network, graph).graph  # knows which modules are pure, so that dead ones can go
    cut.eliminate_dead_code()
    for node in [node for node in cut.nodes if node.op == "placeholder" and not node.users]:
        cut.erase_node(node)  # optional arguments of forward
    for node in cut.nodes:
        node.type = None  # names of annotations, with which torch 2.9 and older cannot pickle a graph
    cut.lint()
    return cut


def _timm_leaves() -> tuple[tuple[Callable[..., Any], ...], tuple[type[nn.Module], ...]]:
    """Functions and modules that timm asks not to be traced into; none when timm has not been used."""
    if "timm" not in sys.modules:
        return (), ()
    layers = importlib.import_module("timm.layers")
    return tuple(layers.get_notrace_functions()), tuple(layers.get_notrace_modules())
